"""Store float32 features in 8 bits a number or fewer where that is harmless, and measure what it changed.

A column is stored as codes 0..255 with `value = code * scale + zero` (`repgeo.datasets` decodes). Where 8
bits lose more than 3 in 100 of the nearest neighbours the array is stored as float16 instead. `pack_tightly` takes
wider steps, which compress to fewer bits.
"""

import numpy as np

NEIGHBOURS = 10
KEPT = 0.97  # share of nearest neighbours below which 8 bits are not enough
SAMPLE = 2_000  # rows for the two measures that need all pairs


def encode(x):
    """Codes (n, p) uint8, scale (p,) and zero (p,) float32: a column's range is cut into 255 equal steps."""
    zero = x.min(0).astype(np.float32)
    scale = ((x.max(0) - zero) / 255).astype(np.float32)
    steps = (x.astype(np.float64) - zero) / np.where(scale > 0, scale, 1)  # a constant column has scale 0
    return np.clip(np.rint(steps), 0, 255).astype(np.uint8), scale, zero


def encode_evenly(x, steps):
    """As `encode`, but every column has the same step: 1 / `steps` of the root of the mean variance of a column.

    Where codes are compressed afterwards, equal steps cost the fewest bits for a given error.
    """
    zero = x.min(0).astype(np.float32)
    scale = np.full_like(zero, np.sqrt(x.var(0, dtype=np.float64).mean()) / steps)
    codes = np.rint((x.astype(np.float64) - zero) / scale)
    assert codes.max() < 256, "a column has more than 256 steps"
    return codes.astype(np.uint8), scale, zero


def decode(codes, scale, zero):
    """The float32 values that the codes stand for."""
    return codes.astype(np.float32) * scale + zero


def gram(x):
    """The U-centred Gram matrix (n, n) of the rows: zero diagonal, and every row sums to zero."""
    k = x.astype(np.float64) @ x.T.astype(np.float64)
    np.fill_diagonal(k, 0)
    n = len(k)
    columns = k.sum(0) / (n - 2)
    k += -columns[:, None] - columns[None, :] + k.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(k, 0)
    return k


def debiased_cka(k, l):
    """Debiased linear CKA of two `gram`s (Szekely and Rizzo 2014: the U-centred inner product)."""
    return (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())


def neighbours(x):
    """Indices (n, 10) of the nearest rows by cosine, the row itself left out."""
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    similarity = x @ x.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argpartition(-similarity, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def neighbours_kept(x, stored):
    """Share of the ten nearest neighbours, over the first rows, that storage leaves the same."""
    pairs = zip(neighbours(x[:SAMPLE]), neighbours(stored[:SAMPLE]), strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / NEIGHBOURS for a, b in pairs]))


def pack(embedded):
    """{name: (n, p) float32} -> (arrays to store, {name: what the storage cost})."""
    arrays, read = {}, {}
    for name, x in embedded.items():
        codes, scale, zero = encode(x)
        read[name] = decode(codes, scale, zero)
        if neighbours_kept(x, read[name]) >= KEPT:
            arrays |= {name: codes, f"{name}__scale": scale, f"{name}__zero": zero}
        else:
            arrays[name] = x.astype(np.float16)
            read[name] = arrays[name].astype(np.float32)
    spread = {name: x.std(0) for name, x in embedded.items()}
    return arrays, cost_of(embedded, read, {name: str(arrays[name].dtype) for name in embedded}, spread)


def pack_tightly(embedded, steps):
    """As `pack`, by `encode_evenly`; the cost has `pairs_found_change` too, by `top_1`.

    A step that all columns share may be wide for a column that hardly varies, so the spread of a column, which errors
    are measured by, is here the root of the mean variance.
    """
    arrays, read = {}, {}
    for name, x in embedded.items():
        codes, scale, zero = encode_evenly(x, steps)
        read[name] = decode(codes, scale, zero)
        arrays |= {name: codes, f"{name}__scale": scale, f"{name}__zero": zero}
    spread = {name: np.full(x.shape[1], np.sqrt(x.var(0).mean())) for name, x in embedded.items()}
    cost = cost_of(embedded, read, dict.fromkeys(embedded, f"uint8, {steps} steps a standard deviation"), spread)
    for name in embedded:
        changes = [
            abs(top_1(read[name], read[other]) - top_1(embedded[name], embedded[other]))
            for other in embedded
            if other != name
        ]
        cost[name]["pairs_found_change"] = float(max(changes, default=0.0))
    return arrays, cost


def top_1(x, y, fitted=6_000, judged=2_000):
    """Share of `judged` rows of x whose own row of y is the nearest, after a rotation fitted on other rows."""
    center_x, center_y = x[:fitted].mean(0), y[:fitted].mean(0)
    u, _, vt = np.linalg.svd((x[:fitted] - center_x).T @ (y[:fitted] - center_y), full_matrices=False)
    x, y = (x[fitted : fitted + judged] - center_x) @ u @ vt, y[fitted : fitted + judged] - center_y
    nearest = (x @ (y / np.linalg.norm(y, axis=1, keepdims=True)).T).argmax(1)
    return float((nearest == np.arange(len(x))).mean())


def cost_of(embedded, read, stored, spread):
    """What the storage cost each array, given what is `read` back, how it is `stored` and the `spread` of its columns.

    `rms_error` and `largest_error`: the worst column's error over its spread; `cka_change`: the largest change of
    debiased linear CKA between it and any other array here when both are stored; `neighbours_kept`.
    """
    cost = {}
    for name, x in embedded.items():
        some = spread[name] > 0
        error = np.abs(read[name] - x)[:, some] / spread[name][some]
        cost[name] = {
            "stored": stored[name],
            "rms_error": float(np.sqrt((error**2).mean(0)).max()),
            "largest_error": float(error.max()),
            "neighbours_kept": neighbours_kept(x, read[name]),
        }
    before = {name: gram(x[:SAMPLE]) for name, x in embedded.items()}
    after = {name: gram(x[:SAMPLE]) for name, x in read.items()}
    for name in cost:
        changes = [
            abs(debiased_cka(after[name], after[other]) - debiased_cka(before[name], before[other]))
            for other in cost
            if other != name
        ]
        cost[name]["cka_change"] = float(max(changes, default=0.0))
    return cost
