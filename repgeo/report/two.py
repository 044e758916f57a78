"""Sections on two embedding matrices of the same samples."""

import dataclasses
from functools import partial

import jax.numpy as jnp
import numpy as np

from repgeo import align, chance, dimension, relative, retrieval, similarity
from repgeo.moments import moments
from repgeo.report import figures
from repgeo.report.parts import Data, Part, Table, said, tried

BLOCKS = 8  # of the jackknife
NEAR_ROWS = 4_000
FIT_ROWS, JUDGED_ROWS = 10_000, 1_000
CLOUD_ROWS = 3_000  # a side, without a pair
ANCHORS = 200


def _svcca(x, y):
    """SVCCA from moments: of a thousand rows the same number as from the rows, for a thirtieth of the time."""
    return similarity.svcca_from(moments(x, y))


# One call after the other: compiled for a batch it would take four times as long.
_svcca.record = dataclasses.replace(similarity.svcca.record, traceable=False)


# name: measure, rows, shuffles, what it says
MEASURES = {
    "CKA, linear, biased": (
        similarity.cka, 1_000, 39, "1 for equal geometry up to rotation, shift and scale; rises by itself as features "
        "outnumber rows",
    ),
    "CKA, linear, debiased": (
        similarity.cka_debiased, 1_000, 39, "the same without that bias: 0 on average for unrelated rows",
    ),
    "Distance correlation, bias-corrected": (
        partial(similarity.distance_correlation, unbiased=True), 1_000, 39, "squared; sees nonlinear dependence too",
    ),
    "SVCCA, 99 % of the variance": (
        _svcca, 1_000, 19, "mean canonical correlation of the leading directions",
    ),
    "Angular Procrustes distance": (
        similarity.shape_distance, 1_000, 19, "radians, 0 for equal shape up to rotation and scale",
    ),
    "RSA, cosine distances, Spearman": (
        partial(similarity.rsa, distance="cosine"), 500, 39, "rank correlation of the distances between rows, rows not "
        "centred",
    ),
    "Mutual kNN, k = 10, cosine": (
        similarity.mutual_knn, 1_000, 39, "share of the nearest neighbours in common",
    ),
}  # fmt: skip


def alike(data: Data) -> Part:
    """Similarity with its null and interval under each convention."""
    rows, why, numbers, shown = [], [], {}, {}
    for name, (measure, most, shuffles, meaning) in MEASURES.items():
        x, y = data.some(most).values()
        try:
            null = chance.permutation_test(measure, x, y, key=data.key(2), rounds=shuffles)
            low, high = chance.jackknife_interval(measure, x, y, key=data.key(3), blocks=BLOCKS)
        except (ValueError, TypeError) as error:
            why.append(f"{name}: {error}.")
            numbers[name] = {"why": str(error)}
            continue
        score, ends = float(null.score), (float(low), float(high))
        luck = tuple(np.quantile(np.asarray(null.null), [0.025, 0.975]).tolist())
        numbers[name] = {
            "score": score, "interval": ends, "null_mean": float(np.mean(null.null)), "null_95": luck,
            "p": float(null.p), "z": float(null.z), "rows": len(x), "shuffles": shuffles, "meaning": meaning,
        }  # fmt: skip
        shown[name] = (score, ends, luck)
        rows.append((f"{name}\n{meaning}", said(score), said(ends), said(luck), said(null.p, 2), said(len(x))))
    if not rows:
        raise ValueError(" ".join(why))
    caption = (
        f"Similarity of paired rows, as many as the last column says. Interval: 95 %, jackknife over {BLOCKS} blocks "
        f"of rows. By chance: the middle 95 % of the values for shuffled rows of one side, 39 shuffles or, where a "
        f"shuffle is costly (SVCCA, Procrustes), 19; so p is at least 0.025 or 0.05."
    )
    table = Table(caption, ("measure", "value", "interval", "by chance", "p", "rows"), tuple(rows))
    text = (
        "Are the two the same? A value means something only beside what shuffled rows give: a biased CKA or a CCA of "
        "few rows and many features is high for unrelated data."
    )
    paragraphs, more = _on_all_rows(data)
    return Part((text, table, figures.alike(shown), *paragraphs, *why), {"measures": numbers, **more})


