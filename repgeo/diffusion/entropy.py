"""How spread out is a representation? Diffusion spectral entropy: bits in the spectrum of a random walk over its rows.

Eigenvalues of the walk near 1 belong to groups that it hardly leaves, and after t steps nothing else is left: the
entropy counts groups, or dimensions, at the scale sigma. It is at most log2 n and grows with n, so a value is only
comparable with values at the same n, sigma and t; the result therefore carries them.
"""

import math
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.diffusion.operator import OPERATORS, symmetric_walk, width

_LIFT = 2.220446049250313e-16  # what the official code adds to each share before its logarithm
_CURVE_BYTES = 2**30  # of what several widths of a curve hold at a time


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiffusionEntropy:
    """Diffusion spectral entropy in bits, in [0, log2 n], with what it depends on; a pytree, so it vmaps.

    bits (), or (s, t) as a curve over s widths and t times; sigma and t as they were used; error: the estimated
    standard error of bits, 0 where they are exact; n rows, the operator by name.
    """

    bits: Array
    sigma: Array
    t: Array
    error: Array
    n: int = field(metadata={"static": True})
    operator: str = field(metadata={"static": True})

    @property
    def log2_n(self) -> float:
        """The largest possible value: that of n rows of which none is near another."""
        return math.log2(self.n)

    @property
    def share(self) -> Array:
        """The value over log2 n, in [0, 1]."""
        return self.bits / self.log2_n


