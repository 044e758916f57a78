"""Sections on labels: what probes read of them, and what remains when they are erased."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from repgeo import erasure, neighbors, probes, relative, similarity
from repgeo.report import figures
from repgeo.report.parts import Data, Part, Table, said

PROBE_ROWS, SPLITS = 2_000, 3
ERASER_ROWS = 10_000
MOST_CLASSES = 50
TO_GAIN = 5e-5  # nats of its loss that a logistic probe may leave: no accuracy on some hundred rows shows them
LINEAR, NETWORK = "linear (logistic)", "network, one hidden layer"
PROBES = {
    LINEAR: partial(probes.logistic, tolerance=(2 * TO_GAIN) ** 0.5),
    NETWORK: probes.mlp,
    "15 nearest neighbours": probes.knn,
}


def readings(data: Data) -> Part:
    """What probes read of the labels."""
    y, c, share = _labels(data, PROBE_ROWS)
    rows, numbers, dots, ends, majority = [], {}, {}, [], 0.0
    for name, x in data.some(PROBE_ROWS).items():
        numbers[name] = {}
        for kind, probe in PROBES.items():
            score = _read(data, probe, x, y, c)
            numbers[name][kind] = {"accuracy": score.mean, "interval": (score.low, score.high)}
            majority = score.majority
            rows.append((f"{name}\n{kind}", said(score.mean), said((score.low, score.high)), said(majority)))
            dots[f"{name}, {kind}"] = score.mean
            ends.append((score.low, score.high))
    caption = (
        f"Accuracy on held-out rows: {len(y):,} rows, {c} classes, {SPLITS} random splits, 95 % interval; majority "
        f"is what naming the commonest class scores. The logistic probe stops at {TO_GAIN:g} nats from its optimum."
    )
    table = Table(caption, ("probe", "accuracy", "interval", "majority"), tuple(rows))
    text = (
        f"What can be read of the labels? A class that only the nonlinear probes read is there, but not along a "
        f"direction. The commonest class holds {100 * share:.0f} % of the rows."
    )
    shown = figures.dots(dots, "accuracy on held-out rows", "What probes read", chance=majority, ends=ends)
    return Part((text, table, shown), {"rows": len(y), "classes": c, "majority": majority, "probes": numbers})


def stitched(data: Data) -> Part:
    """Heads moved between the spaces."""
    y, c, _ = _labels(data, PROBE_ROWS)
    some = data.some(PROBE_ROWS)
    n = len(y)
    anchors, train, test = (slice(0, n // 8), slice(n // 8, n * 5 // 8), slice(n * 5 // 8, n))
    coordinates = [relative.relative(x - x.mean(0)[None], (x - x.mean(0)[None])[anchors]) for x in some.values()]
    found = relative.stitch_matrix(
        [z[train] for z in coordinates],
        [z[test] for z in coordinates],
        labels=y[train],
        test_labels=y[test],
        fit=lambda a, b: probes.ridge(a, b, classes=c),
    )
    names = list(some)
    table = Table(
        f"Accuracy of a ridge head fitted on relative coordinates ({n // 8} anchors) of one space and read in another.",
        ("fitted on", *(f"read in {name}" for name in names)),
        tuple((name, *(said(value) for value in row)) for name, row in zip(names, found, strict=True)),
    )
    text = "Does a head that was trained on one space work on the other? Off the diagonal it has never seen it."
    return Part((text, table), {"anchors": n // 8, "names": names, "accuracy": np.asarray(found).tolist()})


def erased(data: Data) -> Part:
    """What erasing the labels leaves, of rows that the eraser has not seen."""
    judged = data.order[: min(PROBE_ROWS, data.n // 2)]
    fit = data.order[len(judged) :][:ERASER_ROWS]
    codes, c, _ = _codes(data.labels[np.concatenate([judged, fit])])
    y, y_fit = codes[: len(judged)], codes[len(judged) :]
    kinds = {kind: PROBES[kind] for kind in (LINEAR, NETWORK)}
    rows, numbers, shown = [], {}, []
    for name, a in data.matrices.items():
        x = jnp.asarray(a[judged])
        eraser = erasure.leace(jnp.asarray(a[fit]), y_fit, labels="categorical")
        directions = jax.random.normal(data.key(6), (int(eraser.rank), x.shape[1]), x.dtype)
        versions = {
            "before": x,
            "LEACE": eraser.transform(x),
            "random directions": erasure.project_out(directions, bias=np.mean(x, axis=0)).transform(x),
        }
        near = neighbors.nearest(x, k=10, metric="euclidean")
        numbers[name], seen = {"rank": int(eraser.rank)}, {}
        for version, z in versions.items():
            scores = {kind: _read(data, probe, z, y, c) for kind, probe in kinds.items()}
            kept = np.mean(neighbors.shared(near, neighbors.nearest(z, k=10, metric="euclidean"))) / 10
            moved = float(np.sum(np.square(np.subtract(z, x))) / (np.var(x, axis=0).sum() * len(x)))
            same = float(similarity.cka(x, z))
            numbers[name][version] = {
                "edit": moved,
                "cka": same,
                "overlap": float(kept),
                "accuracy": {kind: {"mean": s.mean, "interval": (s.low, s.high)} for kind, s in scores.items()},
            }
            cells = (f"{said(s.mean)}\n{said((s.low, s.high))}" for s in scores.values())
            rows.append((f"{name}\n{version}", *cells, said(moved), said(same), said(float(kept))))
            seen[version] = SimpleNamespace(probes=scores, task=None)
        shown.append(figures.erased(SimpleNamespace(rows=seen), name))
    ranks = ", ".join(f"{numbers[name]['rank']} of {data.matrices[name].shape[1]} of {name}" for name in numbers)
    caption = (
        f"LEACE fitted on {len(fit):,} rows of {c} classes, directions {ranks}; as many random ones beside it. All "
        f"columns are of {len(y):,} other rows. Accuracy of probes fitted on some of these and scored on the rest, "
        f"{SPLITS} splits; edit: mean squared move over the variance; CKA, and overlap of the 10 nearest neighbours, "
        f"with the rows before."
    )
    head = ("version", *(f"accuracy, {kind}" for kind in kinds), "edit", "CKA", "overlap")
    text = (
        "Can the labels be removed? On the rows it was fitted on, LEACE leaves a linear probe nothing. Here are rows "
        "that it has not seen: what probes still read of them, and what broke, beside an edit of the same rank. "
        "erasure.guardedness_report says more."
    )
    numbers = {"fitted": len(fit), "rows": len(y), "classes": c, "versions": numbers}
    return Part((text, Table(caption, head, tuple(rows)), *shown), numbers)


def _read(data, probe, x, y, classes):
    """What a probe reads of held-out rows, over splits that are the same for all."""
    return probes.over_splits(probe, x, y, key=data.key(5), classes=classes, splits=SPLITS)


def _labels(data: Data, most: int):
    """Codes of the labels of `data.some(most)`, as `_codes`."""
    return _codes(data.labels if most >= data.n else data.labels[data.order[:most]])


def _codes(labels: np.ndarray):
    """Labels as codes without gaps, the number of classes, and the share of the commonest."""
    names, y, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError(f"labels: expected two classes in {len(y)} rows; got one")
    if len(names) > MOST_CLASSES or len(names) > len(y) // 8:
        raise ValueError(
            f"labels: expected at most {min(MOST_CLASSES, len(y) // 8)} classes in {len(y):,} rows; got {len(names)}"
        )
    return jnp.asarray(y), len(names), counts.max() / len(y)