def _on_all_rows(data):
    if data.n <= 1_000:
        return (), {}
    x, y = (jnp.asarray(a) for a in data.matrices.values())
    names = [name for name in MEASURES if name.startswith(("CKA", "SVCCA", "Angular"))]
    found = {name: tried(partial(MEASURES[name][0], x, y))[0] for name in names}
    listed = "; ".join(f"{name}: {said(value)}" for name, value in found.items())
    return (f"On all {data.n:,} rows, with less bias from few rows: {listed}.",), {
        "all_rows": {"rows": data.n, **found}
    }


def neighbours(data: Data) -> Part:
    """Overlap of neighbours."""
    (a, x), (b, y) = data.some(NEAR_ROWS).items()
    n, k = len(x), min(10, len(x) - 1)
    euclid = tried(lambda: dimension.neighborhood_overlap(x, y, k=k))
    cosine = tried(lambda: similarity.mutual_knn(x, y, k=k, metric="cosine"))
    jaccard = tried(lambda: similarity.knn_jaccard(x, y, k=k))
    there = tried(lambda: dimension.information_imbalance(x, y))
    back = tried(lambda: dimension.information_imbalance(y, x))
    rows = (
        (f"Mutual kNN, k = {k}, Euclidean", euclid, k / (n - 1)),
        (f"Mutual kNN, k = {k}, cosine", cosine, k / (n - 1)),
        (f"Jaccard index of neighbours, k = {k}", jaccard, k / (2 * n)),
        (f"Information imbalance, {a} to {b}", there, 1.0),
        (f"Information imbalance, {b} to {a}", back, 1.0),
    )
    table = Table(
        f"Neighbours of {n:,} rows.",
        ("measure", "value", "by chance, about"),
        tuple((name, said(value), said(luck, 2)) for name, (value, _), luck in rows),
    )
    text = (
        "Do the same rows lie next to each other? An overlap is 1 when they do. An information imbalance is near 0 "
        "when what is near on the first side is near on the second, and 1 when it says nothing of it; where one "
        "way is small and the other is not, the first side knows more."
    )
    why = [f"{name}: {reason}." for name, (_, reason), _ in rows if reason]
    return Part((text, table, *why), {"rows": n, "k": k, "measures": {name: value for name, (value, _), _ in rows}})


def maps(data: Data) -> Part:
    """Best map each way, with pairs."""
    fit, judged = data.halves(FIT_ROWS, JUDGED_ROWS)
    kinds = {
        "rotation and scale": partial(align.procrustes, scaled=True),
        "ridge": align.ridge_map,
        "affine": align.affine_map,
    }
    rows, numbers, dots = [], {}, {}
    shuffled = np.random.default_rng(data.seed).permutation(fit)
    for a, b in _both_ways(data):
        x, y = (jnp.asarray(data.matrices[name][fit]) for name in (a, b))
        x_new, y_new = (jnp.asarray(data.matrices[name][judged]) for name in (a, b))
        for kind, function in kinds.items():
            found = _judged(function(x, y), x_new, y_new)
            numbers[f"{a} to {b}, {kind}"] = found
            dots[f"{a} to {b}, {kind}"] = found["top_1"]
            rows.append((f"{a} to {b}\n{kind}", *(said(value) for value in found.values())))
        wrong = align.ridge_map(x, jnp.asarray(data.matrices[b][shuffled]))
        found = _judged(wrong, x_new, y_new)
        numbers[f"{a} to {b}, control"] = found
        rows.append((f"{a} to {b}\ncontrol: ridge on shuffled pairs", *(said(value) for value in found.values())))
    caption = (
        f"Maps fitted on {len(fit):,} pairs and judged on {len(judged):,} other rows: R², and how often the right "
        f"row is the nearest (top 1), among the ten nearest, and the mean of 1 / rank; top 1 is "
        f"{said(1 / len(judged), 2)} by chance."
    )
    table = Table(caption, ("map", "R²", "top 1", "top 10", "mean 1 / rank"), tuple(rows))
    text = (
        "How does one space lie in the other? The best row of the table is the simplest map whose scores are as good."
    )
    return Part(
        (
            text,
            table,
            figures.dots(dots, "top-1 accuracy on held-out rows", "Retrieval after each map", chance=1 / len(judged)),
        ),
        {"fitted": len(fit), "judged": len(judged), "maps": numbers},
    )


