"""Maps from one space to another: what a map is, and the closed forms that pairs allow.

All fits read second moments alone, so each has a twin that takes `Moments`: a stream or shards give the same map.
"""

import warnings
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.moments import Moments, moments, spread


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Map:
    """The affine map x -> scale (x - mean_x) weights + mean_y; a pytree, so it vmaps, and works under jit.

    weights (p, q), mean_x (p,), mean_y (q,), scale (). `score` () is how well it fits what it was fitted on, on the
    scale that the function says which made it, and `history` holds what was recorded on the way, by name. The means
    are the map's own: one row goes where it goes as part of any batch.
    """

    weights: Array
    mean_x: Array
    mean_y: Array
    scale: Array
    score: Array
    history: dict[str, Array] = field(default_factory=dict)

    def transform(self, x: Array) -> Array:
        """The rows of x (n, p), or one row (p,), in the coordinates of y. O(n p q). ValueError for another width.

        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0]])
        >>> [f"{value:.3f}" for value in procrustes(x, x[:, ::-1] + 7).transform(x[0])]
        ['8.000', '7.000']
        """
        mapped = self._rows(x, "x", self.mean_x)
        return mapped + (self.mean_y if mapped.ndim == 1 else self.mean_y[None])

    def centered(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Mapped rows of x (n, p) and rows of y (m, q), both about `mean_y`: (n, q), (m, q), for retrieval by cosine.

        A mean that all rows share makes every cosine large; the map's own mean is subtracted, not the batch's.

        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0]])
        >>> a, b = procrustes(x, x + 7).centered(x, x + 7)
        >>> bool(jnp.allclose(a, b, atol=1e-5))
        True
        """
        y = checks.matrix(y, "y", at_least=1, may_be_constant=True)
        if y.shape[1] != len(self.mean_y):
            raise ValueError(f"y: expected rows of {len(self.mean_y)} features; got shape {y.shape}")
        x = checks.matrix(x, "x", at_least=1, may_be_constant=True)
        return self._rows(x, "x", self.mean_x), y - self.mean_y[None]

    def inverse(self) -> "Map":
        """The map back, by the pseudo-inverse of the weights: exact where p <= q and the weights have rank p.

        For p > q it returns the shortest row that the map would send there: what the map dropped stays dropped.

        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0]])
        >>> m = procrustes(x, x[:, ::-1] * 3, scaled=True)
        >>> bool(jnp.allclose(m.inverse().transform(m.transform(x)), x, atol=1e-4))
        True
        """
        self._one()
        scale = jnp.where(self.scale == 0, jnp.nan, self.scale)
        return Map(jnp.linalg.pinv(self.weights), self.mean_y, self.mean_x, 1 / scale, self.score)

    def then(self, other: "Map") -> "Map":
        """This map followed by `other`, as one; its score is NaN, for nothing was fitted.

        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0]])
        >>> there = procrustes(x, x[:, ::-1])
        >>> bool(jnp.allclose(there.then(there.inverse()).transform(x), x, atol=1e-5))
        True
        """
        if not isinstance(other, Map):
            raise TypeError(f"other: expected a Map; got {type(other).__name__}")
        if len(other.mean_x) != len(self.mean_y):
            raise ValueError(f"other: expected a map of {len(self.mean_y)} features; got one of {len(other.mean_x)}")
        lag = other.scale * linalg.matmul(self.mean_y - other.mean_x, other.weights)
        weights, scale = linalg.matmul(self.weights, other.weights), self.scale * other.scale
        return Map(weights, self.mean_x, lag + other.mean_y, scale, jnp.full_like(scale, jnp.nan))

    def _one(self):
        if self.weights.ndim != 2:
            raise ValueError(f"map: expected one; got a batch, with weights of shape {self.weights.shape}: use vmap")

    def _rows(self, x, name, mean):
        self._one()
        x = checks.floats(x, name)
        if x.ndim not in (1, 2) or x.shape[-1] != len(mean):
            raise ValueError(f"{name}: expected rows of {len(mean)} features, as the map was fitted on; got {x.shape}")
        x = checks.matrix(jnp.atleast_2d(x), name, at_least=1, may_be_constant=True).reshape(x.shape)
        return self.scale * linalg.matmul(x - (mean if x.ndim == 1 else mean[None]), self.weights)


def procrustes(x: Array, y: Array, *, scaled: bool = False) -> Map:
    """The rotation (with reflection) that brings x (n, p) nearest y (n, q), row i to row i; score: R^2 on these rows.

    Orthogonal weights U V^T from the singular vectors of the centred x^T y. For p != q the narrower side is thought
    padded with zeros, and the weights have orthonormal rows or columns. `scaled` adds the one factor that is best for
    the squared error. Where x^T y has no rank, with few pairs, the rotation is arbitrary beyond it: with fewer pairs
    than dimensions it is still an optimum, and still useful. O(n p q + p q min(p, q)).
    Raises as `checks.paired`. Source: Schönemann 1966; Smith et al. 2017 for embeddings.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0]])
    >>> print(f"{procrustes(x, 3 * x[:, ::-1], scaled=True).scale:.3f}")
    3.000
    """
    return procrustes_from(_paired(x, y), scaled=scaled)


def procrustes_from(m: Moments, *, scaled: bool = False) -> Map:
    """`procrustes` from accumulated moments of x and y.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0]])
    >>> bool(jnp.allclose(procrustes_from(moments(x, x)).weights, jnp.eye(2), atol=1e-6))
    True
    """
    return _fitted(partial(_procrustes, scaled=bool(scaled)), m)


def affine_map(x: Array, y: Array) -> Map:
    """The affine map of least squares from x (n, p) to y (n, q); score: R^2 on these rows, 1 once n <= p.

    Of all minimisers the one of least norm. With n - 1 < p pairs it interpolates: it says so in a warning, and that
    minimum norm is then the regularisation. Near n = p it is at its worst on other rows, the double descent of least
    squares; `ridge_map` is not. Directions of x below p eps of the largest variance count as absent. O(n p (p + q)).
    Raises as `checks.paired`.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0], [1.0, 1.0]])
    >>> y = x @ jnp.array([[1.0, 2.0], [0.0, 1.0]]) + 3
    >>> bool(jnp.allclose(affine_map(x, y).transform(x), y, atol=1e-5))
    True
    """
    return affine_map_from(_paired(x, y))


def affine_map_from(m: Moments) -> Map:
    """`affine_map` from accumulated moments of x and y.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0], [2.0], [4.0]])
    >>> affine_map_from(moments(x, 2 * x)).weights.tolist()
    [[2.0]]
    """
    _say_few(m, "affine_map", "the solution of least norm is taken")
    return _fitted(_least_squares, m)


def ridge_map(x: Array, y: Array, *, ridge: float = 1e-2) -> Map:
    """The affine map of ridge regression from x (n, p) to y (n, q); score: R^2 on these rows.

    weights = (S + ridge tr(S) / p I)^-1 Sxy: `ridge` > 0 is in units of the mean variance of a direction of x, so it
    does not depend on n or on units. With fewer pairs than dimensions it warns, and solves. O(n p (p + q) + p^3).
    Raises as `checks.paired`; ValueError unless ridge > 0: without one it is `affine_map`.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [2.0], [4.0]])
    >>> ridge_map(x, 2 * x, ridge=1.0).weights.tolist()
    [[1.0]]
    """
    return ridge_map_from(_paired(x, y), ridge=ridge)


def ridge_map_from(m: Moments, *, ridge: float = 1e-2) -> Map:
    """`ridge_map` from accumulated moments of x and y.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0], [2.0], [4.0]])
    >>> ridge_map_from(moments(x, 2 * x), ridge=1.0).weights.tolist()
    [[1.0]]
    """
    ridge = checks.real(ridge, "ridge", low=0, open_low=True)
    _say_few(m, "ridge_map", f"ridge = {ridge} of the mean variance regularises")
    return _fitted(partial(_ridge, ridge=ridge), m)


def polar_of_least_squares(x: Array, y: Array) -> Map:
    """The rotation nearest the least-squares map from x (n, p) to y (n, q): its orthogonal polar factor; score: R^2.

    Not `procrustes`: least squares undoes the covariance of x first, so rare directions count as much as common ones,
    and noise in them too. Errors and warning as `affine_map`. Known as "l-ortho" in latent translation.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0], [1.0, 1.0]])
    >>> m = polar_of_least_squares(x, 2 * x[:, ::-1])
    >>> bool(jnp.allclose(m.weights, jnp.eye(2)[::-1], atol=1e-6))
    True
    """
    return polar_of_least_squares_from(_paired(x, y))


def polar_of_least_squares_from(m: Moments) -> Map:
    """`polar_of_least_squares` from accumulated moments of x and y.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0], [2.0], [4.0]])
    >>> polar_of_least_squares_from(moments(x, -2 * x)).weights.tolist()
    [[-1.0]]
    """
    _say_few(m, "polar_of_least_squares", "the solution of least norm is taken")
    return _fitted(_polar_of_least_squares, m)


def permutation_map(x: Array, y: Array) -> Map:
    """The one-to-one assignment of the features of x (n, p) to those of y (n, p) of largest summed correlation.

    Exact (Hungarian); score: the mean correlation of matched features. Only where units mean something of themselves
    and agree up to their order, as in two runs of one network. A constant feature correlates 0 with all. O(n p^2 +
    p^3), on concrete arrays. Raises as `checks.paired`; ValueError for different widths. Source: Li et al. 2016.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0]])
    >>> permutation_map(x, x[:, ::-1]).weights.tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed here alone

    x, y = checks.paired(x, y)
    units = [linalg.scale_of(linalg.center(a)) for a in (x, y)]  # squares of what is large or small would not be there
    m = moments(x / units[0], y / units[1])
    if m.xy.shape[0] != m.xy.shape[1]:
        raise ValueError(f"x and y: expected one width, to match features one to one; got {m.xy.shape}")
    if not checks.is_concrete(m.xy):
        raise TypeError("x and y: expected concrete arrays; got traced ones: the assignment is found on the host")
    sx, sy = (np.sqrt(np.diagonal(np.asarray(a, np.float64))) for a in (m.xx, m.yy))
    r = np.asarray(m.xy, np.float64) / np.where(sx > 0, sx, 1)[:, None] / np.where(sy > 0, sy, 1)[None]
    rows, columns = linear_sum_assignment(r, maximize=True)
    weights = jnp.zeros_like(m.xy).at[rows, columns].set(1)
    one = jnp.ones((), m.xy.dtype)
    return Map(weights, m.mean_x * units[0], m.mean_y * units[1], one, jnp.asarray(r[rows, columns].mean(), m.xy.dtype))


