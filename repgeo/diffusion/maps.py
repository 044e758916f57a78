"""Coordinates in which straight lines measure how the walk goes: diffusion maps, and new rows placed into one."""

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.diffusion.entropy import duration
from repgeo.diffusion.operator import gaussian, normalised, one_width, symmetric_walk, width


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiffusionMap:
    """Diffusion coordinates of n rows and what `nystrom_extend` needs to place others; a pytree.

    coordinates (n, k), the slowest first; values (k,), the eigenvalues of the walk that belong to them. x (n, p) the
    rows, density (n,) their affinity sums; sigma and t as they were used, and alpha.
    """

    coordinates: Array
    values: Array
    x: Array
    density: Array
    sigma: Array
    t: Array
    alpha: float = field(metadata={"static": True})


def diffusion_map(
    x: Array, *, k: int, sigma: Array | float, t: Array | float = 1.0, alpha: float = 1.0
) -> DiffusionMap:
    """Diffusion coordinates (n, k) of x (n, p): right eigenvectors of the walk, each times its eigenvalue to the t.

    1 <= k <= n - 1; the constant eigenvector is left out, and the rest have mean square 1 under the walk's own
    weights: between all n - 1 coordinates, Euclidean distances are `diffusion_distance`. Signs are fixed by the
    largest entry; where eigenvalues repeat, or groups do not touch, the directions among them are arbitrary, as is
    then their gradient. `sigma` as `dse`; alpha as `diffusion_operator`, of which 1 looks at the shape and not at how
    densely it was sampled. O(n^3). Errors as `diffusion_operator`, ValueError for t < 0 and k outside its range.
    Source: Coifman and Lafon 2006.

    >>> import jax.numpy as jnp
    >>> x = jnp.linspace(0, 1, 20)[:, None]
    >>> line = diffusion_map(x, k=1, sigma=0.2).coordinates[:, 0]
    >>> bool((jnp.diff(line) > 0).all() | (jnp.diff(line) < 0).all())
    True
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    k = checks.count(k, "k", low=1, high=len(x) - 1, why="n - 1 eigenvectors besides the constant one")
    sigma, t, alpha = width(sigma, x), duration(t, x), checks.real(alpha, "alpha", low=0, high=1)
    coordinates, values, density = _map(x, sigma, t, alpha, k)
    return DiffusionMap(coordinates, values, x, density, sigma, t, alpha)


def nystrom_extend(fitted: DiffusionMap, x: Array) -> Array:
    """Coordinates (m, k) of new rows x (m, p) in a diffusion map: the mean after a step, over the eigenvalue.

    Exact for a row of the map itself. The division enlarges what is uncertain: keep coordinates whose eigenvalue is
    well above 0. A new row far from all others takes the coordinates of the nearest row over the eigenvalue, however
    far it is, never NaN. One `sigma` number. ValueError unless x has p columns and is finite, where the map's sigma is
    one for each row, or an eigenvalue that was kept is 0.
    Source: Bengio et al. 2004.

    >>> import jax.numpy as jnp
    >>> x = jnp.linspace(0, 1, 20)[:, None]
    >>> fitted = diffusion_map(x, k=1, sigma=0.2)
    >>> bool(jnp.abs(nystrom_extend(fitted, x) - fitted.coordinates).max() < 1e-3)
    True
    """
    x = checks.matrix(x, "x", at_least=1, may_be_constant=True)
    if x.shape[1] != fitted.x.shape[1]:
        raise ValueError(f"x: expected {fitted.x.shape[1]} features, as the map has; got shape {x.shape}")
    one_width(fitted.sigma, x, "a new row has no width of its own")
    if checks.is_concrete(fitted.values) and not (np.asarray(fitted.values) > 0).all():
        raise ValueError("fitted: an eigenvalue is 0, and nothing can be extended along it: keep fewer coordinates")
    return _extended(fitted, x.astype(fitted.x.dtype))


def diffusion_distance(
    x: Array, *, sigma: Array | float, t: Array | float = 1.0, alpha: float = 1.0
) -> Array:
    """Diffusion distances (n, n) of x (n, p) at time t: how differently walks from two rows are spread by then.

    The root of sum_m (P^t_im - P^t_jm)^2 / pi_m, with pi the walk's own weights: small where many short paths join i
    and j. It has no unit, and shrinks to 0 as t grows wherever paths join all rows. Between groups that do not touch
    it is large and finite. Arguments, cost and errors as `diffusion_map`. Source: Coifman and Lafon 2006.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [0.1], [9.0], [9.1]])
    >>> [f"{d:.2f}" for d in diffusion_distance(x, sigma=1.0)[0]]
    ['0.00', '0.01', '2.00', '2.00']
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    sigma, t, alpha = width(sigma, x), duration(t, x), checks.real(alpha, "alpha", low=0, high=1)
    return _distances(x, sigma, t, alpha)


@partial(jax.jit, static_argnames="k")
def _map(x, sigma, t, alpha, k):
    affinities = gaussian(x, sigma)
    symmetric, root = normalised(affinities, alpha)
    values, vectors = jnp.linalg.eigh(symmetric)
    by_size = jnp.argsort(-jnp.abs(values))[1 : k + 1] if sigma.ndim else jnp.arange(len(x) - 2, len(x) - 2 - k, -1)
    values, vectors = jnp.maximum(jnp.abs(values[by_size]), 0), vectors[:, by_size]
    vectors = vectors * (linalg.frobenius(root) / root)[:, None]
    largest = jnp.take_along_axis(vectors, jnp.argmax(jnp.abs(vectors), 0)[None], 0)
    return jnp.sign(largest) * vectors * (values**t)[None], values, jnp.sum(affinities, 1)


@jax.jit
def _extended(fitted, x):
    shift = fitted.x.mean(0)[None]
    old, new = fitted.x - shift, x - shift
    scale = linalg.scale_of(old)
    old, new, sigma = old / scale, new / scale, fitted.sigma / scale
    # What a row's own length adds is the same for all of `old`, and of a huge row the direction is all that counts.
    new = new / jnp.maximum(jnp.abs(new).max(1, keepdims=True) / 1e12, 1)
    nearer = linalg.matmul(new, old.T) - jnp.sum(old**2, 1)[None] / 2
    logs = nearer / sigma**2 - fitted.alpha * jnp.log(fitted.density)[None]
    return linalg.matmul(jax.nn.softmax(logs, axis=1), fitted.coordinates) / fitted.values[None]


@jax.jit
def _distances(x, sigma, t, alpha):
    symmetric, root = symmetric_walk(x, sigma, alpha)
    values, vectors = jnp.linalg.eigh(symmetric)
    rows = vectors * (jnp.abs(values) ** t)[None] * (linalg.frobenius(root) / root)[:, None]
    return linalg.safe_sqrt(linalg.sq_distances(rows))
