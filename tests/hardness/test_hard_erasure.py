"""`erasure`, `probes`, `chance`, `moments`: every callable on every case."""

import jax
import numpy as np
import pytest
from harness import CLASSES, KEY, Entry, X, Y, counted, on, tortured  # noqa: F401

from repgeo import chance, debiased_moments, erasure, moments, probes, similarity

KIND = {"labels": "categorical"}
CONCEPT = {"x": X, "y": CLASSES}
PAIRS = [["0", "1"], ["2", "3"], ["4", "5"]]
TASK = np.arange(16) % 2


def with_concept(function, **options):
    """An entry of a matrix and classes; erasers are fitted on moments, so that errors may speak of `m`."""
    held = {"traced": options.pop("traced", True), "may": options.pop("may", {}), "dear": options.pop("dear", False)}
    names = ("m", "rank", "task", "held_out")
    seeded = options.pop("seeded", "key" in options)
    return Entry(function, CONCEPT, options, seeded=seeded, names=names, **held)


def weights_of(probe):
    return probe.weights, probe.bias, probe.center  # its steps and last gradient follow the dtype


def sums_of(m):
    return m.n, m.mean_x, m.mean_y, m.xx, m.xy, m.yy  # the rests are what rounding left of the means


def scaled_sums(m):
    return m.n, m.scale, m.zz.head


def rows(x):
    return np.shape(x)[0] if isinstance(x, np.ndarray | jax.Array) and x.ndim else 16


def streamed(x, y):
    return (moments.moments(x, y),)


