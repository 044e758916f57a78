"""Similarity of Gram matrices: HSIC and centred kernel alignment (CKA), biased and debiased, linear and Gaussian.

Kornblith et al. (2019) is followed throughout, except that features are centred before anything else: that changes
no value in exact arithmetic, and without it float32 loses the debiased statistic at a mean of ten deviations.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.moments import Moments, moments_by_blocks, spread
from repgeo.similarity.record import Gram, Record, Split, invariant, measure

_TILE_BYTES = 6 * 2**20  # of one Gram tile a layer, all together: coarser ones multiply faster, finer ones repeat less

_LARGE_BYTES = 2**27  # of NumPy inputs: above, `cka` reads them in blocks rather than copy them whole

_OVERFLOW = "the value is too large for this dtype; divide the arguments by their scale"
_SCALE = "the spread of an argument is too small or too large for this dtype; divide it by its scale"
_NOT_POSITIVE = "the debiased HSIC of an argument with itself is 0, as when all rows but one are equal"
_NO_SPREAD = "the median pairwise distance is 0, since most rows of an argument are duplicates of another"


_ISOMETRIC = invariant("shift", "rotation")
_SIMILAR = invariant("shift", "rotation", "scale")
_INF = float("inf")


@measure(
    Record("similarity", (0, _INF), True, _ISOMETRIC, "gretton2005"),
    square=lambda layers: _gram_products(layers) / (len(layers[0]) - 1) ** 2,
    gram=Gram(lambda x: _centred_gram(x) / (len(x) - 1)),
)
def hsic(x: Array, y: Array) -> Array:
    """Hilbert-Schmidt independence criterion with linear kernels: ||x^T y||_F^2 / (n - 1)^2 of centred x and y.

    x (n, p), y (n, q), n >= 2; in squared units of x times squared units of y; 0 without linear dependence in the
    population, biased upwards by O(1/n) in a sample. Unchanged by rotations and shifts of either side.
    Source: Gretton et al. 2005 (their estimator); Kornblith et al. 2019, eq. 3.

    >>> import jax.numpy as jnp
    >>> float(hsic(jnp.array([[0.0], [1.0], [2.0]]), jnp.array([[0.0], [2.0], [4.0]])))
    4.0
    """
    x, y = checks.paired(x, y)
    return checks.defined(_hsic(x, y) / (len(x) - 1) ** 2, _OVERFLOW)


@measure(
    Record("similarity", (-_INF, _INF), True, _ISOMETRIC, "song2012", at_least=4),
    square=lambda layers: _debiased_gram_products(layers) / (len(layers[0]) * (len(layers[0]) - 3)),
    gram=Gram(lambda x: _centred_gram(x, debiased=True) / (len(x) * (len(x) - 3)) ** 0.5),
)
def hsic_unbiased(x: Array, y: Array) -> Array:
    """Unbiased estimate of HSIC with linear kernels; negative about half the time when x and y are independent.

    x (n, p), y (n, q), n >= 4 (ValueError below). The U-statistic of Song et al. 2012, eq. 5; units as `hsic`.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [1.0], [0.0], [1.0]])
    >>> round(float(hsic_unbiased(x, x)), 4)
    0.1667
    """
    x, y = checks.paired(x, y, at_least=4)
    n = len(x)
    return checks.defined(_hsic_u(x, y) / (n * (n - 3)), _OVERFLOW)


@measure(
    Record("similarity", (0, 1), True, _SIMILAR, "kornblith2019"),
    square=lambda layers: _normalised(_gram_products(layers, in_units=True)),
    gram=Gram(lambda x: _unit_gram(x)),
)
def cka(x: Array, y: Array) -> Array:
    """Linear centred kernel alignment, in [0, 1]: 1 for equal geometry up to rotation, shift and scale.

    x (n, p), y (n, q). ||x^T y||_F^2 / (||x^T x||_F ||y^T y||_F) of the centred matrices, also known as the RV
    coefficient (Kornblith et al. 2019, eq. 3 and table 1). A general linear map changes it. Biased: for independent
    data it tends to 1 as n falls below p and q (`cka_debiased` does not). O(n p q + n p^2 + n q^2) through p x q
    products or O(n^2 (p + q)) through n x n ones, whichever is fewer multiplications; no centred copy is kept, and
    large NumPy arrays (memory maps too) are read in blocks of rows.
    Raises as `checks.paired`; under a trace, a constant matrix gives NaN.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    >>> print(f"{cka(x, 5 * x[:, ::-1] + 7):.4f}")
    1.0000
    """
    if _is_large_on_host(x, y) and not _gram_is_smaller(len(x), x.shape[1], y.shape[1]):
        return cka_from(moments_by_blocks(x, y))
    x, y = checks.paired(x, y, values=False)
    value = _cka(x, y)
    if checks.is_concrete(value) and not np.isfinite(value):
        checks.paired(x, y)  # NaN, infinity and equal rows all end in NaN: looking for them first would cost 7 %
    return checks.defined(value, _SCALE)


def cka_from(m: Moments) -> Array:
    """`cka` of a sample that was never held at once, from its accumulated moments; errors as `moments.spread`.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.arange(8.0).reshape(4, 2) ** 2
    >>> print(f"{cka_from(moments(x[:2], x[:2]) + moments(x[2:], x[2:])):.4f}")
    1.0000
    """
    m = spread(m)
    return checks.defined(_from_products(m.xx, m.xy, m.yy), _SCALE)


@measure(
    Record("similarity", (-1, 1), True, _SIMILAR, "nguyen2021", at_least=4, chi_square=()),
    square=lambda layers: _normalised(_debiased_gram_products(layers, in_units=True)),
    gram=Gram(lambda x: _unit_gram(x, debiased=True)),
)
def cka_debiased(x: Array, y: Array) -> Array:
    """Linear CKA of unbiased HSIC terms, in [-1, 1]: 0 on average for independent data at any n, p, q.

    x (n, p), y (n, q), n >= 4 (ValueError below). The ratio of three unbiased terms is itself slightly biased, and
    undefined when a self-term is 0 (all rows but one equal): then a ValueError, or NaN under a trace. Rows must be
    distinct draws: a row that is drawn twice counts as agreement, so never bootstrap it with replacement.
    Source: Song et al. 2012, eq. 5, in the ratio of Nguyen et al. 2021; feature-space form of Kornblith et al. 2019.

    >>> import jax
    >>> x, y = jax.random.normal(jax.random.key(0), (2, 50, 300))
    >>> print(f"{cka(x, y):.2f} {abs(cka_debiased(x, y)):.2f}")
    0.85 0.01
    """
    value = _cka_u(*checks.paired(x, y, at_least=4))
    return checks.defined(value, f"{_NOT_POSITIVE}; or {_SCALE}")


@measure(
    Record(
        "similarity", (0, 1), True, _SIMILAR, "kornblith2019", at_least=3, chi_square=(("debiased", True),)
    ),
    split=Split(lambda x, **options: _prepare_rbf(x, **options), lambda a, b: _compare_kernels(a, b)),
    gram=Gram(lambda x, **options: _prepare_rbf(x, **options)),
)
def cka_rbf(x: Array, y: Array, *, bandwidth: float = 0.4, debiased: bool = False) -> Array:
    """CKA with Gaussian kernels exp(-d^2 / (2 s^2)), s = `bandwidth` x the median pairwise distance; in [0, 1].

    x (n, p), y (n, q); `bandwidth` > 0 is a share of the median over pairs i < j (Kornblith et al. 2019, sec. 4; the
    paper's code takes the root of the median squared distance, diagonal included, and so differs a little).
    Small bandwidths push the biased value to 1 whatever the data; `debiased=True` uses unbiased HSIC (n >= 4, in
    [-1, 1]). O(n^2 (p + q)) time, O(n^2) memory. Raises ValueError when most rows are duplicates (the median is 0).

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (60, 5))
    >>> print(f"{cka_rbf(x, 3 * x + 1):.4f}")
    1.0000
    """
    x, y = checks.paired(x, y, at_least=4 if debiased else 3)
    bandwidth = checks.real(bandwidth, "bandwidth", low=0, open_low=True)
    value = _compare_kernels(_prepare_rbf(x, bandwidth, debiased), _prepare_rbf(y, bandwidth, debiased))
    return checks.defined(value, f"{_NO_SPREAD}, or {_NOT_POSITIVE}" if debiased else _NO_SPREAD)


@partial(jax.jit, static_argnames="debiased")
def _prepare_rbf(x, bandwidth=0.4, debiased=False):
    """The centred Gaussian Gram matrix, scaled to unit norm: CKA is then one inner product."""
    d2 = linalg.sq_distances(x / linalg.scale_of(x))
    kernel = jnp.exp(-d2 / (2 * bandwidth**2 * linalg.off_diagonal_median(linalg.safe_sqrt(d2)) ** 2))
    kernel = u_center(kernel) if debiased else double_center(kernel)
    return kernel / jnp.sqrt(jnp.sum(kernel**2))


@partial(jax.jit, static_argnames="debiased")
def _centred_gram(x, debiased=False):
    return u_center(_gram(x)) if debiased else _gram(x)


@partial(jax.jit, static_argnames="debiased")
def _unit_gram(x, debiased=False):
    gram = _centred_gram(_unit(x), debiased)
    return gram / jnp.sqrt(jnp.sum(gram**2))


@jax.jit
def _compare_kernels(a, b):
    return jnp.vdot(a, b, precision=lax.Precision.HIGHEST)


def double_center(k: Array) -> Array:
    """A symmetric matrix (n, n) minus its row and column means: H k H with H = I - 11^T / n."""
    rows = k.mean(1)
    return k - rows[:, None] - rows[None] + rows.mean()


def u_center(k: Array) -> Array:
    """U-centring (Szekely & Rizzo 2014): zero diagonal, rows that sum to 0; inner products are then unbiased."""
    n = len(k)
    off = ~jnp.eye(n, dtype=bool)
    k = jnp.where(off, k, 0)
    rows = k.sum(1) / (n - 2)
    return jnp.where(off, k - rows[:, None] - rows[None] + rows.sum() / (n - 1), 0)


def _is_large_on_host(x, y) -> bool:
    """Whether both are NumPy matrices so large that a copy of them for JAX would be felt."""
    both = isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and x.ndim == y.ndim == 2
    return both and x.nbytes + y.nbytes > _LARGE_BYTES


def _gram_is_smaller(n: int, p: int, q: int) -> bool:
    return n * (p + q) < p * p + p * q + q * q


@jax.jit
def _hsic(x, y):
    if _gram_is_smaller(len(x), x.shape[1], y.shape[1]):
        return jnp.sum(_gram(x) * _gram(y))
    return jnp.sum(linalg.scatter(x, y)[1] ** 2)


@jax.jit
def _cka(x, y):
    if _gram_is_smaller(len(x), x.shape[1], y.shape[1]):
        return _align(*_inner(_gram(_unit(x)), _gram(_unit(y))))
    return _from_products(*linalg.scatter(x, y))


@jax.jit
def _hsic_u(x, y):
    """Song's sum, without its factor 1 / (n (n - 3))."""
    n, p, q = *x.shape, y.shape[1]
    if _gram_is_smaller(n, p, q):
        return jnp.sum(u_center(_gram(x)) * u_center(_gram(y)))
    xy = linalg.matmul(linalg.center(x).T, linalg.center(y))
    return _remove_bias(jnp.sum(xy**2), _row_norms(x), _row_norms(y), n)


