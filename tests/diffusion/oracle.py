"""Diffusion quantities in float64 NumPy, written for reading."""

import numpy as np
from scipy.linalg import expm

from tests.oracles import distances


def affinities(x, sigma):
    """Gaussians of the distances; sigma one number or one a row."""
    widths = np.full(len(x), sigma) if np.ndim(sigma) == 0 else np.asarray(sigma)
    return np.exp(-(distances(x) ** 2) / (2 * widths[:, None] * widths[None]))


def walk(x, sigma, alpha):
    """D_K^-1 K with K = D_G^-alpha G D_G^-alpha."""
    g = affinities(x, sigma)
    q = g.sum(1) ** alpha
    k = g / q[:, None] / q[None]
    return k / k.sum(1, keepdims=True)


def entropy(values, t):
    """Bits of |l|^t over their sum."""
    a = np.abs(values) ** t
    p = a / a.sum()
    p = p[p > 0]
    return -(p * np.log2(p)).sum()


def dse(x, sigma, t=1.0, alpha=0.0):
    """Entropy of the eigenvalues of the walk, which is not symmetric: those of a general solver."""
    return entropy(np.linalg.eigvals(walk(x, sigma, alpha)), t)


def heat(x, sigma, t, alpha):
    """exp(-t (I - P))."""
    p = walk(x, sigma, alpha)
    return expm(t * (p - np.eye(len(p))))


def blobs(k, n, p=None, apart=10.0, spread=0.01, seed=0):
    """n rows in k groups, and which group each is of."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % k
    p = p or k
    return apart * np.eye(p)[labels] + spread * random.standard_normal((n, p)), labels
