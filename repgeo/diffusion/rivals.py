"""Other entropies of a representation, and a rival of its information: what diffusion spectral entropy is set beside.

The first three are of a sample of n rows and at most log2 n; the last two estimate the differential entropy of the
distribution, which has no such bound, falls without end as the distribution narrows, and is moved by scale.
All are in bits.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.diffusion.entropy import magnitudes
from repgeo.diffusion.operator import gaussian, one_width, squares, width
from repgeo.neighbors import neighborhoods, originals

_BLOCK = 1000  # rows whose distances to all others are held at a time


def von_neumann_entropy(x: Array, *, sigma: Array | float) -> Array:
    """Von Neumann entropy in bits, in [0, log2 n], of the Gaussian kernel of x (n, p) over n: -sum l log2 l.

    n >= 2, `sigma` as `dse`. Without the division by row sums that makes a walk: a dense region then weighs as much as
    it holds rows, and k far groups of unequal sizes give the entropy of the sizes and not log2 k. Cost, gradient and
    errors as `dse`. Source: the limit of order 1 of `matrix_renyi`.

    >>> import jax.numpy as jnp
    >>> print(f"{von_neumann_entropy(jnp.array([[0.0], [0.0], [0.0], [50.0]]), sigma=1.0):.3f}")
    0.811
    """
    return matrix_renyi(x, sigma=sigma, order=1.0)


def matrix_renyi(x: Array, *, sigma: Array | float, order: float = 1.01) -> Array:
    """Matrix-based Renyi entropy in bits, in [0, log2 n]: log2(sum l^order) / (1 - order), l of the kernel over n.

    x (n, p), n >= 2, `sigma` as `dse`; `order` > 0, of which 1 is the von Neumann entropy, 2 needs no more than the
    kernel, and 1.01 is what information-plane studies took for Shannon's. Cost and errors as `dse`.
    Source: Giraldo, Rao and Principe 2015.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [0.0], [0.0], [50.0]])
    >>> [f"{matrix_renyi(x, sigma=1.0, order=q):.3f}" for q in (1.01, 2.0)]
    ['0.810', '0.678']
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    order = float(checks.real(order, "order", low=0, open_low=True))
    return _matrix_renyi(x, width(sigma, x), order)


def shannon_binned(x: Array, *, bins: int = 2) -> Array:
    """Shannon entropy in bits, in [0, log2 n], of the boxes that rows fall into, each feature cut into equal bins.

    x (n, p), n >= 2; each feature is cut between its smallest and largest value, and a constant one tells nothing. In
    many features almost every row has a box of its own, and the value is log2 n whatever the data are. No gradient.
    Errors as `checks.matrix`. Source: the binning of Shwartz-Ziv and Tishby 2017.

    >>> import jax.numpy as jnp
    >>> print(f"{shannon_binned(jnp.array([[0.0], [0.1], [0.2], [9.0]])):.3f}")
    0.811
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    return _shannon(x, checks.count(bins, "bins", low=2, high=2**16))


def knn_entropy(x: Array, *, k: int = 3) -> Array:
    """Differential entropy in bits from the distances to the k-th neighbours: Kozachenko and Leonenko's estimate.

    x (n, p), 1 <= k <= n - 1: psi(n) - psi(k) + ln c_p + p mean ln r_k, over ln 2, where c_p is the volume of the
    unit ball. Of the distribution in all p features: data on a subspace have none, and the value falls without end
    as noise off it shrinks. Copies of a row are one place, n counts places: a distribution with copies has no
    differential entropy at all. Doubling the scale adds p bits. Biased in many features. Cost and errors as
    `neighbors.neighborhoods`. Source: Kozachenko and Leonenko 1987.

    >>> import jax
    >>> print(f"{knn_entropy(4 * jax.random.uniform(jax.random.key(0), (2000, 2))):.1f}")  # log2 of its area, 4
    4.0
    """
    near = neighborhoods(x, k=k)
    p = np.shape(x)[1]
    return _knn_entropy(near.distances[:, -1], near.first, k, p)


def kde_entropy(x: Array, *, sigma: float) -> Array:
    """Differential entropy in bits: minus the mean log2 density at each row, by Gaussians of width sigma on the others.

    x (n, p), n >= 2. An upper bound on average, as the density that others give is not the right one; it is far too
    large where sigma is wide beside the data, or rows are isolated in many features; infinite where a row is so many
    sigma from all others that no number of this dtype says how far. O(n^2 p). ValueError for sigma <= 0 and as
    `checks.matrix`. Source: the leave-one-out form of the resubstitution estimate in Beirlant et al. 1997.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (2000, 1))  # 2.05 bits
    >>> print(f"{kde_entropy(x, sigma=0.2):.2f}")
    2.06
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    return _kde_entropy(x, one_width(sigma, x, "a density needs one kernel"))


