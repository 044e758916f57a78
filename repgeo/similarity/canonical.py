"""Canonical correlations and what is built on them: SVCCA, PWCCA, linear predictivity, GULP, eigenspace overlap.

All of these read the singular basis of each side. Directions at or below `linalg.rank_mask`'s tolerance carry no
correlation, so rank-deficient, constant and wide (n <= p) inputs need no ridge. Gradients pass through singular
vectors: they are right where the singular values of each argument are distinct, and NaN where they repeat.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.moments import Moments, spread
from repgeo.similarity.record import Record, Split, invariant, measure
from repgeo.similarity.shuffled import by_rows

_AFFINE = invariant("shift", "scale", "linear")
_SIMILAR = invariant("shift", "scale", "rotation")
_INF = float("inf")


def cca(x: Array, y: Array) -> Array:
    """Canonical correlations (r,), descending, each in [0, 1]; r is the smaller rank of centred x and y.

    x (n, p), y (n, q). The singular values of U_x^T U_y for orthonormal bases of the two column spaces, so unchanged
    by any invertible affine map of either side. With n <= p + 1 generic columns span everything and every
    correlation is 1: compare fewer features, or more samples. O(n (p + q)^2). Under a trace the shape cannot
    depend on the rank: then (min(n, p, q),), 0 beyond it. Source: Hotelling 1936; Raghu et al. 2017, appendix A.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> [f"{r:.3f}" for r in cca(x, x @ jnp.array([[1.0, 2.0], [0.0, 1.0]]))]
    ['1.000', '1.000']
    """
    x, y = checks.paired(x, y)
    return _trim(*_correlations(_full_basis(x), _full_basis(y)))


def cca_from(m: Moments) -> Array:
    """`cca` from accumulated moments; shape as there.

    Moments square the condition number: directions below the square root of the tolerance (3e-3 in float32, 1e-7 in
    float64, relative to the largest singular value, for p = 100) cannot be told from rounding and are left out.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0], [1.0], [3.0]])
    >>> [f"{r:.3f}" for r in cca_from(moments(x, 2 - x))]
    ['1.000']
    """
    m = spread(m)
    return _trim(*_correlations_from(m.xx, m.xy, m.yy))


@measure(
    Record("similarity", (0, 1), True, _AFFINE, "raghu2017"),
    split=Split(lambda x: _full_basis(x), lambda a, b: _mean(*_correlations(a, b)), by_rows),
)
def mean_cca(x: Array, y: Array) -> Array:
    """Mean canonical correlation over the smaller rank, in [0, 1] (the rho-bar of Raghu et al. 2017).

    x (n, p), y (n, q). See `cca`: 1 whenever n <= p + 1. Kornblith et al. 2019 divide by the smaller width instead,
    which differs for rank-deficient input.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> print(f"{mean_cca(x, x[:, :1]):.3f}")
    1.000
    """
    x, y = checks.paired(x, y)
    return _mean(*_correlations(_full_basis(x), _full_basis(y)))


@measure(
    Record("similarity", (0, 1), True, _AFFINE, "kornblith2019"),
    split=Split(lambda x: (_full_basis(x), _width(x)), lambda a, b: _r2(a, b), by_rows),
)
def r2_cca(x: Array, y: Array) -> Array:
    """Sum of squared canonical correlations over the smaller width min(p, q), in [0, 1] (R^2_CCA).

    x (n, p), y (n, q). Source: Kornblith et al. 2019, table 1; Yanai's generalised coefficient of determination.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> print(f"{r2_cca(x, 1 - x):.3f}")
    1.000
    """
    x, y = checks.paired(x, y)
    return _r2((_full_basis(x), _width(x)), (_full_basis(y), _width(y)))


@measure(
    Record("similarity", (0, 1), True, _SIMILAR, "raghu2017"),
    split=Split(lambda x, **options: _leading_basis(x, **options), lambda a, b: _mean(*_correlations(a, b)), by_rows),
)
def svcca(x: Array, y: Array, *, threshold: float = 0.99, on: str = "variance") -> Array:
    """Mean canonical correlation between the leading singular directions of x and of y, in [0, 1].

    x (n, p), y (n, q). Each side keeps the fewest leading directions that hold a share `threshold` in (0, 1] of its
    `on`: "variance" (squared singular values, as the main text of Raghu et al. 2017 says and most code does) or
    "singular" (singular values, as its appendix A says; it keeps more). The mean is over the smaller number kept.
    Unchanged by rotation, shift and scale; by an affine map only while that keeps the same directions leading.
    O(n (p + q)^2), through p x p products where that loses no accuracy.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (50, 4))
    >>> print(f"{svcca(x, 3 * x[:, ::-1] + 1):.4f}")
    1.0000
    """
    x, y = checks.paired(x, y, values=False)
    threshold = checks.real(threshold, "threshold", low=0, high=1, open_low=True)
    checks.choice(on, "on", ("variance", "singular"))
    value = _svcca(x, y, threshold, on)
    if checks.is_concrete(value) and not value > 0:
        checks.paired(x, y)  # NaN and infinity end in NaN, equal rows in 0: looking for them first would cost 2 %
    return value


def svcca_from(m: Moments, *, threshold: float = 0.99, on: str = "variance") -> Array:
    """`svcca` from accumulated moments; options and value as there, accuracy as `cca_from` says.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> print(f"{svcca_from(moments(x, -x)):.3f}")
    1.000
    """
    threshold = checks.real(threshold, "threshold", low=0, high=1, open_low=True)
    checks.choice(on, "on", ("variance", "singular"))
    m = spread(m)
    return _svcca_from(m.xx, m.xy, m.yy, threshold, on)[0]


@measure(
    Record("similarity", (0, 1), False, invariant("shift", "scale", "permutation"), "morcos2018"),
    split=Split(lambda x: (linalg.center(x), _full_basis(x)), lambda a, b: _pwcca(a, b), by_rows),
)
def pwcca(x: Array, y: Array) -> Array:
    """Projection-weighted CCA, in [0, 1]: canonical correlations weighted by how much of x each variate carries.

    x (n, p), y (n, q). Weights a_i = sum_j |<h_i, x_j>| with h_i the canonical variates of x and x_j its centred
    columns, as Morcos et al. 2018 (sec. 2) define them; from x, so pwcca(x, y) != pwcca(y, x). Absolute values
    depend on the axes of x: a rotation of x changes the value, an affine map of y does not. O(n (p + q)^2).

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> print(f"{pwcca(x, x + 1):.4f}")
    1.0000
    """
    x, y = checks.paired(x, y)
    return _pwcca((linalg.center(x), _full_basis(x)), (linalg.center(y), _full_basis(y)))


@measure(
    Record("similarity", (0, 1), False, _SIMILAR, "kornblith2019"),
    split=Split(lambda x: (linalg.center(x), _full_basis(x)), lambda a, b: _explained(a, b), by_rows),
)
def linear_predictivity(x: Array, y: Array) -> Array:
    """Share of the variance of y that a linear regression on x explains (in-sample R^2), in [0, 1].

    x (n, p), y (n, q). ||U_x^T y||_F^2 / ||y||_F^2; asymmetric. Unchanged by any affine map of x, and by rotation,
    shift and scale of y. Not cross-validated: 1 for any y when n <= p + 1. O(n p (p + q)).
    Source: Kornblith et al. 2019, table 1 (their R^2_LR with the roles of x and y named the other way round).

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [1.0], [2.0], [3.0]])
    >>> print(f"{linear_predictivity(x, jnp.hstack([x, 5 - 2 * x])):.4f}")
    1.0000
    """
    x, y = checks.paired(x, y)
    return _explained((linalg.center(x), _full_basis(x)), (linalg.center(y), _full_basis(y)))


@measure(
    Record("metric", (0, _INF), True, _SIMILAR, "boixadsera2022"),
    split=Split(lambda x, ridge: _prepare_gulp(x, ridge), lambda a, b: _gulp(a, b), by_rows),
)
def gulp(x: Array, y: Array, *, ridge: float) -> Array:
    """GULP distance: the largest root-mean-square gap between ridge predictions made from x and from y.

    x (n, p), y (n, q); `ridge` >= 0 in units of a covariance with unit trace, since each side is centred and scaled
    to ||x||_F^2 = n. At 0 it is the CCA distance; as ridge grows it compares covariances as CKA does. Not squared;
    0 for equal geometry, at most sqrt(rank x + rank y). The spectral form used here needs no inverse, so n < p and
    rank-deficient inputs are fine. Values under sqrt(eps) are rounding. Source: Boix-Adsera et al. 2022.

    >>> import jax
    >>> x, y = jax.random.normal(jax.random.key(0), (2, 30, 3))
    >>> print(f"{gulp(x, y, ridge=0.1):.2f}")
    1.63
    """
    x, y = checks.paired(x, y)
    ridge = checks.real(ridge, "ridge", low=0)
    return _gulp(_prepare_gulp(x, ridge), _prepare_gulp(y, ridge))


@measure(
    Record("similarity", (0, 1), True, invariant("scale", "linear"), "may2019"),
    split=Split(lambda x: (_raw_basis(x), _width(x)), lambda a, b: _overlap(a, b), by_rows),
)
def eigenspace_overlap(x: Array, y: Array) -> Array:
    """Eigenspace overlap score, in [0, 1]: ||U_x^T U_y||_F^2 / max(p, q) for bases of the *uncentred* columns.

    x (n, p), y (n, q). Unchanged by any invertible linear map of either side; a shift changes it, since the paper
    does not centre. Below 1 even for x with itself when x is rank-deficient. O(n (p + q)^2). Source: May et al. 2019.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> print(f"{eigenspace_overlap(x, x @ jnp.array([[2.0, 1.0], [0.0, 1.0]])):.4f}")
    1.0000
    """
    x, y = checks.paired(x, y)
    return _overlap((_raw_basis(x), _width(x)), (_raw_basis(y), _width(y)))


@jax.jit
def _full_basis(x):
    """(u, rank): an orthonormal basis (n, r) of the centred columns, 0 beyond the rank."""
    u, s = linalg.basis(linalg.center(x))
    return u, jnp.sum(s > 0)


@jax.jit
def _raw_basis(x):
    return linalg.basis(x)[0]


@partial(jax.jit, static_argnames="on")
def _leading_basis(x, threshold=0.99, on="variance"):
    u, s = linalg.basis(linalg.center(x))
    unit = s / linalg.scale_of(s)  # squares of very large or small values would not be there to add up
    kept = _leading(unit if on == "singular" else unit**2, threshold) & (s > 0)
    return u * kept[None], jnp.sum(kept)


def _leading(weights, threshold):
    """Mask of the fewest leading weights (descending) whose sum reaches the share `threshold`."""
    share = jnp.cumsum(weights) / jnp.sum(weights)
    reached = share >= threshold - 64 * jnp.finfo(weights.dtype).eps  # a sum that equals the threshold but for rounding
    return jnp.cumsum(reached) <= 1


@jax.jit
def _correlations(a, b):
    (u, rank_u), (v, rank_v) = a, b
    rho = jnp.minimum(linalg.singular_values(linalg.matmul(u.T, v)), 1)
    rank = jnp.minimum(rank_u, rank_v)
    return jnp.where(jnp.arange(len(rho)) < rank, rho, 0), rank


@jax.jit
def _correlations_from(xx, xy, yy):
    return _whitened(xx, xy, yy, _above_rounding, _above_rounding)[:2]


def _above_rounding(values):
    return values > values[0] * len(values) * jnp.finfo(values.dtype).eps


def _whitened(xx, xy, yy, keep_x, keep_y):
    """Correlations of the kept eigen-directions, their number, and the smallest kept share of the top eigenvalue."""
    sides, smallest = [], []
    for scatter, keep in ((xx, keep_x), (yy, keep_y)):
        values, vectors = linalg.descending_eigh(scatter)
        kept = keep(values) & _above_rounding(values)
        sides.append((vectors * jnp.where(kept, lax.rsqrt(jnp.where(kept, values, 1)), 0)[None], jnp.sum(kept)))
        smallest.append(jnp.min(jnp.where(kept, values, values[0])) / values[0])
    (a, rank_a), (b, rank_b) = sides
    rho = jnp.minimum(linalg.singular_values(linalg.matmul(a.T, linalg.matmul(xy, b))), 1)
    rank = jnp.minimum(rank_a, rank_b)
    rho = jnp.where(jnp.arange(len(rho)) < rank, rho, jnp.where(jnp.isfinite(xy).all(), 0, jnp.nan))
    return rho, rank, jnp.minimum(*smallest)


def _svcca_from_products(xx, xy, yy, threshold, on):
    def keep(values):
        return _leading(linalg.safe_sqrt(values) if on == "singular" else values, threshold)

    rho, rank, smallest = _whitened(xx, xy, yy, keep, keep)
    return _mean(rho, rank), smallest


_svcca_from = partial(jax.jit, static_argnames="on")(_svcca_from_products)


def _svcca(x, y, threshold, on):
    n, p, q = *x.shape, y.shape[1]
    if on == "singular" or n < max(p, q):  # roots of rounded eigenvalues would add up to a share of their own
        return _svcca_by_svd(x, y, threshold, on)
    # Two programs, since the products of one that goes on to decompose them keep to one core.
    return _svcca_by_products(x, y, *_scatter(x, y), threshold, on)


_scatter = jax.jit(linalg.scatter)


@partial(jax.jit, static_argnames="on")
def _svcca_by_products(x, y, xx, xy, yy, threshold, on):
    fast, smallest = _svcca_from_products(xx, xy, yy, threshold, on)
    # A p x p product squares the condition number: its route is taken only where the kept directions allow it.
    safe = jnp.finfo(x.dtype).eps <= 1e-3 * smallest
    return lax.cond(safe, lambda x, y: fast, lambda x, y: _svcca_by_svd(x, y, threshold, on), x, y)


@partial(jax.jit, static_argnames="on")
def _svcca_by_svd(x, y, threshold, on):
    return _mean(*_correlations(_leading_basis(x, threshold, on), _leading_basis(y, threshold, on)))


@jax.jit
def _mean(rho, rank):
    return jnp.sum(rho) / jnp.maximum(rank, 1)


@jax.jit
def _r2(a, b):
    (basis_a, width_a), (basis_b, width_b) = a, b
    return jnp.sum(_correlations(basis_a, basis_b)[0] ** 2) / jnp.minimum(width_a, width_b)


@jax.jit
def _pwcca(a, b):
    (x, (u, rank_u)), (_, (v, rank_v)) = a, b
    left, rho, _ = jnp.linalg.svd(linalg.matmul(u.T, v), full_matrices=False)
    weights = jnp.sum(jnp.abs(linalg.matmul(linalg.matmul(u, left).T, x)), 1)
    weights = jnp.where(jnp.arange(len(rho)) < jnp.minimum(rank_u, rank_v), weights, 0)
    return jnp.sum(weights * jnp.minimum(rho, 1)) / jnp.sum(weights)


@jax.jit
def _explained(a, b):
    (_, (u, _)), (y, _) = a, b
    return jnp.minimum((linalg.frobenius(linalg.matmul(u.T, y)) / linalg.frobenius(y)) ** 2, 1)


@jax.jit
def _prepare_gulp(x, ridge):
    u, s = linalg.basis(linalg.center(x))
    share = (s / linalg.frobenius(s)) ** 2
    total = share + ridge
    return u, jnp.where(s > 0, share / jnp.where(total > 0, total, 1), 0)


@jax.jit
def _gulp(a, b):
    (u, f), (v, g) = a, b
    cross = linalg.matmul(u.T, v) ** 2
    return linalg.safe_sqrt(jnp.sum(f**2) + jnp.sum(g**2) - 2 * linalg.matmul(f, linalg.matmul(cross, g)))


@jax.jit
def _overlap(a, b):
    (u, width_u), (v, width_v) = a, b
    return jnp.sum(linalg.matmul(u.T, v) ** 2) / jnp.maximum(width_u, width_v)


def _width(x):
    return jnp.asarray(x.shape[1], x.dtype)


def _trim(rho, rank):
    """Correlations up to the rank, where the rank is known now."""
    return rho[: int(np.asarray(rank))] if checks.is_concrete(rank) else rho
