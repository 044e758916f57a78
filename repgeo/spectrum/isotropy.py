"""How evenly do the points fill the space, and do their rows point everywhere?"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.moments import UnitSum
from repgeo.spectrum.decompose import ALL_ZERO, Spectrum, centred_spectrum_of, unit_rows
from repgeo.spectrum.ranks import participation_ratio

_BLOCK_BYTES = 2**23  # of the distances of a block of rows to all others


def isoscore(x: Array | Spectrum) -> Array:
    """IsoScore: the share of dimensions in use, evenly, in [0, 1]; 1 if the covariance is a multiple of the identity.

    x is a matrix (n, p), n >= 2, p >= 2, centred here, or `spectrum(x, center=True)`; ValueError for an uncentred one
    and for p = 1. It equals (PR - 1) / (p - 1), PR being `participation_ratio`: so k equal directions of p score
    (k - 1) / (p - 1), and n <= p rows can never score 1. Unchanged by rotation, scale and shift.
    The package of that name takes (n, p) though its front page says (p, n): the wrong one gives another number, not
    an error; its intermediate root is float32. Errors and traces as `rankme`. Source: Rudman et al. 2022, alg. 1.

    >>> import jax.numpy as jnp
    >>> print(f"{isoscore(jnp.array([[1.0, 0.0, 5.0], [-1.0, 0.0, 5.0], [0.0, 1.0, 5.0], [0.0, -1.0, 5.0]])):.3f}")
    0.500
    """
    p = centred_spectrum_of(x, "IsoScore").p if isinstance(x, Spectrum) else checks.matrix(x, "x").shape[1]
    _two_features(p, "x")
    return (participation_ratio(x) - 1) / (p - 1)


def isoscore_star(x: Array, *, zeta: float, reference: Array | None = None) -> Array:
    """IsoScore* of x: `isoscore` of the covariance after shrinkage, (1 - zeta) C + zeta C0, in [0, 1].

    x (n, p), n >= 2, p >= 2, C its covariance over n - 1; `reference` C0 is a covariance (p, p) of more data, the
    identity unless given, 0 <= zeta <= 1. Made for mini-batches, whose own covariance is too narrow. It is not free of
    scale: with the identity, bring x to unit variance first. Of a given C0 unchanged by shift alone. Computed from
    tr C and ||C||_F, so differentiable everywhere. O(n p^2). ValueError for a C0 of another shape, not finite, or not
    symmetric. Source: Rudman and Eickhoff 2024, sec. 3.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> [f"{isoscore_star(x, zeta=z):.2f}" for z in (0.0, 0.5, 1.0)]
    ['0.00', '0.60', '1.00']
    """
    x = checks.matrix(x, "x")
    p = _two_features(x.shape[1], "x")
    zeta = checks.real(zeta, "zeta", low=0, high=1)
    if reference is None:
        reference = jnp.eye(p, dtype=x.dtype)
    else:
        reference = checks.matrix(reference, "reference", may_be_constant=True).astype(x.dtype)
        if reference.shape != (p, p):
            raise ValueError(f"reference: expected a covariance of shape {(p, p)}; got {reference.shape}")
        if checks.is_concrete(reference) and not np.allclose(reference, np.asarray(reference).T, rtol=1e-4):
            raise ValueError("reference: expected a symmetric matrix; got one that is not")
    return checks.defined(_isoscore_star(x, zeta, reference), "the covariance after shrinkage is 0")


def partition_score(x: Array) -> Array:
    """Least over greatest of Z(c) = sum_i exp(c^T x_i), c over all principal directions and their opposites; in (0, 1].

    x (n, p), n >= 2, neither centred nor scaled: directions are the eigenvectors of x^T x. 1 if the points look alike
    from everywhere; a mean, or a large scale, brings it to 0. Unchanged by rotation where no eigenvalue repeats (then
    the directions are not defined, nor the number). Sums of exponentials stay in logarithms, so nothing overflows, but
    below the smallest number of the dtype it is 0. Code in use takes each c with the sign that its solver happens to
    return, of which the number depends; with both signs it does not, and is never larger. ValueError for NaN and
    infinity. Source: Mu and Viswanath 2018, after the partition function of Arora et al. 2016.

    >>> import jax.numpy as jnp
    >>> corners = jnp.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> print(f"{partition_score(corners):.3f} {partition_score(corners + 1):.3f}")
    0.534 0.068
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    return checks.defined(_partition(x), "the exponents are too large for this dtype; divide x by its scale")


def average_cosine(x: Array) -> Array:
    """Mean cosine between two different rows, in [-1 / (n - 1), 1]: 0 where rows point everywhere alike.

    x (n, p), n >= 2, not centred: a common mean alone makes it positive. Unchanged by rotation and by the length of
    any row. O(n p), all pairs, not a sample of them. ValueError for a row of zeros; NaN under a trace.
    Source: Ethayarajh 2019, who draws pairs at random.

    >>> import jax.numpy as jnp
    >>> print(f"{average_cosine(jnp.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])):.4f}")
    0.4714
    """
    return _average_cosine(unit_rows(checks.matrix(x, "x", may_be_constant=True), "x"))


