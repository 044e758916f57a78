"""What joint-embedding training minimises: three losses of two matrices that embed two views of the same images.

Row i of both comes from image i. All three pull the two views of an image together; they differ in what keeps the
embeddings from collapsing to one point: a variance to hold up, decorrelated columns, or other images to stay away from.
"""

import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks, linalg


def vicreg_loss(z, w, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> Array:
    """VICReg: weighted sum of invariance, variance and covariance terms of embeddings z and w (n, p); from 0 up.

    invariance x mean (z - w)^2 + variance x (v(z) + v(w)) / 2 + covariance x (c(z) + c(w)), where v is the mean over
    columns of max(0, 1 - sqrt(var + 1e-4)) and c the sum of squared covariances of different columns, over p; variances
    over n - 1. The means over entries are those of the authors' code, to which the default weights belong: the paper
    sums the first over columns and does not halve the second. With variance = 0 a constant embedding is optimal.
    Works under jit, vmap and grad; raises as `checks.paired`, and for matrices of two widths or a negative weight.
    O(n p^2). Source: Bardes et al. 2022, eq. 6.

    >>> z = jnp.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    >>> round(float(vicreg_loss(z, z)), 4), round(float(vicreg_loss(z, z + 1, invariance=3)), 4)
    (0.0, 3.0)
    """
    z, w = _views(z, w, at_least=2)
    weights = [checks.real(weight, name, low=0) for name, weight in
               (("invariance", invariance), ("variance", variance), ("covariance", covariance))]  # fmt: skip
    terms = [_variance_and_covariance(a) for a in (z, w)]
    hinge, overlap = (first + second for first, second in zip(*terms, strict=True))
    return weights[0] * ((z - w) ** 2).mean() + weights[1] * hinge / 2 + weights[2] * overlap


def barlow_twins_loss(z, w, *, off_diagonal: float = 0.005) -> Array:
    """Barlow Twins: how far the correlations c of columns of z with columns of w (n, p) are from identity; from 0 up.

    sum_i (1 - c_ii)^2 + off_diagonal x sum_{i != j} c_ij^2, c from columns minus their means over their standard
    deviations sqrt(var + 1e-5), the guard of batch normalisation: a constant column correlates 0. The first sum keeps
    every column alive; with off_diagonal = 0 they may all be one. Unchanged when a column of z is shifted or (guard
    aside) scaled. Works under jit, vmap and grad; raises as `vicreg_loss`. O(n p^2). Source: Zbontar et al. 2021, eq. 1
    and 2.

    >>> z = jnp.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    >>> round(float(barlow_twins_loss(z, z)), 4), round(float(barlow_twins_loss(z, z[:, ::-1], off_diagonal=0.5)), 4)
    (0.0, 3.0)
    """
    z, w = _views(z, w, at_least=2)
    weight = checks.real(off_diagonal, "off_diagonal", low=0)
    z, w = (linalg.center(a) for a in (z, w))
    z, w = (a * jax.lax.rsqrt((a**2).mean(0) + 1e-5)[None] for a in (z, w))
    c = z.T @ w / len(z)
    own = jnp.diagonal(c)
    return ((1 - own) ** 2).sum() + weight * ((c**2).sum() - (own**2).sum())


def simclr_loss(z, w, *, temperature: float = 0.5) -> Array:
    """SimCLR (NT-Xent): cross-entropy of telling the other view of an image among all 2 n - 1 embeddings; from 0 up.

    The mean over the 2 n rows a of -ln(exp(s(a, a') / t) / sum_{b != a} exp(s(a, b) / t)), with s the cosine, a' the
    other view of a and t the temperature: ln(2 n - 1) when all rows point one way. The largest similarities rule at a
    small t. A row of zeros has cosine 0 with all, and gradient 0. Works under jit, vmap and grad; raises as
    `vicreg_loss`, and for a temperature of 0. O(n^2 p). Source: Chen et al. 2020, eq. 1.

    >>> z = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(simclr_loss(z, z, temperature=0.1)), 4), round(float(simclr_loss(z, z[::-1], temperature=0.1)), 4)
    (0.0001, 10.0001)
    """
    z, w = _views(z, w, at_least=2)
    temperature = checks.real(temperature, "temperature", low=0, open_low=True)
    rows = jnp.concatenate([z, w])
    squared = (rows**2).sum(1, keepdims=True)
    rows = rows * jnp.where(squared > 0, jax.lax.rsqrt(jnp.where(squared > 0, squared, 1)), 0)
    scores = rows @ rows.T / temperature
    own = jnp.eye(len(rows), dtype=bool)
    positive = (rows * jnp.roll(rows, len(z), axis=0)).sum(1) / temperature
    return (jax.nn.logsumexp(jnp.where(own, -jnp.inf, scores), axis=1) - positive).mean()


def _views(z, w, *, at_least: int) -> tuple[Array, Array]:
    z, w = checks.paired(z, w, at_least=at_least, may_be_constant=True)
    if z.shape != w.shape:
        raise ValueError(f"z and w: expected one shape, (n images, p features); got {z.shape} and {w.shape}")
    return z, w


def _variance_and_covariance(z: Array) -> tuple[Array, Array]:
    """VICReg's v and c of one view."""
    z = linalg.center(z)
    n, p = z.shape
    covariance = z.T @ z / (n - 1)
    own = jnp.diagonal(covariance)
    return jax.nn.relu(1 - jnp.sqrt(own + 1e-4)).mean(), ((covariance**2).sum() - (own**2).sum()) / p
