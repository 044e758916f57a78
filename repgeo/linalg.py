"""The compiled kernels: centring, cross-products, spectra and distances of tall (n, p) matrices.

Nothing here validates: callers stand behind `checks`. Every function is traceable and follows the dtype it gets.
Products that feed a difference or a spectrum ask for full precision, which switches TF32 off on a GPU.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

matmul = partial(jnp.matmul, precision=lax.Precision.HIGHEST)

_BLOCK = 2**18  # entries of a step of a blocked product: its transposed copy stays in a core's cache
_BLOCK_ROWS = 1024  # and rows at most
_STRIP = 128  # columns per strip of a symmetric product


def center(x: Array) -> Array:
    """`x` (n, p) minus its column means; a constant column becomes exactly 0, whatever its value.

    The first row is subtracted before the mean is taken: the mean of a large offset would be rounded, and what
    rounding leaves of a constant column would pass for signal.
    """
    x = x - x[:1]
    return x - x.mean(0, keepdims=True)


def scatter(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Centred products (x^T x, x^T y, y^T y) of x (n, p) and y (n, q), without a centred copy of either.

    On a CPU the rows are read in blocks, so that a centred block stays in cache; x^T x and y^T y are computed on and
    above the diagonal only. Elsewhere three plain products are faster.
    """
    return lax.platform_dependent(x, y, cpu=_scatter_by_blocks, default=_scatter_plain)