@jax.jit
def polar(a: Array) -> Array:
    """The matrix with orthonormal rows or columns nearest a (p, q): U V^T of its singular vectors."""
    u, _, vt = jnp.linalg.svd(a, full_matrices=False)
    return linalg.matmul(u, vt)


def _paired(x, y) -> Moments:
    return moments(*checks.paired(x, y))


def _say_few(m, name, how):
    if isinstance(m, Moments) and checks.is_concrete(m.n) and m.xy.ndim == 2 and int(m.n) - 1 < m.xy.shape[0]:
        n, p = int(m.n), m.xy.shape[0]
        warnings.warn(f"{name}: {n} pairs do not determine a map of {p} features: {how}", stacklevel=3)


def _fitted(kernel, m: Moments) -> Map:
    """The map whose weights and scale `kernel` finds from the three scatters, with its R^2."""
    m = spread(m)
    eps = float(jnp.finfo(m.xx.dtype).eps)
    weights, scale, score = linalg.in_double(_run, m.xx, m.xy, m.yy, kernel=hashable(kernel), eps=eps)
    return Map(weights, m.mean_x, m.mean_y, scale, score)


def hashable(kernel):
    """Equal partials as one hashable, so that they share a compiled program."""
    return (kernel.func, tuple(sorted(kernel.keywords.items()))) if isinstance(kernel, partial) else (kernel, ())


