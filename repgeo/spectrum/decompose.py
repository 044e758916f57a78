"""The spectrum of an embedding matrix, computed once, which says what it is of.

A spectrum of an embedding matrix exists in two forms, of the matrix as it is and of the matrix minus its column
means, and the number of directions differs between them by any factor when the mean is large. So `spectrum` has no
default, and a measure that is handed a matrix takes the form in which its source defines it.
"""

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.moments import Moments, spread
from repgeo.neighbors import nonzero_rows

_BLOCK_BYTES = 2**21  # of the rows that are squared at a time
ALL_ZERO = "every singular value is 0, so no direction is in use"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Spectrum:
    """Singular values of a matrix, descending, and what they are of; a pytree, so it vmaps.

    values (r,) with r <= p, in units of the features: their squares, over n - 1 if centred, are variances. n () rows
    and p features; centered: whether the column means were subtracted first.
    """

    values: Array
    n: Array
    p: int = field(metadata={"static": True})
    centered: bool = field(metadata={"static": True})


def spectrum(x: Array, *, center: bool) -> Spectrum:
    """Singular values of x (n, p), of its centred columns with `center=True` and as it is with `center=False`.

    n >= 2; min(n, p) values. There is no default because both are in use under the same names of measures, and a mean
    that is large beside the spread becomes one dominant direction. Roots of the eigenvalues of a Gram matrix come
    soonest and lose half of the digits, which in float32 adds directions that are not there: so that of a float32
    matrix with n >= p is taken in float64, which has digits to lose, and under a trace (where that precision cannot be
    had), in float64 and for n < p the matrix itself is decomposed. Below s[0] eps / 2 a value is 0: hundreds of those
    would still count in an entropy. O(n p min(n, p)). Raises as `checks.matrix`: equal rows are an error only for
    `center=True`.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[3.0, 2.0], [3.0, -2.0]])
    >>> [[f"{s:.2f}" for s in spectrum(x, center=c).values] for c in (False, True)]
    [['4.24', '2.83'], ['2.83', '0.00']]
    """
    center = _flag(center)
    x = checks.matrix(x, "x", may_be_constant=not center)
    return Spectrum(singular_values(x, center), jnp.asarray(len(x), x.dtype), x.shape[1], center)


def spectra(x: Array) -> tuple[Spectrum, Spectrum]:
    """Both spectra of x (n, p), centred and then as it is, in one reading: `spectrum` with True and with False.

    A float32 matrix with n >= p is squared once, and the eigenvalues of both squares are found side by side: two
    thirds of the time of two spectra. Others are decomposed twice. Raises as `spectrum` with `center=True`.

    >>> import jax.numpy as jnp
    >>> centred, plain = spectra(jnp.array([[3.0, 2.0], [3.0, -2.0]]))
    >>> [[f"{s:.2f}" for s in found.values] for found in (centred, plain)]
    [['2.83', '0.00'], ['4.24', '2.83']]
    """
    x = checks.matrix(x, "x")
    if _may_be_squared(x):
        with linalg.at_once(), jax.enable_x64(True):
            squares = _both_squares(x)
            found = linalg.side_by_side(partial(_roots_of_squares, lower, x.dtype) for lower in squares)
    else:
        found = _by_decomposition(x, True), _by_decomposition(x, False)
    n, p = jnp.asarray(len(x), x.dtype), x.shape[1]
    return Spectrum(found[0], n, p, True), Spectrum(found[1], n, p, False)


def spectrum_from(m: Moments, *, center: bool) -> Spectrum:
    """`spectrum` of the x side of accumulated moments, so of a stream or of shards: p values.

    Moments square the condition number: values below s[0] sqrt(p eps) (6e-3 of the largest in float32, 2e-7 in
    float64, for p = 300) cannot be told from rounding and are 0. Errors as `moments.spread`.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[3.0, 2.0], [3.0, -2.0]])
    >>> [f"{s:.2f}" for s in spectrum_from(moments(x, x), center=False).values]
    ['4.24', '2.83']
    """
    center = _flag(center)
    m = spread(m)
    return Spectrum(_roots(m, center), m.n, len(m.xx), center)


def _flag(center) -> bool:
    if not isinstance(center, bool | np.bool_):
        raise TypeError(f"center: expected True or False; got {type(center).__name__} {center!r}")
    return bool(center)


