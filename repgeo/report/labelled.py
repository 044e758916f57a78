"""Sections on labels: what probes read of them, and what remains when they are erased."""

import jax.numpy as jnp
import numpy as np

from repgeo import erasure, probes, relative
from repgeo.report import figures
from repgeo.report.parts import Data, Part, Table, said

PROBE_ROWS, SPLITS = 2_000, 3
ERASE_ROWS = 1_500
MOST_CLASSES = 50
PROBES = {
    "linear (logistic)": probes.logistic,
    "network, one hidden layer": probes.mlp,
    "15 nearest neighbours": probes.knn,
}


def readings(data: Data) -> Part:
    """What probes read of the labels."""
    y, c, share = _labels(data, PROBE_ROWS)
    rows, numbers, dots, ends, majority = [], {}, {}, [], 0.0
    for name, x in data.some(PROBE_ROWS).items():
        numbers[name] = {}
        for kind, probe in PROBES.items():
            score = probes.over_splits(probe, x, y, key=data.key(5), classes=c, splits=SPLITS)
            numbers[name][kind] = {"accuracy": score.mean, "interval": (score.low, score.high)}
            majority = score.majority
            rows.append((f"{name}\n{kind}", said(score.mean), said((score.low, score.high)), said(majority)))
            dots[f"{name}, {kind}"] = score.mean
            ends.append((score.low, score.high))
    caption = (
        f"Accuracy on held-out rows: {len(y):,} rows, {c} classes, {SPLITS} random splits, 95 % interval; majority "
        f"is what naming the commonest class scores."
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
    """What erasing the labels leaves."""
    y, c, _ = _labels(data, ERASE_ROWS)
    kinds = {"linear": probes.logistic, "mlp": probes.mlp}
    rows, numbers, shown = [], {}, []
    for name, x in data.some(ERASE_ROWS).items():
        eraser = erasure.leace(x, y, labels="categorical")
        report = erasure.guardedness_report(x, eraser.transform(x), y, key=data.key(6), probes=kinds, splits=2)
        numbers[name] = {
            version: {
                "rank": r.rank,
                "certificate": r.certificate,
                "bits": r.bits,
                "edit": r.edit,
                "cka": r.cka,
                "overlap": r.overlap,
                "accuracy": {kind: s.mean for kind, s in r.probes.items()},
            }
            for version, r in report.rows.items()
        }
        rows += [
            (
                f"{name}\n{version}",
                said(r.rank),
                said(abs(r.certificate) if abs(r.certificate) < 5e-4 else r.certificate),
                *(said(s.mean) for s in r.probes.values()),
                said(r.edit),
                said(r.cka),
                said(r.overlap),
            )
            for version, r in report.rows.items()
        ]
        shown.append(figures.erased(report, name))
    caption = (
        f"LEACE fitted on {len(y):,} rows, {c} classes, beside two edits of the same rank. Certificate: nats that a "
        f"converged linear probe gains on these rows, 0 where the labels are guarded; edit: mean squared move over "
        f"the variance; CKA and overlap of the 10 nearest neighbours with the original."
    )
    head = ("version", "rank", "certificate", *(f"accuracy, {kind}" for kind in kinds), "edit", "CKA", "overlap")
    text = (
        "Can the labels be removed? After erasure no linear probe beats a constant on these rows; what a network "
        "still reads, and what broke, stand beside edits that remove as many random directions, or those of "
        "shuffled labels."
    )
    return Part((text, Table(caption, head, tuple(rows)), *shown), {"rows": len(y), "classes": c, "versions": numbers})


def _labels(data: Data, most: int):
    """Labels of `data.some(most)` as codes without gaps, their number, and the share of the commonest."""
    y = data.labels if most >= data.n else data.labels[data.order[:most]]
    names, y, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError(f"labels: expected two classes in {len(y)} rows; got one")
    if len(names) > MOST_CLASSES or len(names) > len(y) // 8:
        raise ValueError(
            f"labels: expected at most {min(MOST_CLASSES, len(y) // 8)} classes in {len(y):,} rows; got {len(names)}"
        )
    return jnp.asarray(y), len(names), counts.max() / len(y)