@partial(jax.jit, static_argnames=("kernel", "eps"))
def _run(xx, xy, yy, *, kernel, eps):
    function, options = kernel
    weights, scale = function(xx, xy, yy, eps=eps, **dict(options))
    predicted = scale * weights
    explained = 2 * jnp.sum(predicted * xy) - jnp.sum(predicted * linalg.matmul(xx, predicted))
    return weights, jnp.asarray(scale, xx.dtype), explained / jnp.trace(yy)


def _procrustes(xx, xy, yy, *, eps, scaled):
    weights = polar(xy)
    if not scaled:
        return weights, 1.0
    return weights, jnp.sum(weights * xy) / jnp.sum(weights * linalg.matmul(xx, weights))


def inverse_of(xx, eps):
    """Pseudo-inverse of a covariance (p, p), of the directions above p eps of the largest variance."""
    values, vectors = linalg.descending_eigh(xx)
    real = values > values[0] * len(values) * eps
    return linalg.matmul(vectors * jnp.where(real, 1 / jnp.where(real, values, 1), 0)[None], vectors.T)


def _least_squares(xx, xy, yy, *, eps):
    return linalg.matmul(inverse_of(xx, eps), xy), 1.0


def _ridge(xx, xy, yy, *, eps, ridge):
    p = len(xx)
    return jnp.linalg.solve(xx + ridge * jnp.trace(xx) / p * jnp.eye(p, dtype=xx.dtype), xy), 1.0


def _polar_of_least_squares(xx, xy, yy, *, eps):
    return polar(_least_squares(xx, xy, yy, eps=eps)[0]), 1.0