def spectrum_of(x, *, center: bool) -> Spectrum:
    """`x` if it is a spectrum, else its spectrum in the form that the caller's source defines."""
    if not isinstance(x, Spectrum):
        return spectrum(x, center=center)
    if x.values.ndim != 1:
        raise ValueError(f"x: expected one spectrum; got a batch, with values of shape {x.values.shape}: use vmap")
    return x


def centred_spectrum_of(x, name: str) -> Spectrum:
    """`spectrum_of` for a measure that is defined on the centred form alone."""
    s = spectrum_of(x, center=True)
    if not s.centered:
        raise ValueError(f"x: {name} is of a centred spectrum; got an uncentred one: make it with center=True")
    return s


def unit_rows(x: Array, name: str) -> Array:
    """`x` with rows of length 1; ValueError for a concrete row of zeros, NaN for a traced one."""
    nonzero_rows(x, name)
    return _unit_rows(x)


@jax.jit
def _unit_rows(x):
    x = x / linalg.scale_of(x, axis=1)
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def singular_values(x: Array, center: bool) -> Array:
    """The values of `spectrum` without its checks."""
    if _may_be_squared(x):
        with linalg.at_once(), jax.enable_x64(True):
            return _by_squares(x, center)
    return _by_decomposition(x, center)


def _may_be_squared(x):
    return checks.is_concrete(x) and x.dtype == jnp.float32 and x.shape[0] >= x.shape[1]


@partial(jax.jit, static_argnames="center")
def _by_squares(x, center):
    return _roots_of_squares(_squares(x, center)[0], x.dtype)


@partial(jax.jit, static_argnames="dtype")
def _roots_of_squares(lower, dtype):
    return _without_rounding(linalg.safe_sqrt(linalg.eigenvalues(lower)[::-1]).astype(dtype))


@jax.jit
def _both_squares(x):
    centred, mean = _squares(x, center=True)
    return centred, centred + len(x) * jnp.outer(mean, mean)


def _squares(x, center):
    """x^T x in float64, of the centred columns or of x as it is, its lower triangle alone; and what was subtracted."""
    n, p = x.shape
    size = min(n, max(128, _BLOCK_BYTES // (8 * p)))
    starts = range(0, p, max(128, -(-p // 8)))
    shift = (x[0] + (x - x[:1]).mean(0)).astype(jnp.float64) if center else jnp.zeros(p, jnp.float64)

    def products(rows):  # of a block that stays in cache, on and above the diagonal
        rows = lax.optimization_barrier(rows.astype(jnp.float64) - shift[None])
        turned = lax.optimization_barrier(rows.T)  # or a product in float64 takes twice as long on a CPU
        strips = [linalg.matmul(turned[i : i + starts.step], rows[:, i:]) for i in starts]
        return rows.sum(0), strips

    def step(total, i):
        return jax.tree.map(jnp.add, total, products(lax.dynamic_slice_in_dim(x, i * size, size))), None

    rest, strips = products(x[n // size * size :])
    (rest, strips), _ = lax.scan(step, (rest, strips), jnp.arange(n // size))
    lower = jnp.concatenate([jnp.pad(s, ((0, 0), (i, 0))) for i, s in zip(starts, strips, strict=True)]).T
    if center:  # what rounding left of the mean
        lower = lower - jnp.outer(rest, rest) / n
    return lower, shift + rest / n


@partial(jax.jit, static_argnames="center")
def _by_decomposition(x, center):
    return _without_rounding(linalg.singular_values(linalg.center(x) if center else x))


def _without_rounding(s: Array) -> Array:
    return jnp.where(s > s[0] * (jnp.finfo(s.dtype).eps / 2), s, 0)


@partial(jax.jit, static_argnames="center")
def _roots(m, center):
    mean = m.mean_x + m.rest_x
    values, _ = linalg.descending_eigh(m.xx if center else m.xx + m.n * jnp.outer(mean, mean))
    real = values > values[0] * len(values) * jnp.finfo(values.dtype).eps
    return linalg.safe_sqrt(jnp.where(real, values, 0))


@jax.jit
def relative(s: Array) -> Array:
    """The spectrum over its largest value: sums and squares then neither overflow nor underflow; NaN if all are 0."""
    return s / jnp.where(s[0] > 0, s[0], jnp.nan)