TINY = {"scale 1e-30": "squares underflow under a trace: no spread, so nothing to remove"}
HUGE = TINY | {"scale 1e30": "squares overflow under a trace: nothing finite to remove"}
DOUBLE = dict.fromkeys(
    ("good arrays", "duplicate rows", "offset 1e6", "scale 1e-30", "scale 1e-10", "scale 1e10", "scale 1e30"),
    "a plain call works in float64; a trace follows its dtype, which 20 steps show",
)
AMOUNTS = dict.fromkeys(("int8", "int64", "uint16", "bool"), "integers are classes, as the error says")
FAR = {"offset 1e6": "float32 tells no angles and no rank that far from the origin"}
SEEDS = {
    "values: one axis": "one number a seed",
    "values: infinite as float32": "works in float64",
    "values: 0 columns": "no number, so no interval",
}
OVERFLOW = {"scale 1e30": "the sums are infinite, which `spread` refuses"}
STACK = dict.fromkeys(("x: three axes", "y: three axes"), "a stack of layers")
ERASER = erasure.leace(X, CLASSES, labels="categorical")
TABLE = {
    "erasure.leace": with_concept(erasure.leace, may=TINY, **KIND),
    "erasure.mean_projection": with_concept(erasure.mean_projection, may=HUGE, **KIND),
    "erasure.oracle_leace": with_concept(erasure.oracle_leace, may=HUGE, **KIND),
    "erasure.sal": with_concept(erasure.sal, may=HUGE, rank=1, **KIND),
    "erasure.splince": with_concept(
        lambda x, y, **o: erasure.splince(x, y, TASK[: rows(x)], task_labels="categorical", **o), may=TINY, **KIND
    ),
    "erasure.leace_from": on(erasure.leace_from, given=streamed, may=TINY, names="m"),
    "erasure.mean_projection_from": on(erasure.mean_projection_from, given=streamed, may=TINY, names="m"),
    "erasure.oracle_leace_from": on(erasure.oracle_leace_from, given=streamed, may=TINY, names="m"),
    "erasure.sal_from": on(erasure.sal_from, given=streamed, may=TINY, names="m", rank=1),
    "erasure.splince_from": on(erasure.splince_from, given=streamed, names="m task", concept=1, may=TINY),
    "erasure.quadratic_leace": with_concept(erasure.quadratic_leace, steps=20, may=DOUBLE),
    "erasure.inlp": with_concept(erasure.inlp, dear=True, rounds=1),
    "erasure.rlace": with_concept(
        erasure.rlace,
        dear=True,
        may={"key: a number": "TypeError in Python's own words"},
        rank=1,
        key=KEY,
        steps=20,
        every=10,
        batch=8,
    ),
    "erasure.rlace_runs": with_concept(
        erasure.rlace_runs, dear=True, ranks=(1,), seeds=1, key=KEY, steps=20, every=10, batch=8
    ),
    "erasure.as_concept": Entry(
        erasure.as_concept, {"y": X}, {"labels": "continuous"}, may=AMOUNTS | {"y: one axis": "one amount a row"}
    ),
    "erasure.concept_filter": Entry(erasure.concept_filter, {"tokens": X, "concept": X[:2]}, paired=False, may=FAR),
    "erasure.difference_subspace": Entry(
        erasure.difference_subspace, {"preferred": X, "other": X[::-1].copy()}, {"rank": 1}
    ),
    "erasure.hard_debias": Entry(erasure.hard_debias, {"a": X, "b": X[::-1] + 1}),
    "erasure.equalize": Entry(
        erasure.equalize, {"a": X, "b": X[::-1] + 1}, {"eraser": erasure.project_out(X[:1])}, names=("x",)
    ),
    "erasure.matrix_subspace_projection": on(
        erasure.matrix_subspace_projection, may={"a constant column": "the rank is not known under a trace"}
    ),
    "erasure.project_out": Entry(erasure.project_out, {"directions": X[:2]}, may=FAR),
    "erasure.weat": Entry(erasure.weat, {"x": X[:8], "y": X[8:], "a": X[:4], "b": X[4:8]}, traced=False, paired=False),
    "erasure.attraction": Entry(
        lambda words: erasure.attraction(words, moments.unit_sum(X[:4]), moments.unit_sum(X[4:8])),
        {"words": X},
        names=("a",),
        may=FAR,
    ),
    "erasure.similarity_agreement": Entry(
        lambda x: erasure.similarity_agreement(x, [str(i) for i in range(16)], PAIRS, [1.0, 2.0, 0.5]),
        {"x": X},
        traced=False,
        names=("names", "pairs"),
        may=FAR,
    ),
    "erasure.guardedness_report": Entry(
        lambda before, after, y: erasure.guardedness_report(
            before, after, y, key=KEY, splits=2, k=2, probes={"ridge": probes.ridge}
        ),
        {"before": X, "after": X @ np.diag([1, 1, 1, 0.5]).astype(np.float32), "y": TASK},
        dear=True,
        seeded=True,
        names=("x", "k", "held_out"),
    ),
    "erasure.Eraser.transform": Entry(ERASER.transform, {"x": X}),
    "erasure.OracleEraser.transform": Entry(
        erasure.oracle_leace(X, Y, labels="continuous").transform, {"x": X, "z": Y}
    ),
    "erasure.QuadraticEraser.transform": Entry(
        erasure.quadratic_leace(X, CLASSES, steps=20).transform, {"x": X, "y": CLASSES}
    ),
    "erasure.AttributeCode.read": Entry(erasure.matrix_subspace_projection(X, Y).read, {"x": X}),
    "erasure.AttributeCode.write": Entry(erasure.matrix_subspace_projection(X, Y).write, {"x": X, "y": Y}),
    "probes.logistic": with_concept(lambda x, y: weights_of(probes.logistic(x, y))),
    "probes.ridge": with_concept(probes.ridge),
    "probes.knn": with_concept(probes.knn, k=2),
    "probes.mlp": with_concept(probes.mlp, key=KEY, hidden=4, epochs=2, batch=6),
    "probes.rbf": with_concept(lambda x, y: weights_of(probes.rbf(x, y, key=KEY, features=16).top), seeded=True),
    "probes.accuracy": with_concept(lambda x, y: probes.accuracy(probes.ridge(X, CLASSES), x, y)),
    "probes.cross_entropy": with_concept(lambda x, y: probes.cross_entropy(probes.ridge(X, CLASSES), x, y)),
    "probes.entropy": Entry(probes.entropy, {"y": CLASSES}, traced=False),
    "probes.code_length": Entry(
        lambda x, y: probes.code_length(probes.logistic, x, y, key=jax.random.key(3), blocks=2),
        {"x": X, "y": TASK},
        traced=False,
        seeded=True,
    ),
    "probes.over_splits": with_concept(
        lambda x, y: probes.over_splits(probes.ridge, x, y, key=KEY, splits=2), traced=False
    ),
    "probes.Linear.scores": Entry(probes.ridge(X, CLASSES).scores, {"x": X}),
    "probes.Neighbors.scores": Entry(probes.knn(X, CLASSES, k=2).scores, {"x": X}),
    "probes.Mlp.scores": Entry(probes.mlp(X, CLASSES, key=KEY, hidden=4, epochs=2, batch=6).scores, {"x": X}),
    "probes.RandomFeatures.scores": Entry(
        probes.rbf(X, CLASSES, key=KEY, features=16).scores,
        {"x": X},
        may=dict.fromkeys(("scale 1e10", "scale 1e30", "offset 1e6"), "the phase of a wave that far out is rounding"),
    ),
    "chance.permutation_test": on(
        lambda x, y: chance.permutation_test(similarity.cka, x, y, key=KEY, rounds=20), seeded=True, may=STACK
    ),
    "chance.calibrated": on(
        lambda x, y: chance.calibrated(similarity.cka, x, y, key=KEY, rounds=20), seeded=True, may=STACK
    ),
    "chance.chi_square_test": on(
        lambda x, y: chance.chi_square_test(similarity.distance_correlation, x, y, unbiased=True), may=STACK
    ),
    "chance.bootstrap_interval": on(
        lambda x, y: chance.bootstrap_interval(lambda a, b: (a * a).sum() + (b * b).sum(), x, y, key=KEY, rounds=20),
        seeded=True,
        may=STACK,
    ),
    "chance.jackknife_interval": on(
        lambda x, y: chance.jackknife_interval(similarity.cka, x, y, key=KEY, blocks=3),
        seeded=True,
        names="blocks",
        may=STACK,
    ),
    "chance.subsample_interval": on(
        lambda x, y: chance.subsample_interval(similarity.cka, x, y, key=KEY, rounds=20, size=6),
        seeded=True,
        names="size",
        may=STACK | {"y: nothing": "of one side, where the measure takes one"},
    ),
    "chance.mean_interval": Entry(chance.mean_interval, {"values": X}, traced=False, may=SEEDS),
    "moments.unit_sum": on(moments.unit_sum, "x"),
    "moments.moments": on(lambda x, y: sums_of(moments.moments(x, y)), may=OVERFLOW),
    "moments.moments_by_blocks": on(
        lambda x, y: sums_of(moments.moments_by_blocks(x, y, rows=5)), traced=False, may=OVERFLOW
    ),
    "debiased_moments.debiased_moments": on(lambda x, y: scaled_sums(debiased_moments.debiased_moments(x, y))),
    "debiased_moments.unbiased_products": on(
        debiased_moments.unbiased_products, given=lambda x, y: (debiased_moments.debiased_moments(x, y),), names="m"
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_right_number_or_one_clear_error(name, tmp_path):
    assert not (said := tortured(TABLE[name], tmp_path)), "\n".join(said)
