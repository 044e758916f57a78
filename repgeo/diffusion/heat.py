"""How far is it along the data? Distances from how heat, or a walk, spreads over the rows; and when to stop it."""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.diffusion.entropy import entropy_bits, spectrum_of_walk, walk_named
from repgeo.diffusion.operator import one_width, symmetric_walk, width

_DEGREE = 6  # of the series of one small step: its remainder is 6e-15 for a step of 1/32


def heat_kernel(x: Array, *, sigma: Array | float, t: float, alpha: float = 1.0) -> Array:
    """Heat kernel (n, n) of x (n, p): exp(-t (I - P)) of the walk P, where heat from row i is after t steps on average.

    Rows sum to 1, no entry is negative. t > 0 a plain number; a step of the walk at one width sigma is sigma^2 / 2 of
    time in the heat equation. Summed as positive terms and squared, never from eigenvectors, so that tiny entries
    keep their digits down to where they underflow. `sigma` as `dse`; alpha as `diffusion_operator`, of which 1 gives
    the Laplace-Beltrami operator in the limit. O(n^3 (11 + log2 t)). Errors as `diffusion_operator`, ValueError for
    t <= 0, TypeError for a traced one.

    >>> import jax.numpy as jnp
    >>> [f"{h:.2f}" for h in heat_kernel(jnp.array([[0.0], [0.0], [9.0]]), sigma=1.0, t=1.0)[0]]
    ['0.68', '0.32', '0.00']
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    sigma, alpha = width(sigma, x), checks.real(alpha, "alpha", low=0, high=1)
    t = _plain(t)
    return _heat(x, sigma, t, alpha, _halvings(t))


def heat_geodesic(x: Array, *, sigma: float, t: float, alpha: float = 1.0) -> Array:
    """Heat-geodesic distances (n, n) of x (n, p), in units of x: sigma sqrt(-2 t ln(h_ij / sqrt(h_ii h_jj))).

    Varadhan's formula for the heat kernel h at time t sigma^2 / 2, with the heat left at both ends divided out, which
    in a flat space makes it exact at any time. It is right for rows that are joined by steps of about sigma and lie
    less than about t sigma apart: beyond, a walk has no time to get there in small steps and takes large ones, across
    gaps, which shortens distances. More time also smooths: corners are cut, noise is forgotten. Rows that no heat
    reaches in this precision are at distance infinity. `sigma` > 0 one number, t > 0; alpha, cost and other errors as
    `heat_kernel`. Source: Varadhan 1967; Huguet et al. 2023, with such a volume term.

    >>> import jax.numpy as jnp
    >>> angle = jnp.arange(100) * 2 * jnp.pi / 100
    >>> ring = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    >>> found = heat_geodesic(ring, sigma=0.1, t=50.0)[0]
    >>> print(f"a quarter is {found[25]:.2f} long, and straight through {jnp.linalg.norm(ring[0] - ring[25]):.2f}")
    a quarter is 1.57 long, and straight through 1.41
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    sigma = one_width(sigma, x, "a distance in units of x needs one")
    alpha, t = checks.real(alpha, "alpha", low=0, high=1), _plain(t)
    return _geodesic(x, sigma, t, alpha, _halvings(t))


