"""Textbook formulas in float64 NumPy, written for reading: what the compiled kernels are compared with."""

import numpy as np


def centred(x):
    """`x` in float64 minus its column means."""
    x = np.asarray(x, np.float64)
    return x - x.mean(0)


def scatter(x, y):
    """Centred products x^T x, x^T y, y^T y."""
    x, y = centred(x), centred(y)
    return x.T @ x, x.T @ y, y.T @ y


def cka(x, y):
    """||x^T y||^2 / (||x^T x|| ||y^T y||)."""
    xx, xy, yy = scatter(x, y)
    return np.sum(xy**2) / np.sqrt(np.sum(xx**2) * np.sum(yy**2))


def canonical_correlations(x, y):
    """Singular values of the product of two orthonormal bases (full column rank)."""
    return np.linalg.svd(np.linalg.qr(centred(x))[0].T @ np.linalg.qr(centred(y))[0], compute_uv=False)


def procrustes(x, y):
    """Distance after the best rotation, by finding that rotation (equal widths)."""
    x, y = centred(x), centred(y)
    u, _, vt = np.linalg.svd(y.T @ x)
    return np.linalg.norm(x - y @ u @ vt)


def distances(x):
    """Euclidean distances between all rows."""
    x = np.asarray(x, np.float64)
    return np.linalg.norm(x[:, None] - x[None], axis=-1)


def neighbours(x, k, metric):
    """Indices of the k nearest other rows, ties to the lower index, one row at a time."""
    x = np.asarray(x, np.float64)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = []
    for i, row in enumerate(x):
        far = np.sum((x - row) ** 2, 1) if metric == "euclidean" else -(x @ row)
        far[i] = np.inf
        found.append(np.argsort(far, kind="stable")[:k])
    return np.array(found)