def ksg_information(x: Array, y: Array, *, k: int = 3) -> Array:
    """Mutual information in bits of rows of x (n, p) and y (n, q) by neighbour counts: the first KSG estimate.

    psi(k) + psi(n) - mean(psi(a + 1) + psi(b + 1)), over ln 2, where a and b count the rows that are nearer in x and in
    y alone than the k-th neighbour is in the larger of both Euclidean distances. 1 <= k <= n - 1. May be negative;
    near 0 without bias for independent data, and far below the truth where it exceeds about log2 n or where there are
    many features. Distances of both sides are compared, so they should have a like spread. A label as y goes through
    `jax.nn.one_hot`: rows of one class are then at distance 0 in y, which is within the method as long as classes are
    larger than k. O(n^2 (p + q)) time in blocks of rows. No gradient. Errors as `checks.paired`.
    Source: Kraskov, Stoegbauer and Grassberger 2004, eq. 8.

    >>> import jax, jax.numpy as jnp
    >>> z = jax.random.normal(jax.random.key(0), (2, 1000, 1))
    >>> print(f"{ksg_information(z[0], z[0] + z[1], k=10):.2f}, where {0.5 * jnp.log2(2.0):.2f} is true")
    0.48, where 0.50 is true
    """
    x, y = checks.paired(x, y)
    k = checks.count(k, "k", low=1, high=len(x) - 1, why="n - 1 other rows")
    return _ksg(x, y, k)


@partial(jax.jit, static_argnames="order")
def _matrix_renyi(x, sigma, order):
    kernel = gaussian(x, sigma) / len(x)
    if order == 2:
        return -jnp.log2(jnp.sum(kernel**2))
    values = magnitudes(linalg.eigenvalues(kernel), sigma.ndim == 0)
    values = values / jnp.sum(values)
    zero = values <= 0
    safe = jnp.where(zero, 1, values)
    if order == 1:
        return -jnp.sum(safe * jnp.log2(safe))
    return jnp.log2(jnp.sum(jnp.where(zero, 0, safe**order))) / (1 - order)


@partial(jax.jit, static_argnames="bins")
def _shannon(x, bins):
    n = len(x)
    low, span = x.min(0, keepdims=True), jnp.ptp(x, 0, keepdims=True)
    boxes = jnp.minimum(jnp.floor((x - low) / jnp.where(span > 0, span, 1) * bins), bins - 1)
    counts = jnp.zeros(n, x.dtype).at[originals(boxes)].add(1)
    shares = jnp.where(counts > 0, counts, n) / n
    return -jnp.sum(shares * jnp.log2(shares))


@partial(jax.jit, static_argnames=("k", "p"))
def _knn_entropy(far, first, k, p):
    digamma = jax.scipy.special.digamma
    ball = p / 2 * math.log(math.pi) - math.lgamma(p / 2 + 1)
    nats = digamma(first.sum().astype(far.dtype)) - digamma(jnp.asarray(k, far.dtype)) + ball
    return (nats + p * jnp.mean(jnp.log(far), where=first)) / math.log(2)


@jax.jit
def _kde_entropy(x, sigma):
    n, p = x.shape
    scale = linalg.scale_of(linalg.center(x))
    twice, apart = 2 * (sigma / scale) ** 2, squares(x / scale, sigma / scale)
    lost = twice < jnp.finfo(x.dtype).tiny  # then rows that differ are too far apart for any number of this dtype
    apart = -jnp.where(lost, jnp.where(apart > 0, jnp.inf, 0), apart / jnp.where(lost, 1, twice))
    logs = jax.nn.logsumexp(jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, apart), axis=1)
    return (math.log(n - 1) + p * (jnp.log(sigma) + math.log(2 * math.pi) / 2) - jnp.mean(logs)) / math.log(2)


@partial(jax.jit, static_argnames="k")
def _ksg(x, y, k):
    n = len(x)
    scale = jnp.maximum(linalg.scale_of(x), linalg.scale_of(y))  # a power of two: distances that are equal stay equal
    x, y = x / scale, y / scale

    def far(z, rows):  # by differences: a label's copies must be at distance 0 exactly
        return jnp.sqrt(lax.map(lambda r: jnp.sum((z - z[r][None]) ** 2, 1), rows, batch_size=8))

    def counts(rows):
        dx, dy = far(x, rows), far(y, rows)
        both = jnp.where(rows[:, None] == jnp.arange(n)[None], jnp.inf, jnp.maximum(dx, dy))
        reach = -lax.top_k(-both, k)[0][:, -1:]
        # A row itself is nearer than anything, unless the k-th neighbour is a copy of it.
        return tuple(jnp.sum(d < reach, 1) - (reach[:, 0] > 0) for d in (dx, dy))

    blocks = -(-n // _BLOCK)
    size = -(-n // blocks)
    rows = jnp.minimum(jnp.arange(blocks * size), n - 1).reshape(blocks, size)
    a, b = (c.reshape(-1)[:n].astype(x.dtype) for c in lax.map(counts, rows))
    digamma = jax.scipy.special.digamma
    own = digamma(jnp.asarray(k, x.dtype)) + digamma(jnp.asarray(n, x.dtype))
    return (own - jnp.mean(digamma(a + 1) + digamma(b + 1))) / math.log(2)