def average_cosine_from(s: UnitSum) -> Array:
    """`average_cosine` of rows that were never held at once, from their `moments.unit_sum`; n >= 2 rows altogether.

    Raises TypeError for anything but `UnitSum`; ValueError for fewer than 2 rows.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import unit_sum
    >>> print(f"{average_cosine_from(unit_sum(jnp.eye(2)) + unit_sum(jnp.array([[3.0, 3.0]]))):.4f}")
    0.4714
    """
    if not isinstance(s, UnitSum):
        raise TypeError(f"s: expected a UnitSum, as `unit_sum(x)` returns; got {type(s).__name__}")
    if checks.is_concrete(s.n) and not np.all(np.asarray(s.n) >= 2):
        raise ValueError(f"s: expected at least 2 rows; got {int(s.n)}")
    return (jnp.sum(s.total**2, -1) - s.n) / (s.n * (s.n - 1))


def uniformity(x: Array, *, t: float = 2.0) -> Array:
    """Log of the mean over pairs of exp(-t d^2), d being distances of rows at unit length; in [-4 t, 0], 0 is collapse.

    x (n, p), n >= 2, t > 0. Smaller is more uniform; perfect uniformity is above -4 t and depends on p. Unchanged by
    rotation and by the length of any row. O(n^2 p) time in blocks of rows, O(n) memory besides, also for gradients.
    ValueError for a row of zeros; NaN under a trace. Source: Wang and Isola 2020, sec. 4.1.2 (their code averages over
    i < j, as here; the paper's expectation includes i = j).

    >>> import jax.numpy as jnp
    >>> print(f"{uniformity(jnp.array([[1.0, 0.0], [0.0, 2.0]])):.3f}")
    -4.000
    """
    t = checks.real(t, "t", low=0, open_low=True)
    return _uniformity(unit_rows(checks.matrix(x, "x", may_be_constant=True), "x"), t)