def unpaired(data: Data) -> Part:
    """Best map without pairs."""
    (a, x), (b, y) = data.matrices.items()
    judged = data.order[data.n - min(JUDGED_ROWS, data.n // 4) :]
    rest = data.order[: data.n - len(judged)]
    half = min(CLOUD_ROWS, len(rest) // 2)
    left, right = rest[:half], rest[half : 2 * half]
    if half < 200:
        raise ValueError(f"expected at least 200 rows a side without a common one; got {half}")
    found = align.unpaired_align(
        jnp.asarray(x[left]), jnp.asarray(y[right]), key=data.key(4), clusters=20, runs=10, restarts=8, width=64,
        scout=15, coarse=30, fine=5, sample=min(1_000, half), neighbors=min(50, half // 8),
    )  # fmt: skip
    margin, floor = float(found.history["margin"]), float(found.history["floor"])
    here = [jnp.asarray(z[judged]) for z in (x, y)]
    scores = {f"{a} to {b}": _judged(found, *here), f"{b} to {a} (its inverse)": _judged(found.inverse(), *here[::-1])}
    table = Table(
        f"A rotation found from {half:,} rows of each side, no row on both, judged on {len(judged):,} pairs that it "
        f"never saw; top 1 is {said(1 / len(judged), 2)} by chance.",
        ("map", "R²", "top 1", "top 10", "mean 1 / rank"),
        tuple((name, *(said(value) for value in of.values())) for name, of in scores.items()),
    )
    clear = margin > 0.05
    verdict = (
        f"Its score without pairs is {said(found.score)}, {said(margin)} above the {said(floor)} that a random start "
        f"reaches. "
        + (
            "The table says whether that margin was worth something."
            if clear
            else "So small a margin says that nothing was found at this small budget: do not use the map."
        )
    )
    text = (
        "Can the spaces be laid on each other without knowing a single pair? It takes clusters, thousands of rows and "
        "the same content on both sides; the budget here is small, and align.unpaired_align takes a larger one."
    )
    return Part(
        (text, table, verdict),
        {
            "rows_a_side": half,
            "score": float(found.score),
            "margin": margin,
            "floor": floor,
            "found": clear,
            "maps": scores,
        },
    )


def relatives(data: Data) -> Part:
    """Relative coordinates."""
    fit, judged = data.halves(FIT_ROWS, JUDGED_ROWS)
    anchors = fit[: min(ANCHORS, len(fit) // 2)]
    coordinates, rows, numbers = {}, [], {}
    for name, a in data.matrices.items():
        mean = jnp.asarray(a[fit].mean(0))
        at, new = jnp.asarray(a[anchors]), jnp.asarray(a[judged])
        coordinates[name] = relative.relative(new, at, mean=mean)
        held = relative.completeness(new - mean[None], at - mean[None])
        numbers[name] = {"rank": int(held.rank), "kept": float(held.kept), "condition": float(held.condition)}
        rows.append((name, said(int(held.rank)), said(float(held.kept)), said(float(held.condition))))
    held = Table(
        f"What {len(anchors)} random anchors span, of {len(judged):,} other rows.",
        ("matrix", "rank", "share of the squared length", "condition"),
        tuple(rows),
    )
    rows = []
    for a, b in _both_ways(data):
        found = retrieval.relreps_scores(coordinates[a], coordinates[b])
        numbers[f"{a} to {b}"] = one = {
            "jaccard": float(found.jaccard),
            "reciprocal_rank": float(found.reciprocal_rank),
            "cosine": float(found.cosine),
        }
        rows.append((f"{a} to {b}", *(said(value) for value in one.values())))
    agree = Table(
        f"Agreement of the relative coordinates of {len(judged):,} rows to {len(anchors)} common anchors.",
        ("way", "Jaccard, k = 10", "mean 1 / rank (10)", "mean cosine"),
        tuple(rows),
    )
    text = (
        "Do rows look the same, seen from common anchors? Cosines to the anchors, with the mean of each side "
        "subtracted; no map is fitted at all."
    )
    return Part((text, agree, held), {"anchors": len(anchors), "judged": len(judged), "scores": numbers})


def _both_ways(data):
    a, b = data.matrices
    return (a, b), (b, a)


def _judged(found, x, y):
    """R² and retrieval scores of a map on pairs that it was not fitted on."""
    mapped, real = found.centered(x, y)
    scores = retrieval.retrieval_scores(mapped, real)
    r2 = 1 - float(np.sum(np.square(np.subtract(mapped, real))) / (np.var(real, axis=0).sum() * len(real)))
    return {
        "r2": r2,
        "top_1": float(scores.top_1),
        "top_10": float(scores.top_10),
        "reciprocal_rank": float(scores.reciprocal_rank),
    }