def dse(x: Array, *, sigma: Array | float, t: Array | float = 1.0, operator: str = "official") -> DiffusionEntropy:
    """Diffusion spectral entropy of x (n, p), n >= 2: bits of the shares |l|^t / sum |l|^t of a walk's eigenvalues l.

    sigma > 0 in units of x, or (n,), one for each row: there is no default, since with a width far above the
    distances the value is 0 and far below it is log2 n. `t` >= 0 steps: 0 gives log2 n whatever x is. `operator`:
    "official" or "anisotropic" (see `OPERATORS`); the values differ by up to a fifth, and by more where few bits are
    left. k groups that are tight and far apart beside sigma give log2 k; copies of a row are one place of more weight;
    rows that are all the same give 0; an isolated row is a group. Unchanged by shift and rotation.

    All eigenvalues are computed, without vectors: O(n^3), about two n x n arrays. In float32 rounding may add 1e-3
    bits where nearly all shares are 0. The gradient with respect to x, sigma and t is that of the source's formula;
    it needs vectors, at some ten times the cost. ValueError for sigma <= 0, t < 0 and as `checks.matrix`.
    Source: Liao et al. 2023, with the 2.2e-16 that its code adds to each share.

    >>> import jax.numpy as jnp
    >>> x = jnp.repeat(jnp.array([[0.0], [50.0], [100.0], [150.0]]), 5, axis=0)
    >>> found = dse(x, sigma=1.0)
    >>> print(f"{found.bits:.3f} of at most {found.log2_n:.3f} bits")
    2.000 of at most 4.322 bits
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    sigma, t, alpha = width(sigma, x), duration(t, x), walk_named(operator)
    values = spectrum_of_walk(x, sigma, alpha)
    return DiffusionEntropy(_entropy(values, t), sigma, t, jnp.zeros_like(t), len(x), operator)


def dse_curve(x: Array, *, sigmas: Array, ts: Array, operator: str = "official") -> DiffusionEntropy:
    """Diffusion spectral entropy (s, t) in bits of x (n, p) for s widths and t times: one decomposition for each width.

    sigmas (s,) > 0 and ts (t,) >= 0; all else as `dse`, s times the cost of one. On a CPU widths run side by side, as
    many as there are cores and as fit into a GiB.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [0.1], [9.0], [9.1]])
    >>> found = dse_curve(x, sigmas=[0.001, 1.0, 1000.0], ts=[1, 4])
    >>> [[f"{bits:.2f}" for bits in row] for row in found.bits]
    [['2.00', '2.00'], ['1.03', '1.00'], ['0.00', '0.00']]
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    alpha = walk_named(operator)
    sigmas, ts = (_list_of(a, name, x) for a, name in ((sigmas, "sigmas"), (ts, "ts")))
    for value in np.asarray(sigmas) if checks.is_concrete(sigmas) else ():
        checks.real(value, "sigmas", low=0, open_low=True)
    for value in np.asarray(ts) if checks.is_concrete(ts) else ():
        checks.real(value, "ts", low=0)
    if linalg.on_host(x, sigmas, ts):
        most = max(1, _CURVE_BYTES // (2 * len(x) ** 2 * x.dtype.itemsize))
        widths = (partial(_over_times, x, sigma, ts, alpha) for sigma in sigmas)
        bits = jnp.stack(linalg.side_by_side(widths, most=most))
    else:
        bits = lax.map(lambda sigma: _over_times(x, sigma, ts, alpha), sigmas)
    return DiffusionEntropy(bits, sigmas, ts, jnp.zeros_like(bits), len(x), operator)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Subsampled:
    """Mean entropy of disjoint random subsets, its interval, and the entropy of each; a pytree.

    bits, low, high () and each (r,) for r subsets of size rows; sigma and t as they were used.
    """

    bits: Array
    low: Array
    high: Array
    each: Array
    sigma: Array
    t: Array
    size: int = field(metadata={"static": True})
    operator: str = field(metadata={"static": True})

    @property
    def log2_n(self) -> float:
        """The largest possible value at this size."""
        return math.log2(self.size)

    @property
    def share(self) -> Array:
        """The value over log2 of the size of a subset, in [0, 1]."""
        return self.bits / self.log2_n


def dse_by_subsamples(
    x: Array, *, sigma: float, t: float = 1.0, size: int, key: Array, operator: str = "official", level: float = 0.95
) -> Subsampled:
    """Mean diffusion spectral entropy in bits of disjoint random subsets of `size` rows, with Student's interval.

    x (n, p); n // size subsets, at least two, of 2 <= size rows; one `sigma` for all. It estimates the entropy at
    `size` rows, *not* at n: entropy grows with the number of rows, so the value lies below that of all rows, by up to
    log2(n / size) bits where no row is near another, and by little once every group of the data holds many rows of a
    subset. Compare values of one size only. The interval is for the mean over draws of `size` rows of the population;
    rows must be independent. O(n size^2). ValueError as `dse`, for a size outside [2, n // 2] and a level outside
    (0, 1).

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (400, 2))
    >>> found = dse_by_subsamples(x, sigma=0.5, size=100, key=jax.random.key(1))
    >>> bool(found.low < found.bits < found.high), len(found.each)
    (True, 4)
    """
    from scipy.stats import t as student

    x = checks.matrix(x, "x", at_least=4, may_be_constant=True)
    alpha, t = walk_named(operator), duration(t, x)
    sigma = jnp.asarray(checks.real(sigma, "sigma", low=0, open_low=True), x.dtype)
    size = checks.count(size, "size", low=2, high=len(x) // 2, why="at least two subsets")
    if checks.real(level, "level", low=0, high=1, open_low=True) == 1:
        raise ValueError("level: expected a number in (0, 1); got 1")
    parts = len(x) // size
    each = _each(x, sigma, t, key, alpha, size)
    reach = float(student.ppf((1 + level) / 2, parts - 1)) * each.std(ddof=1) / parts**0.5
    mean = each.mean()
    return Subsampled(mean, mean - reach, mean + reach, each, sigma, t, size, operator)


def magnitudes(values: Array, definite: bool) -> Array:
    """|l| of eigenvalues; of a kernel that is positive definite a negative one is rounding, and is 0."""
    return jnp.maximum(values, 0) if definite else jnp.abs(values)


def entropy_bits(magnitudes: Array, t: Array, kept: Array | None = None) -> Array:
    """Bits of the shares of magnitudes^t (n,), of those that are `kept` alone; the gradient at 0 is 0."""
    zero = magnitudes <= 0
    powers = jnp.where(zero, jnp.where(t > 0, 0.0, 1.0), jnp.where(zero, 1, magnitudes) ** t)
    if kept is not None:
        powers = jnp.where(kept, powers, 0)
    shares = powers / jnp.sum(powers) + _LIFT
    terms = shares * jnp.log2(shares)
    return -jnp.sum(terms if kept is None else jnp.where(kept, terms, 0))


def walk_named(operator) -> float:
    """The power alpha of a walk by its name, or an error."""
    return OPERATORS[checks.choice(operator, "operator", tuple(OPERATORS))]


def duration(t, x: Array) -> Array:
    """`t` >= 0 as an array () in the dtype of x, or an error."""
    if np.ndim(t):
        raise ValueError(f"t: expected one number; got shape {np.shape(t)}")
    return jnp.asarray(checks.real(t, "t", low=0), x.dtype)


def _list_of(a, name, x):
    a = checks.floats(a, name)
    if a.ndim != 1 or not len(a):
        raise ValueError(f"{name}: expected a list of numbers; got shape {a.shape}")
    return a.astype(x.dtype)


def spectrum_of_walk(x: Array, sigma: Array, alpha: Array | float) -> Array:
    """Magnitudes (n,) of the eigenvalues of the walk over the rows of x."""
    return magnitudes(linalg.eigenvalues(symmetric_walk(x, sigma, alpha)[0]), sigma.ndim == 0)


_entropy = jax.jit(entropy_bits)


@jax.jit
def _over_times(x, sigma, ts, alpha):
    values = spectrum_of_walk(x, sigma, alpha)
    return jax.vmap(lambda t: entropy_bits(values, t))(ts)


@partial(jax.jit, static_argnames="size")
def _each(x, sigma, t, key, alpha, size):
    parts = len(x) // size
    rows = jax.random.permutation(key, len(x))[: parts * size].reshape(parts, size)
    return lax.map(lambda r: entropy_bits(spectrum_of_walk(x[r], sigma, alpha), t), rows)