@jax.jit
def _cka_u(x, y):
    n, p, q = *x.shape, y.shape[1]
    if _gram_is_smaller(n, p, q):
        return _align(*_inner(u_center(_gram(_unit(x))), u_center(_gram(_unit(y)))))
    xx, xy, yy = linalg.scatter(x, y)
    s, t = _scale_of(xx), _scale_of(yy)
    a, b = _row_norms(x) / s, _row_norms(y) / t
    sums = jnp.sum((xx / s) ** 2), jnp.sum((xy / jnp.sqrt(s) / jnp.sqrt(t)) ** 2), jnp.sum((yy / t) ** 2)
    return _align(*(_remove_bias(v, c, d, n) for v, c, d in zip(sums, (a, a, b), (a, b, b), strict=True)))


def _remove_bias(total, a, b, n):
    """Song's correction of <K, L> for centred features, whose Gram rows sum to 0; a, b are the Gram diagonals."""
    return total - n / (n - 2) * jnp.sum(a * b) + jnp.sum(a) * jnp.sum(b) / ((n - 1) * (n - 2))


def _gram(x):
    x = linalg.center(x)
    return linalg.matmul(x, x.T)


def _row_norms(x):
    return jnp.sum(linalg.center(x) ** 2, 1)


def _unit(x):
    """Centred and divided by its largest entry: what follows neither overflows nor underflows."""
    x = linalg.center(x)
    return x / _scale_of(x)


