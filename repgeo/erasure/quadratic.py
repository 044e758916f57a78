"""Erasure of what quadratic probes read: every class is transported to one Gaussian. It needs the classes at use."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.probes.linear import labelled


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class QuadraticEraser:
    """The map (x, y) -> center + maps[y] (x - means[y]): center (p,), means (c, p), maps (c, p, p)."""

    center: Array
    means: Array
    maps: Array

    def transform(self, x: Array, y: Array) -> Array:
        """The rows of x (n, p) of the classes y (n,), moved so that all classes have one mean and one covariance."""
        x = checks.matrix(x, "x", at_least=1, may_be_constant=True)
        y = np.asarray(y) if checks.is_concrete(y) else y
        c, p = self.means.shape
        if x.shape[1] != p or y.shape != x.shape[:1]:
            raise ValueError(f"x and y: expected rows of {p} features and a class each; got {x.shape} and {y.shape}")
        if y.dtype.kind not in "biu":
            raise TypeError(f"y: expected integer classes 0 ... {c - 1}; got dtype {y.dtype}")
        if checks.is_concrete(y) and (y.min() < 0 or y.max() >= c):
            raise ValueError(f"y: expected integer classes 0 ... {c - 1}; got {y.dtype} from {y.min()} to {y.max()}")
        return _moved(self, x, jnp.asarray(y, int))


@jax.jit
def _moved(e, x, y):
    def step(total, of_class):
        i, mean, map_ = of_class
        mine = (y == i)[:, None]
        return jnp.where(mine, linalg.matmul(x - mean[None], map_.T) + e.center[None], total), None

    return lax.scan(step, jnp.zeros_like(x), (jnp.arange(len(e.means)), e.means, e.maps))[0]


def quadratic_leace(x: Array, y: Array, *, classes: int | None = None, steps: int = 200) -> QuadraticEraser:
    """Q-LEACE: the least edit, given the class, after which all classes have one mean and one covariance.

    x (n, p), y (n,) with classes 0 ... c - 1. Each class is moved by the optimal transport map between its Gaussian
    and the barycentre of all, weighted by their shares (as is the mean: an unweighted one would shift the data where
    classes are unbalanced); so no probe of first and second moments tells them apart, while a network still may. The
    barycentre is a fixed point, iterated until it moves by less than sqrt(eps) of itself, at most `steps` times (for
    commuting covariances at once). A ridge of 10 sqrt(p) eps of the mean variance keeps roots of singular covariances
    finite. `transform` reads the label: what is left says nothing of x without it. O(c p^3) an iteration, in float64
    where not traced. Errors as `probes.ridge`; ValueError for a class of fewer than 2 rows. Source: Belrose et al.
    2023, the appendix on quadratic guardedness; fixed point after Álvarez-Esteban et al. 2016.

    >>> import jax.numpy as jnp
    >>> x, y = jnp.array([[0.0], [2.0], [10.0], [14.0]]), [0, 0, 1, 1]
    >>> quadratic_leace(x, y).transform(x, y).round(2).ravel().tolist()
    [5.0, 8.0, 5.0, 8.0]
    """
    x, y, c = labelled(x, y, classes)
    steps = checks.count(steps, "steps", low=1, high=10**6)
    if checks.is_concrete(y):
        counts = np.bincount(np.asarray(y), minlength=c)
        if counts.min() < 2:
            few = counts.argmin()
            raise ValueError(f"y: expected at least 2 rows of each class; got {counts[few]} of class {few}")
    return QuadraticEraser(*linalg.in_double(_transport, x, y, steps, classes=c))


@partial(jax.jit, static_argnames="classes")
def _transport(x, y, steps, *, classes):
    n, p = x.shape
    z = jax.nn.one_hot(y, classes, dtype=x.dtype)
    origin = x[0]
    x = x - origin[None]
    shares = z.mean(0)
    means = linalg.matmul(z.T, x) / z.sum(0)[:, None]
    center = linalg.matmul(shares, means)
    spread = linalg.center(x)
    eps = jnp.finfo(x.dtype).eps
    floor = 10 * p**0.5 * eps * jnp.mean(spread**2) * jnp.eye(p, dtype=x.dtype)

    def covariance(weights, mean):
        rows = x - mean[None]
        return linalg.matmul((rows * weights[:, None]).T, rows) / (weights.sum() - 1) + floor

    covariances = lax.map(lambda a: covariance(*a), (z.T, means))

    def root(a, power):
        values, vectors = jnp.linalg.eigh(a)
        return linalg.matmul(vectors * jnp.maximum(values, 0)[None] ** power, vectors.T)

    def inverse_root(a):
        values, vectors = jnp.linalg.eigh(a)
        return linalg.matmul(vectors * jnp.maximum(values, values[-1] * eps)[None] ** -0.5, vectors.T)

    def crossed(middle, a):
        half = root(middle, 0.5)
        return root(linalg.matmul(linalg.matmul(half, a), half), 0.5)

    def closer(state):
        middle, _, i = state
        inverse = inverse_root(middle)
        total = jnp.einsum("c,cij->ij", shares, lax.map(lambda a: crossed(middle, a), covariances), precision="highest")
        new = linalg.matmul(linalg.matmul(inverse, linalg.matmul(total, total)), inverse)
        new = (new + new.T) / 2
        return new, linalg.frobenius(new - middle) / linalg.frobenius(middle), i + 1

    start = jnp.einsum("c,cij->ij", shares, covariances, precision="highest")
    middle, _, _ = lax.while_loop(
        lambda s: (s[1] > eps**0.5) & (s[2] < steps), closer, (start, jnp.asarray(jnp.inf, x.dtype), 0)
    )

    def map_of(a):
        inverse = inverse_root(a)
        return linalg.matmul(linalg.matmul(inverse, crossed(a, middle)), inverse)

    return center + origin, means + origin[None], lax.map(map_of, covariances)