def potential_distance(x: Array, *, sigma: Array | float, t: int, alpha: float = 1.0) -> Array:
    """Potential distances (n, n) of x (n, p): between rows of ln P^t, the log chances after t steps.

    t >= 1 an integer. No unit. What PHATE embeds: logarithms let rare arrivals count, so that distances far along the
    data still grow where `diffusion_distance` no longer does. Probabilities below the smallest number of the dtype
    count as that. `sigma`, alpha and errors as `diffusion_operator`; O(n^3 log2 t). Source: Moon et al. 2019, there
    with its own adaptive kernel.

    >>> import jax.numpy as jnp
    >>> x = jnp.linspace(0, 1, 50)[:, None]
    >>> far = potential_distance(x, sigma=0.1, t=8)
    >>> bool((jnp.diff(far[0]) > 0).all())
    True
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    sigma, alpha = width(sigma, x), checks.real(alpha, "alpha", low=0, high=1)
    return _potential(x, sigma, checks.count(t, "t", low=1, high=2**20), alpha)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EntropyKnee:
    """Where the entropy of a walk stops falling fast: t (), and bits (t_max,) at t = 1, 2, ..., t_max; a pytree."""

    t: Array
    bits: Array


def phate_entropy_knee(
    x: Array, *, sigma: Array | float, t_max: int = 100, operator: str = "anisotropic"
) -> EntropyKnee:
    """The time t at which the entropy of the walk's spectrum, as a curve over t = 1, ..., t_max, has its knee.

    The split of the curve into two straight lines, both holding the point t, with the least sum of squares: before it
    noise is forgotten, after it structure. A convention and no optimum: it depends on t_max, and every curve has a
    knee. t_max >= 5; `sigma`, `operator`, cost and errors as `dse`. Source: the choice of t in PHATE, Moon et al. 2019,
    which takes the logarithm to base e; the knee is the same.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (100, 2))
    >>> found = phate_entropy_knee(x, sigma=0.5)
    >>> 1 < int(found.t) < 100, found.bits.shape
    (True, (100,))
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    t_max = checks.count(t_max, "t_max", low=5, high=100_000, why="two lines need five points")
    return EntropyKnee(*_knee(spectrum_of_walk(x, width(sigma, x), walk_named(operator)), t_max))


def _plain(t) -> float:
    if not checks.is_concrete(t):
        raise TypeError("t: expected a plain number, as it decides how often to square; got a traced one")
    return checks.real(t, "t", low=0, high=1e6, open_low=True)


def _halvings(t: float) -> int:
    return max(0, math.ceil(math.log2(32 * t)))


def _symmetric_heat(symmetric: Array, t, halvings: int) -> Array:
    """exp(-t (I - a)) of a symmetric a that has no negative entry, every entry to nearly full relative precision."""
    one = jnp.eye(len(symmetric), dtype=symmetric.dtype)
    step = symmetric * (t / 2**halvings)
    total = one + step / _DEGREE
    for i in range(_DEGREE - 1, 0, -1):
        total = one + linalg.matmul(step, total) / i
    total = total * jnp.exp(-t / 2**halvings)
    return lax.fori_loop(0, halvings, lambda _, h: linalg.matmul(h, h), total)


@partial(jax.jit, static_argnames="halvings")
def _heat(x, sigma, t, alpha, halvings):
    symmetric, root = symmetric_walk(x, sigma, alpha)
    return _symmetric_heat(symmetric, t, halvings) * root[None] / root[:, None]


@partial(jax.jit, static_argnames="halvings")
def _geodesic(x, sigma, t, alpha, halvings):
    heat = _symmetric_heat(symmetric_walk(x, sigma, alpha)[0], t, halvings)
    heat = (heat + heat.T) / 2
    logs = jnp.log(heat)
    left = jnp.diagonal(logs) / 2
    square = jnp.where(jnp.eye(len(x), dtype=bool), 0, left[:, None] + left[None] - logs)
    return sigma * linalg.safe_sqrt(2 * t * square)


@partial(jax.jit, static_argnames="t")
def _potential(x, sigma, t, alpha):
    power, root = symmetric_walk(x, sigma, alpha)
    total = None
    while t:  # by the bits of t
        if t % 2:
            total = power if total is None else linalg.matmul(total, power)
        t //= 2
        power = linalg.matmul(power, power) if t else power
    chances = total * root[None] / root[:, None]
    logs = jnp.log(jnp.maximum(chances, jnp.finfo(x.dtype).tiny))
    return linalg.safe_sqrt(linalg.sq_distances(logs))


@partial(jax.jit, static_argnames="t_max")
def _knee(values, t_max):
    times = jnp.arange(1, t_max + 1, dtype=values.dtype)
    bits = lax.map(lambda t: entropy_bits(values, t), times)

    def misfit(part):  # of a straight line through the points in part
        count = part.sum()
        a, b = ((v - jnp.sum(jnp.where(part, v, 0)) / count) * part for v in (times, bits))
        return jnp.sum((b - a * jnp.sum(a * b) / jnp.sum(a * a)) ** 2)

    splits = times[1:-1]
    costs = jax.vmap(lambda at: misfit(times <= at) + misfit(times >= at))(splits)
    return splits[jnp.argmin(costs)], bits