def cosines(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """(x^T y / (||x|| ||y||), ||x||, ||y||) of centred x (n, p), y (n, q) with Frobenius norms, by blocks as `scatter`.

    Each block is divided by its norm before the product, which can then neither overflow nor underflow.
    """
    norms = frobenius(center(x)), frobenius(center(y))

    def by_blocks(x, y, norms):
        return _sum_over_blocks(x, y, lambda at, a, bt, b: matmul(at() / norms[0], b / norms[1]))

    def plain(x, y, norms):
        return matmul((center(x) / norms[0]).T, center(y) / norms[1])

    return lax.platform_dependent(x, y, norms, cpu=by_blocks, default=plain), *norms


def _scatter_plain(x, y):
    x, y = center(x), center(y)
    return matmul(x.T, x), matmul(x.T, y), matmul(y.T, y)


def _scatter_by_blocks(x, y):
    xx, xy, yy = _sum_over_blocks(x, y, lambda at, a, bt, b: (_upper(at, a), matmul(at(), b), _upper(bt, b)))
    return _symmetric(xx), xy, _symmetric(yy)


def _sum_over_blocks(x, y, products):
    """Sum of products(at, a, bt, b) over blocks of centred rows a of x and b of y; at and bt as `_turned` returns."""
    n = len(x)
    most = max(250, min(_BLOCK_ROWS, _BLOCK // max(x.shape[1], y.shape[1])))
    blocks = -(-n // most)
    size = n // blocks
    shift = (x[:1], y[:1])
    mean = jax.tree.map(lambda a, s: (a - s).mean(0, keepdims=True), (x, y), shift)

    def of_block(rows):
        a, b = lax.optimization_barrier(jax.tree.map(lambda a, s, m: (a - s) - m, rows, shift, mean))
        return products(_turned(a), a, _turned(b), b)

    def step(total, i):
        rows = tuple(lax.dynamic_slice_in_dim(a, i * size, size) for a in (x, y))
        return jax.tree.map(jnp.add, total, of_block(rows)), None

    total = of_block((x[:size], y[:size]))
    if blocks > 1:
        total, _ = lax.scan(step, total, jnp.arange(1, blocks))
    if blocks * size < n:
        total = jax.tree.map(jnp.add, total, of_block((x[blocks * size :], y[blocks * size :])))
    return total


def _turned(a: Array) -> Callable[..., Array]:
    """Columns [start, stop) of `a` as rows, for the left side of a product.

    XLA's own transposed product is as fast as any in float32 and runs at half speed or less in float64, where the
    whole block is transposed first.
    """
    if a.dtype.itemsize <= 4:
        return lambda start=None, stop=None: a[:, start:stop].T
    at = lax.optimization_barrier(a.T)
    return lambda start=None, stop=None: at[start:stop]


def _upper(at: Callable[..., Array], a: Array) -> list[Array]:
    """Strips of rows of a^T a, each from its diagonal block to the right edge."""
    p = a.shape[1]
    width = max(_STRIP, -(-p // 8))  # at most eight strips, so that compile time stays flat
    return [matmul(at(i, i + width), a[:, i:]) for i in range(0, p, width)]


def _symmetric(strips: list[Array]) -> Array:
    p = strips[0].shape[1]
    upper = jnp.concatenate([jnp.pad(s, ((0, 0), (p - s.shape[1], 0))) for s in strips])
    return jnp.triu(upper) + jnp.triu(upper, 1).T


def frobenius(a: Array) -> Array:
    """Frobenius norm, scaled by the largest entry so that its square can neither overflow nor underflow."""
    top = lax.stop_gradient(jnp.abs(a).max())
    top = jnp.where(top > 0, top, 1)
    return top * safe_sqrt(jnp.sum((a / top) ** 2))


def safe_sqrt(a: Array) -> Array:
    """Square root of max(a, 0), whose gradient at 0 is 0 rather than infinite; NaN stays NaN."""
    zero = a <= 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, a)))


def scale_of(a: Array, axis: int | None = None) -> Array:
    """The power of two at or below the largest magnitude of `a` (1 where all is 0): dividing by it rounds nothing."""
    top = lax.stop_gradient(jnp.abs(a).max(axis, keepdims=axis is not None))
    exponent = jnp.frexp(jnp.where(jnp.isfinite(top), top, 1))[1] - 1
    return jnp.where(top > 0, jnp.ldexp(jnp.ones_like(top), exponent), 1)


def at_once() -> AbstractContextManager:
    """Concrete arrays are computed with now in this context, also while something else is being traced.

    Only then JAX is told so: it would also compute each constant of a program that is being traced, one by one.
    """
    return jax.ensure_compile_time_eval() if isinstance(jnp.zeros(()), jax.core.Tracer) else nullcontext()


def on_host(*arrays: Any) -> bool:
    """Whether all are concrete arrays in the memory of one CPU, so that `side_by_side` has cores to give."""

    def here(a):
        concrete = isinstance(a, jax.Array) and not isinstance(a, jax.core.Tracer)
        return concrete and [d.platform for d in a.devices()] == ["cpu"]

    return all(map(here, arrays))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(calls: Iterable[Callable[[], Any]], *, most: int = 64) -> list[Any]:
    """Results of calls that share nothing, in order, as many at a time as there are cores, and `most` at most.

    XLA spreads one large product over the cores; the small ones in a loop, and what LAPACK does, run on one. Each call
    is compiled code, so that Python's lock is free. 64-bit mode, which belongs to a thread, is handed on.

    Never for a program that decomposes a batch (eigh, qr, svd, triangular solves): two of them stood still for good on
    two cores, it seems because each waits for the pool of threads that it runs in. One matrix at a time was safe.
    """
    calls = list(calls)
    threads = min(len(calls), cores(), most)
    if threads <= 1:
        return [call() for call in calls]
    wide = jax.config.jax_enable_x64

    def alone(call):
        with jax.enable_x64(wide):
            return jax.block_until_ready(call())

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(alone, calls))


def in_double(function: Callable, *arrays: Any, **options: Any) -> Any:
    """function(*arrays, **options) in float64 where all arrays are concrete float32, with results in float32.

    Arrays may be pytrees; `options` are hashable. Others go through the function in the precision that they have.
    """
    leaves = jax.tree.leaves(arrays)
    real = {a.dtype for a in leaves if jnp.issubdtype(jnp.result_type(a), jnp.floating)}
    if real != {jnp.dtype(jnp.float32)} or any(isinstance(a, jax.core.Tracer) for a in leaves):
        return function(*arrays, **options)
    with at_once(), jax.enable_x64(True):
        return _in_double(arrays, function=function, options=tuple(sorted(options.items())))


@partial(jax.jit, static_argnames=("function", "options"))
def _in_double(arrays, *, function, options):
    wide = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, arrays)
    found = function(*wide, **dict(options))
    return jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, found)


@jax.jit
def taken(x: Array, rows: Array) -> Array:
    """x[rows] as one program: indexing outside `jit` runs, and compiles for each shape, several."""
    return x[rows]


def rank_mask(s: Array, shape: tuple[int, int]) -> Array:
    """Which singular values (descending) of a matrix of this shape are more than rounding: s > s[0] max(n, p) eps."""
    return s > s[0] * max(shape) * jnp.finfo(s.dtype).eps


def basis(x: Array) -> tuple[Array, Array]:
    """Left singular vectors (n, r) and singular values (r,) of `x`, r = min(n, p); both 0 beyond its rank."""
    u, s, _ = jnp.linalg.svd(x, full_matrices=False)
    kept = rank_mask(s, x.shape)
    return u * kept[None], s * kept