def _scale_of(a):
    top = lax.stop_gradient(jnp.abs(a).max())
    return jnp.where(top > 0, top, 1)


def _inner(a, b):
    return jnp.sum(a * a), jnp.sum(a * b), jnp.sum(b * b)


def _align(kk, kl, ll):
    """The ratio kl / sqrt(kk ll), its roots apart since their product overflows first; NaN without both norms."""
    good = (kk > 0) & (ll > 0)
    roots = jnp.sqrt(jnp.where(good, kk, 1)) * jnp.sqrt(jnp.where(good, ll, 1))
    return jnp.where(good, kl / roots, jnp.nan)


@jax.jit
def _from_products(xx, xy, yy):
    """Scaled before squaring, so that moments of any unit neither overflow nor underflow."""
    kk, kl, ll = linalg.frobenius(xx), linalg.frobenius(xy), linalg.frobenius(yy)
    good = (kk > 0) & (ll > 0)
    kk, ll = jnp.where(good, kk, 1), jnp.where(good, ll, 1)
    return jnp.where(good, (kl / kk) * (kl / ll), jnp.nan)


@partial(jax.jit, static_argnames="in_units")
def _gram_products(layers, in_units=False):
    """<K_i, K_j> of the centred linear Gram matrices of all layers, each in a unit of its own if `in_units`."""
    return _products_of_tiles(layers, hollow=False, in_units=in_units)[0]


