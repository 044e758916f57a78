"""Diffusion spectral entropy without a decomposition: stochastic Lanczos quadrature, with the error that it makes.

Sums over eigenvalues are averages over random vectors of what each sees of the spectrum, and a few products with the
matrix show that. The eigenvalue 1 is known, with its vector; others that a few products find are taken out as well,
since it is they that would make the average uncertain. The sums of all eigenvalues and of their squares are known too.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.diffusion.entropy import DiffusionEntropy, duration, magnitudes, walk_named, width
from repgeo.diffusion.operator import symmetric_walk

_ROUNDS = 2  # of subspace iteration
_LEADING = 32  # eigenvectors looked for
_CONVERGED = 0.03  # of its eigenvalue: length of the residual of a vector that is taken for an eigenvector


def dse_lanczos(
    x: Array,
    *,
    sigma: Array | float,
    t: Array | float = 1.0,
    key: Array,
    operator: str = "official",
    probes: int = 24,
    steps: int = 12,
) -> DiffusionEntropy:
    """Diffusion spectral entropy in bits of x (n, p), estimated: `dse` from probes x steps products with the walk.

    The leading eigenvalues are found by subspace iteration, the sum over all others by Lanczos from random vectors; as
    the trace and the Frobenius norm of the walk say what those and their squares add up to, the probes are asked only
    for what no parabola through the spectrum explains. `error` of the result is the standard error over the probes (a
    jackknife of the ratio that the entropy is): up to .006 bits at t = 1 and .016 at t = 4 at these defaults for the
    clouds, sheets and groups of 1 000 rows that it was tried on, where plain averages have up to .04; four times the
    probes halve it. Not in it is the bias of few steps, up to .017 bits there, which twice the steps halve. `key` draws
    the vectors.

    O(n^2 probes steps) time, one n x n array and probes x steps x n numbers. probes >= 2, 1 <= steps <= n; other
    arguments and errors as `dse`. No gradient worth having. Source: the quadrature of Ubaru, Chen and Saad 2017.

    >>> import jax
    >>> from repgeo.diffusion.entropy import dse
    >>> x = jax.random.normal(jax.random.key(0), (500, 3))
    >>> rough, exact = dse_lanczos(x, sigma=0.5, key=jax.random.key(1)), dse(x, sigma=0.5)
    >>> bool(abs(rough.bits - exact.bits) < 4 * rough.error)
    True
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    sigma, t, alpha = width(sigma, x), duration(t, x), walk_named(operator)
    probes = checks.count(probes, "probes", low=2, high=2**20, why="an error needs two")
    steps = checks.count(steps, "steps", low=1, high=len(x), why="n eigenvalues")
    leading = min(_LEADING, len(x) // 4 + 1)
    bits, error = _estimate(x, sigma, t, key, alpha, probes, steps, leading)
    return DiffusionEntropy(bits, sigma, t, error, len(x), operator)


@partial(jax.jit, static_argnames=("probes", "steps", "leading"))
def _estimate(x, sigma, t, key, alpha, probes, steps, leading):
    n = len(x)
    a, root = symmetric_walk(x, sigma, alpha)
    top = root / linalg.frobenius(root)
    of_leading, of_probes = jax.random.split(key)

    def without_top(v):  # rows (m, n) with the known eigenvector taken out
        return v - linalg.matmul(v, top)[:, None] * top[None]

    # Ritz vectors of the leading eigenvalues: what they hold is counted, and the probes look at the rest.
    found = without_top(jax.random.normal(of_leading, (leading, n), x.dtype))
    for _ in range(_ROUNDS):
        found = without_top(jnp.linalg.qr(linalg.matmul(found, a).T)[0].T)
    moved = without_top(linalg.matmul(found, a))
    onto = linalg.matmul(moved, found.T)
    ritz, turn = jnp.linalg.eigh((onto + onto.T) / 2)
    found, moved = linalg.matmul(turn.T, found), linalg.matmul(turn.T, moved)
    # A vector that has not converged is left to the probes: as part of both it would be counted wrongly.
    sure = jnp.linalg.norm(moved - ritz[:, None] * found, axis=1) < _CONVERGED * jnp.abs(ritz)
    found = found * sure[:, None]

    def rest(v):
        v = without_top(v)
        return v - linalg.matmul(linalg.matmul(v, found.T), found)

    start = rest(jax.random.rademacher(of_probes, (probes, n), x.dtype))
    length = jnp.linalg.norm(start, axis=1)
    start = start / jnp.where(length > 0, length, 1)[:, None]

    def step(state, j):
        basis, v = state  # (steps, probes, n), (probes, n)
        basis = basis.at[j].set(v)
        w = rest(linalg.matmul(v, a))
        diagonal = jnp.sum(w * v, 1)
        for _ in range(2):  # against all earlier vectors, twice: once leaves rounding that grows
            w = w - jnp.einsum("mp,mpn->pn", jnp.einsum("mpn,pn->mp", basis, w), basis)
        beside = jnp.linalg.norm(w, axis=1)
        # The directions that a probe sees may run out: what follows is rounding, and must not be made large.
        more = beside > n**0.5 * jnp.finfo(x.dtype).eps
        beside = jnp.where(more, beside, 0)
        return (basis, jnp.where(more[:, None], w / jnp.where(more, beside, 1)[:, None], 0)), (diagonal, beside)

    empty = jnp.zeros((steps, probes, n), x.dtype)
    _, (diagonal, beside) = lax.scan(step, (empty, start), jnp.arange(steps))
    tridiagonal = jax.vmap(lambda d, b: jnp.diag(d) + jnp.diag(b[:-1], 1) + jnp.diag(b[:-1], -1))
    values, vectors = jnp.linalg.eigh(tridiagonal(diagonal.T, beside.T))
    weights = (n - 1 - sure.sum()) * vectors[:, 0] ** 2  # a probe sees shares; the rest has so many values

    def terms(values):
        size = magnitudes(values, sigma.ndim == 0)
        zero = size <= 0
        powers = jnp.where(zero, jnp.where(t > 0, 0.0, 1.0), jnp.where(zero, 1, size) ** t)
        return powers, powers * jnp.log2(jnp.where(powers > 0, powers, 1))

    parabola = _parabola(values, weights, *_traces(a, top, found, moved, ritz, sure))
    powers, logs = (jnp.sum(jnp.where(sure, f, 0)) for f in terms(ritz))
    known = [1 + powers, logs]  # the eigenvalue 1 adds 1, and no logarithm
    sums, of_logs = (f + parabola(g) for f, g in zip(known, terms(values), strict=True))

    def entropy(s, e):
        return jnp.log2(s) - e / s

    bits = entropy(sums.mean(), of_logs.mean())
    without = entropy(*((f.sum() - f) / (probes - 1) for f in (sums, of_logs)))
    error = jnp.sqrt((probes - 1) * jnp.mean((without - without.mean()) ** 2))
    return bits, error


def _traces(a, top, found, moved, ritz, sure):
    """Sums of the eigenvalues that are left to the probes and of their squares, and what rounding adds to each."""
    # Entry by entry without the eigenvalue 1, beside which the squares of all others may be nothing.
    diagonal = jnp.sum(jnp.diagonal(a) - top**2)
    square = jnp.sum(jnp.sum((a - top[:, None] * top[None]) ** 2, 1))
    ritz = jnp.where(sure, ritz, 0)
    # With A q = r q + e for each q in `found`, taking them out takes 2 |A q|^2 - r^2 from the sum of squares.
    gone = jnp.sum(2 * jnp.where(sure, jnp.sum(moved**2, 1), 0) - ritz**2)
    eps = 8 * jnp.finfo(a.dtype).eps
    return diagonal - ritz.sum(), square - gone, eps * (diagonal + jnp.abs(ritz).sum()), eps * (square + gone)


def _parabola(values, weights, total, squares, error, error_of_squares):
    """Sums by the probes (m, s), each corrected by the best parabola: its sum over all eigenvalues is known exactly.

    Slopes are from all probes at once; the polynomials are orthogonal, so that a narrow spectrum costs no digits.
    """
    unit = linalg.scale_of(values)
    u, share = values / unit, weights / weights.sum()
    count = weights.sum(1).mean()

    def mean(f):
        return jnp.sum(share * f)

    centre = mean(u)
    line = u - centre
    spread = mean(line**2)
    tilt = mean(line * u**2) / jnp.where(spread > 0, spread, 1)
    level = mean(u**2)
    bend = u**2 - level - tilt * line
    exact_line = total / unit - count * centre
    exact_bend = squares / unit**2 - count * level - tilt * exact_line
    rounding = error / unit, error_of_squares / unit**2 + jnp.abs(tilt) * error / unit

    def corrected(f):
        sums = jnp.sum(weights * f, 1)
        for shape, exact, off in zip((line, bend), (exact_line, exact_bend), rounding, strict=True):
            of_probes = jnp.sum(weights * shape, 1)
            size = mean(shape**2)
            # A sum that rounding blurs by more than the probes do corrects nothing.
            worth = (size > 0) & (off < jnp.std(of_probes) / len(weights) ** 0.5)
            slope = mean(shape * f) / jnp.where(size > 0, size, 1)
            sums = sums + jnp.where(worth, slope * (exact - of_probes), 0)
        return sums

    return corrected