@jax.custom_jvp
def singular_values(a: Array) -> Array:
    """Singular values, descending; no vectors are computed, so the gradient stays finite where values repeat.

    Roots of the eigenvalues of a^T a would come sooner but lose half the digits, which shows wherever the spectrum
    decays; a shortcut guarded against that would decompose such matrices twice. The triangle of a QR decomposition
    has the same values, and a stack of 200 of 500 x 32 takes 0.55 of the time, one of 10 000 x 512 0.9.
    """
    tall = a.T if a.shape[0] < a.shape[1] else a
    if len(tall) >= 2 * tall.shape[1]:
        a = jnp.linalg.qr(tall, mode="r")
    return _values(a)


@singular_values.defjvp
def _singular_values_moved(primals, tangents):  # a QR decomposition has no derivative where columns depend on others
    return jax.jvp(_values, primals, tangents)


def _values(a):
    return jnp.linalg.svd(a, compute_uv=False)


@jax.custom_jvp
@jax.jit
def eigenvalues(a: Array) -> Array:
    """Eigenvalues (n,), ascending, of symmetric a (n, n), read from its lower triangle; no vectors.

    A CPU reduces to a tridiagonal matrix and bisects: 0.6 (float32) to 0.8 (float64) of the time at n = 512 of what JAX
    calls eigvalsh, which finds vectors too. The derivative finds them, as v^T da v, and is finite where eigenvalues
    repeat, as long as what is made of them treats all alike.
    """
    from jax.scipy.linalg import eigh_tridiagonal  # loads SciPy

    def bisected(a):
        # The same numbers are above the diagonal of the transpose. There float32 takes 0.85 of the time; float64 more.
        stored, lower = (a.T, False) if a.dtype == jnp.float32 else (a, True)
        _, diagonal, beside, _ = lax.linalg.tridiagonal(stored, lower=lower)
        return eigh_tridiagonal(diagonal, beside, eigvals_only=True)

    def decomposed(a):
        return jnp.linalg.eigvalsh(a, symmetrize_input=False)

    return lax.platform_dependent(a, cpu=bisected, default=decomposed)


@eigenvalues.defjvp
def _eigenvalues_moved(primals, tangents):
    (a,), (da,) = primals, tangents
    values, vectors = jnp.linalg.eigh(a)
    return values, jnp.sum(vectors * matmul((da + da.T) / 2, vectors), 0)


def descending_eigh(a: Array) -> tuple[Array, Array]:
    """Eigenvalues (descending, negative rounding cut to 0) and eigenvectors of a positive semidefinite matrix."""
    values, vectors = jnp.linalg.eigh(a)
    return jnp.maximum(values[::-1], 0), vectors[:, ::-1]


def sq_distances(x: Array) -> Array:
    """Squared Euclidean distances (n, n) between the rows of `x`; the diagonal is exactly 0."""
    x = center(x)
    norms = jnp.sum(x * x, 1)
    d2 = norms[:, None] + norms[None] - 2 * matmul(x, x.T)
    return jnp.where(jnp.eye(len(x), dtype=bool), 0, jnp.maximum(d2, 0))


def off_diagonal_median(a: Array) -> Array:
    """Median of a non-negative symmetric (n, n) matrix over its n (n - 1) / 2 pairs i < j.

    Found by bisection on the bits of the numbers, which orders them as integers: exact, and 32 or 64 counting
    passes are cheaper than sorting. With an even number of pairs it is the mean of the middle two.
    """
    n = len(a)
    pairs = n * (n - 1) // 2
    bits = lax.bitcast_convert_type(a, jnp.int32 if a.dtype.itemsize == 4 else jnp.int64)
    width = 8 * a.dtype.itemsize - 1

    def smallest_with(rank):  # the rank-th smallest pair, from 0: each pair stands twice, the diagonal n times
        needed = n + 2 * rank + 1

        def halve(step, low):
            high = low + (jnp.ones((), bits.dtype) << (width - 1 - step)) - 1
            enough = jnp.sum(bits <= high) >= needed
            return jnp.where(enough, low, high + 1)

        found = lax.fori_loop(0, width, halve, jnp.zeros((), bits.dtype))
        hit = bits == found
        return jnp.sum(jnp.where(hit, a, 0)) / jnp.sum(hit)  # the mean of equal entries: carries a gradient

    lower, upper = (pairs - 1) // 2, pairs // 2
    middle = smallest_with(lower)
    return middle if upper == lower else (middle + smallest_with(upper)) / 2
