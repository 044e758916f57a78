"""How many directions tell objects apart, when each was seen several times?"""

import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks, linalg
from repgeo.spectrum.ranks import exp_entropy

_SAME = "the means of the objects are all the same, or the views do not vary and delta is 0"


def lidar(z: Array, *, delta: float = 1e-4, eps: float = 1e-8) -> Array:
    """LiDAR: exp of the entropy of the eigenvalues of linear discriminant analysis of objects; from 1 up.

    z (objects, views, p): each of n objects embedded q >= 2 times, n >= 2. Between-object covariance over n - 1 is
    whitened by that within, over n (q - 1), plus delta times the identity, and p = l / sum l + eps is not
    renormalised, as RankMe's is not: so it may pass min(n - 1, p) by a hair. `delta` >= 0 is in squared units of z:
    scale z first. Unchanged by rotation and shift. O(n q p^2). ValueError for a wrong shape, NaN or infinity, objects
    of equal means, or views that leave the within-covariance singular while delta is 0; NaN under a trace.
    stable-pretraining adds eps to l before it divides, and cuts a queue into objects in order; reptrix decomposes the
    discriminant matrix as if it were data and finds another number altogether. Source: Thilak et al. 2023, sec. 4.

    >>> import jax
    >>> objects, noise = jax.random.normal(jax.random.key(0), (2, 300, 10, 4))
    >>> print(f"{lidar(objects[:, :1] + 0.3 * noise):.2f}")
    3.96
    """
    delta = checks.real(delta, "delta", low=0)
    eps = checks.real(eps, "eps", low=0)
    z = checks.floats(z, "z")
    if z.ndim != 3 or z.shape[0] < 2 or z.shape[1] < 2 or z.shape[2] < 1:
        raise ValueError(
            f"z: expected (objects, views, features), at least 2 objects, 2 views and 1 feature; got shape {z.shape}"
        )
    if checks.is_concrete(z):
        checks.matrix(z.reshape(-1, z.shape[-1]), "z", may_be_constant=True)
    return checks.defined(_lidar(z, delta, eps), _SAME)


@jax.jit
def _lidar(z, delta, eps):
    n, q, p = z.shape
    z = z - z[:1, :1]
    means = z.mean(1)
    within = (z - means[:, None]).reshape(-1, p) / (n * (q - 1)) ** 0.5
    # A triangle whose square is the within-covariance plus delta, found without squaring anything.
    triangle = jnp.linalg.qr(jnp.concatenate([within, delta**0.5 * jnp.eye(p, dtype=z.dtype)]), mode="r")
    between = linalg.center(means) / (n - 1) ** 0.5
    ratio = jax.scipy.linalg.solve_triangular(triangle, between.T, trans=1)
    values = linalg.singular_values(ratio) ** 2
    values = jnp.concatenate([values, jnp.zeros(p - len(values), z.dtype)])
    total = jnp.sum(values)
    return exp_entropy(values / jnp.where(total > 0, total, jnp.nan) + eps)