def uniformity_by_blocks(x, *, t: float = 2.0, rows: int = 4_000, progress: Callable | None = None) -> Array:
    """`uniformity` of an array on the host that need not fit, exact: every pair of blocks of `rows` rows is read.

    x (n, p) is whatever gives rows for a slice, as numpy.memmap, HDF5, Zarr or Dask arrays do; two blocks are in memory
    at a time. `progress(done, all)` is called with the number of pairs of blocks. O(n^2 p) time. Raises as
    `uniformity`, the rows of an error counted from the block's first.

    >>> import numpy as np
    >>> print(f"{uniformity_by_blocks(np.array([[1.0, 0.0], [0.0, 2.0]]), rows=1):.3f}")
    -4.000
    """
    t = checks.real(t, "t", low=0, open_low=True)
    rows = checks.count(rows, "rows", low=1, high=2**31)
    if len(getattr(x, "shape", ())) != 2 or x.shape[0] < 2:
        raise ValueError(f"x: expected at least 2 rows, shape (n, p); got {getattr(x, 'shape', type(x).__name__)}")
    n, starts = x.shape[0], range(0, x.shape[0], rows)
    parts, done = [], 0
    for i in starts:
        first = _host_block(x, i, rows)
        for j in starts[: i // rows + 1]:
            second = first if i == j else _host_block(x, j, rows)
            parts.append(_log_sum(first, second, t, i == j))
            done += 1
            if progress is not None:
                progress(done, len(starts) * (len(starts) + 1) // 2)
    return jax.nn.logsumexp(jnp.stack(parts)) - jnp.log(n * (n - 1.0) / 2)


def alignment(x: Array, y: Array, *, power: float = 2.0) -> Array:
    """Mean distance, to a power, between the paired rows of x and y at unit length; in [0, 2^power], 0 if they agree.

    x and y (n, p) are two views of the same n samples; power > 0 is the paper's alpha. Unchanged by a rotation of both
    and by the length of any row. ValueError for different shapes or a row of zeros; NaN under a trace.
    Source: Wang and Isola 2020, sec. 4.1.1.

    >>> import jax.numpy as jnp
    >>> print(f"{alignment(jnp.eye(2), jnp.array([[3.0, 0.0], [1.0, 0.0]])):.3f}")
    1.000
    """
    power = checks.real(power, "power", low=0, open_low=True)
    x, y = checks.paired(x, y, may_be_constant=True)
    if x.shape != y.shape:
        raise ValueError(f"x and y: expected views of one shape; got shapes {x.shape} and {y.shape}")
    return _alignment(unit_rows(x, "x"), unit_rows(y, "y"), power)


def self_cluster(x: Array) -> Array:
    """Self-clustering: the sum of squared cosines of all pairs, 0 at its value for random directions, 1 for one line.

    x (n, p), n >= 2, p >= 2 (ValueError below), not centred. (||u u^T||_F^2 - e) / (n^2 - e) with rows u of unit
    length and e = n + n (n - 1) / p; negative where rows repel each other more than at random. Unchanged by rotation
    and by length and sign of any row. O(n p min(n, p)). ValueError for a row of zeros; NaN under a trace.
    Source: Tsitsulin et al. 2023.

    >>> import jax.numpy as jnp
    >>> print(f"{self_cluster(jnp.eye(4)):.3f} {self_cluster(jnp.ones((4, 4))):.3f}")
    -0.333 1.000
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    _two_features(x.shape[1], "x")
    return _self_cluster(unit_rows(x, "x"))


def coherence(x: Array) -> Array:
    """Coherence: the largest leverage of a row over the mean leverage, in [1, n / rank].

    x (n, p), n >= 2, not centred. Leverage of row i is ||u_i||^2, u an orthonormal basis of the columns, and rank the
    number of singular values above rounding. 1 if no row matters more than another; n / rank if one direction is one
    row's alone. Unchanged by any invertible linear map of the features. O(n p min(n, p)). ValueError for zeros; NaN
    under a trace. Without gradient where singular values repeat. The graph-embedding metrics of google-research and
    TF-GNN divide by p even where the rank is below. Source: Candes and Recht 2009, def. 1.2; as a score of
    embeddings, Tsitsulin et al. 2023.

    >>> import jax.numpy as jnp
    >>> print(f"{coherence(jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 7.0], [1.0, 0.0]])):.3f}")
    2.000
    """
    return checks.defined(_coherence(checks.matrix(x, "x", may_be_constant=True)), ALL_ZERO)


def _two_features(p: int, name: str) -> int:
    if p < 2:
        raise ValueError(f"{name}: expected at least 2 features, since isotropy compares directions; got {p}")
    return p


@jax.jit
def _isoscore_star(x, zeta, reference):
    n, p = x.shape
    x = linalg.center(x)
    scale = linalg.scale_of(x)
    x = x / scale
    own = (1 - zeta) / (n - 1) * linalg.matmul(x.T, x)
    covariance = own + zeta * (reference / scale / scale)
    top = linalg.scale_of(covariance)
    covariance = covariance / top
    norm = jnp.sum(covariance**2)
    return (jnp.trace(covariance) ** 2 / jnp.where(norm > 0, norm, jnp.nan) - 1) / (p - 1)


@jax.jit
def _partition(x):
    n, p = x.shape
    triangle = jnp.linalg.qr(x, mode="r") if n > p else x  # its right vectors are those of x
    directions = jnp.linalg.svd(triangle, full_matrices=False)[2]
    heights = linalg.matmul(x, directions.T)
    logs = jax.nn.logsumexp(jnp.concatenate([heights, -heights], 1), 0)
    if n < p:  # every direction beyond the rows sees all points at 0
        logs = jnp.append(logs, jnp.log(jnp.asarray(n, x.dtype)))
    return jnp.exp(logs.min() - logs.max())


@jax.jit
def _average_cosine(u):
    n = len(u)
    return (jnp.sum(jnp.sum(u, 0) ** 2) - n) / (n * (n - 1))


def _host_block(x, start, rows):
    return unit_rows(checks.matrix(np.asarray(x[start : start + rows]), "x", at_least=1, may_be_constant=True), "x")


@partial(jax.jit, static_argnums=3)
def _log_sum(u, v, t, same):
    """Log of the sum of exp(-t d^2) over pairs of rows of two blocks, each pair once if they are the same block."""
    exponent = -2 * t * (1 - linalg.matmul(u, v.T))
    return jax.nn.logsumexp(exponent, where=jnp.tri(len(u), k=-1, dtype=bool) if same else None)


@jax.jit
def _uniformity(u, t):
    n = len(u)
    size = max(1, min(n, _BLOCK_BYTES // (n * u.dtype.itemsize)))
    blocks = -(-n // size)
    rows = jnp.pad(u, ((0, blocks * size - n), (0, 0))).reshape(blocks, size, -1)

    @jax.checkpoint  # what a block computes is computed again for its gradient, rather than kept
    def of_block(block, number):
        row = number * size + jnp.arange(size)
        exponent = -2 * t * (1 - linalg.matmul(block, u.T))
        counted = (row[:, None] != jnp.arange(n)[None]) & (row < n)[:, None]
        return jax.nn.logsumexp(exponent, where=counted)

    return jax.nn.logsumexp(lax.map(lambda a: of_block(*a), (rows, jnp.arange(blocks)))) - jnp.log(n * (n - 1.0))


@jax.jit
def _alignment(u, v, power):
    squares = jnp.sum((u - v) ** 2, 1)
    same = squares == 0  # where a power below 2 has no gradient
    return jnp.mean(jnp.where(same, 0, jnp.where(same, 1, squares) ** (power / 2)))


@jax.jit
def _self_cluster(u):
    n, p = u.shape
    square = jnp.sum((linalg.matmul(u, u.T) if n < p else linalg.matmul(u.T, u)) ** 2)
    by_chance = n + n * (n - 1) / p
    return (square - by_chance) / (n**2 - by_chance)


@jax.jit
def _coherence(x):
    u, s = linalg.basis(x / linalg.scale_of(x))
    rank = jnp.sum(s > 0)
    return len(x) * jnp.max(jnp.sum(u**2, 1)) / jnp.where(rank > 0, rank, jnp.nan)
