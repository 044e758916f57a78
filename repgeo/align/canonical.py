"""Maps through what two spaces share: their leading canonical variates."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks, linalg
from repgeo.align.maps import Map, hashable
from repgeo.moments import Moments, moments, spread


def canonical_maps(x: Array, y: Array, *, k: int, ridge: float = 1e-2) -> tuple[Map, Map]:
    """The maps of x (n, p) and of y (n, q) onto their k shared coordinates; score: the mean canonical correlation.

    Each coordinate is a canonical variate of unit variance on these rows, most correlated first; both maps record all
    correlations in `history["correlations"]` (min(p, q),). `ridge` >= 0, in units of the mean variance of a direction,
    is added to both covariances: at 0 rare directions count as much as common ones, and with n - 1 < max(p, q) pairs,
    which is said in a warning, every correlation is 1. O(n (p + q)^2). Raises as `checks.paired`; ValueError unless
    1 <= k <= min(p, q). Source: Hotelling 1936; as a common subspace of independently trained spaces, Hadgi et al.
    2025.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (50, 3))
    >>> to_x, to_y = canonical_maps(x, x @ jax.random.normal(jax.random.key(1), (3, 4)), k=3, ridge=0)
    >>> to_x.score.round(3).item(), to_y.weights.shape
    (1.0, (4, 3))
    """
    return canonical_maps_from(moments(*checks.paired(x, y)), k=k, ridge=ridge)


def canonical_maps_from(m: Moments, *, k: int, ridge: float = 1e-2) -> tuple[Map, Map]:
    """`canonical_maps` from accumulated moments of x and y.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0], [2.0], [4.0]])
    >>> canonical_maps_from(moments(x, 3 * x), k=1, ridge=0)[1].score.round(3).item()
    1.0
    """
    m, k, (a, b, *_, rho) = _canonical(m, k, ridge, "canonical_maps")
    one, zero, mean = jnp.ones((), a.dtype), jnp.zeros(k, a.dtype), rho[:k].mean()
    seen = {"correlations": rho}
    return Map(a[:, :k], m.mean_x, zero, one, mean, seen), Map(b[:, :k], m.mean_y, zero, one, mean, seen)


def cca_map(x: Array, y: Array, *, k: int, ridge: float = 1e-2) -> Map:
    """The map from x (n, p) to y (n, q) through the k leading canonical variates; score: their mean correlation.

    A row becomes its k shared coordinates, each shrunk by its correlation and written back as y writes it: the
    regression of y on x, cut to rank k in the metric where y is white. What is not shared is dropped, so weights have
    rank k. Options, errors and warning as `canonical_maps`; history too.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (50, 3))
    >>> y = x @ jax.random.normal(jax.random.key(1), (3, 3))
    >>> bool(abs(cca_map(x, y, k=3, ridge=0).transform(x) - y).max() < 1e-3)
    True
    """
    return cca_map_from(moments(*checks.paired(x, y)), k=k, ridge=ridge)


def cca_map_from(m: Moments, *, k: int, ridge: float = 1e-2) -> Map:
    """`cca_map` from accumulated moments of x and y.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0], [2.0], [4.0]])
    >>> print(f"{cca_map_from(moments(x, 3 * x), k=1, ridge=0).weights.item():.3f}")
    3.000
    """
    m, k, (a, _, back, rho) = _canonical(m, k, ridge, "cca_map")
    weights = linalg.matmul(a[:, :k] * rho[None, :k], back[:k])
    return Map(weights, m.mean_x, m.mean_y, jnp.ones((), a.dtype), rho[:k].mean(), {"correlations": rho})


def _canonical(m, k, ridge, name):
    m = spread(m)
    p, q = m.xy.shape
    k = checks.count(k, "k", low=1, high=min(p, q), why="the narrower width")
    ridge = checks.real(ridge, "ridge", low=0)
    if checks.is_concrete(m.n) and int(m.n) - 1 < max(p, q):
        how = f"ridge = {ridge} of the mean variance regularises" if ridge else "with ridge = 0 all correlations are 1"
        warnings.warn(f"{name}: {int(m.n)} pairs do not determine {p} and {q} features: {how}", stacklevel=4)
    eps = float(jnp.finfo(m.xx.dtype).eps)
    kernel = hashable(partial(_variates, ridge=ridge, eps=eps))
    return m, k, linalg.in_double(_run, m.xx, m.xy, m.yy, m.n, kernel=kernel)


@partial(jax.jit, static_argnames="kernel")
def _run(xx, xy, yy, n, *, kernel):
    return kernel[0](xx, xy, yy, n, **dict(kernel[1]))


def _variates(xx, xy, yy, n, *, ridge, eps):
    """Weights (p, r), (q, r) of the variates, how y is written from its own (r, q), and the correlations (r,)."""
    roots = [inverse_root_and_root(a / (n - 1), ridge, eps) for a in (xx, yy)]
    (white_x, _), (white_y, back_y) = roots
    u, rho, vt = jnp.linalg.svd(linalg.matmul(white_x, linalg.matmul(xy / (n - 1), white_y)), full_matrices=False)
    return linalg.matmul(white_x, u), linalg.matmul(white_y, vt.T), linalg.matmul(vt, back_y), jnp.minimum(rho, 1)


def inverse_root_and_root(covariance, ridge, eps):
    """Inverse root and root of a covariance with its ridge, both 0 where a direction of it is rounding."""
    p = len(covariance)
    values, vectors = linalg.descending_eigh(covariance)
    values = values + ridge * jnp.trace(covariance) / p
    real = values > values[0] * p * eps
    roots = jnp.sqrt(jnp.where(real, values, 1))
    return tuple(linalg.matmul(vectors * jnp.where(real, r, 0)[None], vectors.T) for r in (1 / roots, roots))
