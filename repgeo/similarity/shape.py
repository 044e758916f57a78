"""Similarity up to rotation: Procrustes distances, the normalised Bures similarity, and shape metrics.

All rest on the nuclear norm of x^T y. Near-identical inputs would lose half of the digits in `1 - cosine`, so close
pairs are measured by what is left after the best rotation instead.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.moments import Moments, spread
from repgeo.similarity.record import Record, Split, invariant, measure
from repgeo.similarity.shuffled import by_rows

_ISOMETRIC = invariant("shift", "rotation")
_SIMILAR = invariant("shift", "rotation", "scale")
_INF = float("inf")
_CLOSE = 0.99  # above this cosine the gap is computed from the residual


@measure(
    Record("metric", (0, _INF), True, _ISOMETRIC, "williams2021"),
    split=Split(lambda x, **options: _prepare_procrustes(x, **options), lambda a, b: _procrustes(a, b), by_rows),
)
def procrustes(x: Array, y: Array, *, normalized: bool = False) -> Array:
    """Procrustes size-and-shape distance: the least Frobenius norm of x - y Q over rotations and reflections Q.

    x (n, p), y (n, q), centred here, the narrower padded with zero columns; not squared; in units of the features.
    sqrt(||x||_F^2 + ||y||_F^2 - 2 ||x^T y||_*). With `normalized=True` both sides are first scaled to unit
    Frobenius norm: then it lies in [0, sqrt 2], ignores scale, and its square is the Procrustes distance of Ding et
    al. 2021 (2 - 2 nbs). A metric. O(n p q + p q min(p, q)). Source: Williams et al. 2021; Ding et al. 2021.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[3.0, 0.0], [0.0, 4.0], [-3.0, -4.0]])
    >>> print(f"{procrustes(x, x[:, ::-1]):.4f} {procrustes(x, 0 * x + x / 2):.4f}")
    0.0000 3.5355
    """
    return _procrustes_of(*checks.paired(x, y), normalized)


def procrustes_from(m: Moments, *, normalized: bool = False) -> Array:
    """`procrustes` from accumulated moments; a distance under sqrt(eps) of the norms cannot be told from 0.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[3.0, 0.0], [0.0, 4.0], [-3.0, -4.0]])
    >>> print(f"{procrustes_from(moments(x, x / 2)):.4f}")
    3.5355
    """
    m = spread(m)
    return _procrustes_from(m.xx, m.xy, m.yy, normalized)


@measure(
    Record("similarity", (0, 1), True, _SIMILAR, "tang2020"),
    split=Split(lambda x: _prepare(x), lambda a, b: _cosine(a, b), by_rows),
)
def nbs(x: Array, y: Array) -> Array:
    """Normalised Bures similarity, in [0, 1]: ||x^T y||_* / (||x||_F ||y||_F) of the centred matrices.

    x (n, p), y (n, q). The cosine of the shape angle (`shape_distance`), and the fidelity of the two Gram matrices.
    Less ruled by the leading directions than `cka`, which sums squares of the same singular values.
    O(n p q + p q min(p, q)). Source: Tang et al. 2020; Harvey et al. 2023 for the equivalence with Procrustes.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[3.0, 0.0], [0.0, 4.0], [-3.0, -4.0]])
    >>> print(f"{nbs(x, 2 - x):.4f}")
    1.0000
    """
    x, y = checks.paired(x, y)
    return _cosine(_prepare(x), _prepare(y))


@measure(
    Record("metric", (0, 1.5707964), True, _SIMILAR, "williams2021"),
    split=Split(lambda x, alpha=1.0: _prepare_shape(x, alpha), lambda a, b: _angle(a, b), by_rows),
)
def shape_distance(x: Array, y: Array, *, alpha: float = 1.0) -> Array:
    """Angular shape distance in radians, [0, pi/2]: the angle between x and the best rotation of y.

    x (n, p), y (n, q). `alpha` in [0, 1] blends whitening in: singular values s become alpha s + (1 - alpha).
    alpha = 1 is the angular Procrustes distance (unchanged by shift, scale, rotation), alpha = 0 compares whitened
    data (unchanged by affine maps). In between, the scale of the features matters, as in the paper and its code
    (netrep): normalise both sides first if it should not. A metric for each alpha. O(n (p + q)^2).
    Source: Williams et al. 2021, sec. 2.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[3.0, 0.0], [0.0, 4.0], [-3.0, -4.0]])
    >>> print(f"{shape_distance(x, 7 * x[:, ::-1] + 1):.4f}")
    0.0000
    """
    x, y = checks.paired(x, y)
    alpha = checks.real(alpha, "alpha", low=0, high=1)
    return _angle(_prepare_shape(x, alpha), _prepare_shape(y, alpha))


@jax.jit
def _prepare(x):
    """(unit-norm centred matrix, its norm); a matrix wider than tall is rotated into its n leading axes."""
    x = linalg.center(x)
    if x.shape[1] > len(x):
        u, s = linalg.basis(x)
        x = u * s[None]
    norm = linalg.frobenius(x)
    return x / norm, norm


def _prepare_shape(x, alpha):
    if checks.is_concrete(alpha) and alpha == 1:
        return _prepare(x)
    return _prepare_whitened(x, alpha)


@jax.jit
def _prepare_whitened(x, alpha):
    u, s = linalg.basis(linalg.center(x))
    x = u * jnp.where(s > 0, alpha * s + (1 - alpha), 0)[None]
    norm = linalg.frobenius(x)
    return x / norm, norm


@jax.jit
def _cosine(a, b):
    return jnp.minimum(_nuclear(linalg.matmul(a[0].T, b[0])), 1)


@jax.jit
def _angle(a, b):
    return 2 * jnp.arcsin(linalg.safe_sqrt(_gap(a[0], b[0])) / 2)


def _prepare_procrustes(x, normalized=False):
    unit, norm = _prepare(x)
    return unit, jnp.ones_like(norm) if normalized else norm


@jax.jit
def _procrustes(a, b):
    return _distance(_gap(a[0], b[0]), a[1], b[1])


@partial(jax.jit, static_argnames="normalized")
def _procrustes_of(x, y, normalized):
    if max(x.shape[1], y.shape[1]) > len(x):
        return _procrustes(_prepare_procrustes(x, normalized), _prepare_procrustes(y, normalized))
    product, s, t = linalg.cosines(x, y)  # without the unit-norm copies that a grid would keep
    gap = _gap_at(_nuclear(product), lambda: (linalg.center(x) / s, linalg.center(y) / t))
    return linalg.safe_sqrt(gap) if normalized else _distance(gap, s, t)


def _distance(gap, s, t):
    """Size-and-shape distance of two sides with norms s and t, scaled so that squares stay in range."""
    top = lax.stop_gradient(jnp.maximum(s, t))
    return top * linalg.safe_sqrt(((s - t) / top) ** 2 + (s / top) * (t / top) * gap)


@partial(jax.jit, static_argnames="normalized")
def _procrustes_from(xx, xy, yy, normalized):
    s, t = jnp.sqrt(jnp.trace(xx)), jnp.sqrt(jnp.trace(yy))
    gap = 2 - 2 * jnp.minimum(_nuclear(xy / s / t), 1)
    return linalg.safe_sqrt(gap if normalized else (s - t) ** 2 + s * t * gap)


def _nuclear(a):
    return jnp.sum(linalg.singular_values(a))


def _gap(x, y):
    """2 - 2 ||x^T y||_* of unit-norm x, y: the squared distance after the best rotation, precise near 0 too."""
    return _gap_at(_nuclear(linalg.matmul(x.T, y)), lambda: (x, y))


def _gap_at(cosine, sides):
    def residual():
        x, y = sides()
        width = max(x.shape[1], y.shape[1])
        x, y = (jnp.pad(a, ((0, 0), (0, width - a.shape[1]))) for a in (x, y))
        u, _, vt = jnp.linalg.svd(linalg.matmul(y.T, x), full_matrices=False)
        rotation = lax.stop_gradient(linalg.matmul(u, vt))  # optimal, so its own change does not count
        return jnp.sum((x - linalg.matmul(y, rotation)) ** 2)

    return lax.cond(cosine > _CLOSE, residual, lambda: 2 - 2 * cosine)