@partial(jax.jit, static_argnames="in_units")
def _debiased_gram_products(layers, in_units=False):
    n = len(layers[0])
    # with the diagonal: a small difference where p >> n
    total, norms = _products_of_tiles(layers, hollow=True, in_units=in_units)
    traces = norms.sum(1)
    return total - 2 / (n - 2) * linalg.matmul(norms, norms.T) + traces[:, None] * traces[None] / ((n - 1) * (n - 2))


def _products_of_tiles(layers, hollow, in_units):
    """<K_i, K_j> of all pairs of l layers (l, l), with zeros on the diagonals of K if `hollow`; those diagonals (l, n).

    Only tiles on and above the diagonal are computed. One tile of every layer is in memory at a time; the products
    of all pairs of layers are one matrix product. A row of tiles begins on the diagonal and keeps its centred block.
    With `in_units` each layer is divided by a power of two near its spread, whose fourth power could overflow.
    """
    n = len(layers[0])
    in_cache = (_TILE_BYTES / layers[0].dtype.itemsize / len(layers)) ** 0.5
    widest = int(min(in_cache, n / 2)) // 64 * 64  # of two tiles a side a quarter is saved already
    tiles = -(-n // max(widest, 64))
    size = min(n, -(-n // (16 * tiles)) * 16)  # products of odd sizes cost a tenth more
    twice = tiles * size - n  # the last tile starts early: so many of its rows belong to the one before
    means = [(z[:1], (z - z[:1]).mean(0, keepdims=True)) for z in layers]  # their sum would round a large offset
    spreads = [jnp.maximum(z.max(0) - z[0], z[0] - z.min(0)) for z in layers]
    units = [1 / linalg.scale_of(spread) if in_units else None for spread in spreads]
    rows, columns = np.triu_indices(tiles)
    weight = jnp.where(rows == columns, 1, 2).astype(layers[0].dtype)

    def block(z, mean, unit, i):
        start = jnp.minimum(i * size, n - size)
        rows = lax.dynamic_slice_in_dim(z, start, size) - mean[0] - mean[1]
        rows = rows if unit is None else rows * unit
        return jnp.where((start + jnp.arange(size) >= i * size)[:, None], rows, 0) if twice else rows

    def step(carry, tile):
        total, kept = carry
        i, j, w = tile
        blocks = [block(z, mean, unit, j) for z, mean, unit in zip(layers, means, units, strict=True)]
        kept = lax.cond(i == j, lambda _, new: new, lambda old, _: old, kept, blocks)
        grams = [linalg.matmul(a, b.T) for a, b in zip(kept, blocks, strict=True)]
        flat = jnp.stack([gram.reshape(-1) for gram in grams])
        diagonals = flat[:, :: size + 1] if hollow else None
        if hollow:
            flat = jnp.where((i != j) | ~jnp.eye(size, dtype=bool).reshape(-1), flat, 0)
        return (total + w * linalg.matmul(flat, flat.T), kept), diagonals

    nothing = jnp.zeros((len(layers), len(layers)), layers[0].dtype), [jnp.zeros_like(z[:size]) for z in layers]
    tiles_of = rows, columns, weight
    (total, _), found = lax.scan(step, nothing, tiles_of, unroll=tiles <= 2)
    if not hollow:
        return total, None
    *whole, last = found[np.flatnonzero(rows == columns)]
    return total, jnp.concatenate([*whole, last[:, twice:]], 1)


def _normalised(products):
    self_terms = jnp.diag(products)
    roots = jnp.sqrt(jnp.where(self_terms > 0, self_terms, jnp.nan))
    return products / roots[:, None] / roots[None]
