"""The rows of a matrix as places of a random walk, which steps to near places and seldom to far ones.

Gaussian affinities g_ij = exp(-|x_i - x_j|^2 / (2 sigma^2)) are divided by powers of their row sums q, which takes the
density of the sample out of them, and then by their own row sums, which makes every row a probability. Two walks are
in use under one name: `OPERATORS` says which power each takes.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.neighbors import neighborhoods

OPERATORS = {"official": 0.0, "anisotropic": 0.5}
"""The power alpha of the density that each walk takes out.

official: D_G^-1 G. The code published with diffusion spectral entropy decomposes D_G^-1/2 G D_G^-1/2, which has the
eigenvalues of this walk. anisotropic: D_K^-1 K with K = D_G^-1/2 G D_G^-1/2, the walk that its text describes.
"""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiffusionOperator:
    """A random walk over n rows, by the symmetric matrix that shares its eigenvalues; a pytree.

    symmetric (n, n) = diag(root) walk diag(1 / root); root (n,), the square root of what the walk's rows were divided
    by, whose squares are proportional to the time that the walk spends at each row; sigma () or (n,) and alpha as they
    were used.
    """

    symmetric: Array
    root: Array
    sigma: Array
    alpha: float = field(metadata={"static": True})

    @property
    def walk(self) -> Array:
        """Probabilities (n, n) of a step from row i to row j: every row sums to 1."""
        return self.symmetric * self.root[None] / self.root[:, None]


def diffusion_operator(x: Array, *, sigma: Array | float, alpha: float = 0.0) -> DiffusionOperator:
    """The random walk over the rows of x (n, p), n >= 2: affinities g_ij / (q_i q_j)^alpha over their row sums.

    sigma > 0 in units of x: one number, or (n,) one for each row, with g_ij = exp(-|x_i - x_j|^2 / (2 s_i s_j));
    `median_sigma` and `knn_sigma` are rules for either. alpha in [0, 1]: 0 keeps the density of the sample, 1/2 is the
    Fokker-Planck walk, 1 takes the density out (Coifman and Lafon 2006, sec. 3). A row stays where it is with the
    affinity 1, so no row sum is 0: an isolated row is a walk of its own. Distances come from products of centred rows,
    and from differences of rows where rounding, eps |x|^2, would show beside sigma^2: a far row costs time, not digits.
    O(n^2 p) time, two n x n arrays. ValueError unless sigma > 0, alpha is in [0, 1] and x as `checks.matrix`; rows
    may repeat, and may all be the same.

    >>> import jax.numpy as jnp
    >>> walk = diffusion_operator(jnp.array([[0.0], [0.0], [9.0]]), sigma=1.0).walk
    >>> walk.round(2).tolist()
    [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    sigma, alpha = width(sigma, x), checks.real(alpha, "alpha", low=0, high=1)
    symmetric, root = symmetric_walk(x, sigma, alpha)
    return DiffusionOperator(symmetric, root, sigma, alpha)


def median_sigma(x: Array, *, share: float) -> Array:
    """A width for all rows: `share` times the median distance between two rows of x (n, p), in units of x.

    It follows the scale of the data, so a quantity at this width is unchanged by scale, and a cloud that only grows
    looks the same. The median distance of p noisy features is mostly noise. O(n^2 p). ValueError as `checks.matrix`,
    for share <= 0, and where half of the pairs are equal, so that their median distance is 0.

    >>> import jax.numpy as jnp
    >>> float(median_sigma(jnp.array([[0.0], [2.0], [6.0]]), share=0.5))
    2.0
    """
    x = checks.matrix(x, "x")
    share = checks.real(share, "share", low=0, open_low=True)
    return _positive(share * _median_distance(x), "half of all pairs of rows are equal")


def knn_sigma(x: Array, *, k: int) -> Array:
    """A width (n,) for each row of x (n, p): the distance to its k-th nearest other place, in units of x.

    Self-tuning affinities (Zelnik-Manor and Perona 2004), which are wide where rows are sparse: an isolated row then
    has neighbours like any other. They are no Gaussian kernel, and eigenvalues of the walk may be negative. Copies of
    a row are one place. Cost and errors as `neighbors.neighborhoods`.

    >>> import jax.numpy as jnp
    >>> knn_sigma(jnp.array([[0.0], [1.0], [5.0]]), k=1).tolist()
    [1.0, 1.0, 4.0]
    """
    return neighborhoods(x, k=k).distances[:, -1]


def width(sigma, x: Array) -> Array:
    """`sigma` as a positive array () or (n,) in the dtype of x, or an error."""
    if np.ndim(sigma) == 0:
        return jnp.asarray(checks.real(sigma, "sigma", low=0, open_low=True), x.dtype)
    sigma = checks.floats(sigma, "sigma")
    if sigma.shape != x.shape[:1]:
        raise ValueError(f"sigma: expected one number or one for each of {len(x)} rows; got shape {sigma.shape}")
    if checks.is_concrete(sigma):
        values = np.asarray(sigma)
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(f"sigma: expected finite positive numbers; the smallest is {values.min()}")
    return sigma.astype(x.dtype)


def one_width(sigma, x: Array, why: str) -> Array:
    """`width` where only a single number will do."""
    if np.ndim(sigma):
        raise ValueError(f"sigma: expected one number ({why}); got shape {np.shape(sigma)}")
    return width(sigma, x)


def gaussian(x: Array, sigma: Array) -> Array:
    """Affinities (n, n) of the rows of x; 1 on the diagonal."""
    scale = linalg.scale_of(linalg.center(x))
    x, sigma = x / scale, sigma / scale
    square = sigma**2 if sigma.ndim == 0 else sigma[:, None] * sigma[None]
    # A width that underflows beside the data leaves every place alone, and no 0 / 0.
    return jnp.exp(-squares(x, jnp.min(sigma)) / jnp.maximum(2 * square, jnp.finfo(x.dtype).tiny))


def squares(x: Array, sigma: Array) -> Array:
    """Squared distances (n, n) of rows: by differences where those from products are not good to 1e-3 sigma^2."""
    rounding = 8 * jnp.finfo(x.dtype).eps * jnp.max(jnp.sum(linalg.center(x) ** 2, 1))

    def by_differences(x):
        return lax.map(lambda row: jnp.sum((x - row[None]) ** 2, 1), x, batch_size=8)

    return lax.cond(rounding > 1e-3 * sigma**2, by_differences, linalg.sq_distances, x)


def normalised(affinities: Array, alpha: Array | float) -> tuple[Array, Array]:
    """The symmetric matrix of the walk on these affinities, and the roots of its row sums; a row of 0 stays 0."""

    def sums(a):
        q = jnp.sum(a, 1)
        return jnp.where(q > 0, q, 1)

    power = sums(affinities) ** -alpha
    affinities = affinities * power[:, None] * power[None]
    root = jnp.sqrt(sums(affinities))
    return affinities / root[:, None] / root[None], root


@jax.jit
def symmetric_walk(x: Array, sigma: Array, alpha: Array | float) -> tuple[Array, Array]:
    """`diffusion_operator` without its checks: the symmetric matrix and the roots."""
    return normalised(gaussian(x, sigma), alpha)



@jax.jit
def _median_distance(x):
    scale = linalg.scale_of(linalg.center(x))
    x = x / scale
    rough = linalg.off_diagonal_median(linalg.sq_distances(x))
    return scale * linalg.off_diagonal_median(linalg.safe_sqrt(squares(x, jnp.sqrt(rough))))


def _positive(value, why):
    if checks.is_concrete(value) and not value > 0:
        raise ValueError(f"undefined for these inputs: {why}")
    return value
