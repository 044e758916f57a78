"""Store float32 features in 8 bits a number where that is harmless, and measure what it changed.

A column is stored as codes 0..255 with `value = code * scale + zero` (`repgeo.datasets` decodes). Where 8
bits lose more than 3 in 100 of the nearest neighbours the array is stored as float16 instead.
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
    """{name: (n, p) float32} -> (arrays to store, {name: what the storage cost}).

    The cost of an array: `rms_error` and `largest_error`, the worst column's error over that column's
    standard deviation; `cka_change`, the largest change of debiased linear CKA between it and any other array
    here when both are stored; `neighbours_kept`.
    """
    arrays, cost, read = {}, {}, {}
    for name, x in embedded.items():
        codes, scale, zero = encode(x)
        read[name] = decode(codes, scale, zero)
        kept = neighbours_kept(x, read[name])
        if kept >= KEPT:
            arrays |= {name: codes, f"{name}__scale": scale, f"{name}__zero": zero}
        else:
            arrays[name] = x.astype(np.float16)
            read[name] = arrays[name].astype(np.float32)
            kept = neighbours_kept(x, read[name])
        spread = x.std(0)
        error = np.abs(read[name] - x)[:, spread > 0] / spread[spread > 0]
        cost[name] = {
            "stored": str(arrays[name].dtype),
            "rms_error": float(np.sqrt((error**2).mean(0)).max()),
            "largest_error": float(error.max()),
            "neighbours_kept": kept,
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
    return arrays, cost
