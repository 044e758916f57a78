"""Dimension from ratios of neighbour distances over the whole sample: TwoNN, and Gride at growing scales."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks
from repgeo.dimension.local import log_ratio
from repgeo.neighbors import Neighborhoods, within

_LEVEL = "too few places are kept, or at all of them the two neighbours are equally far, which no dimension explains"
_RANKS = (1, 2, 4, 8, 16, 32, 64)
_STEPS = 60  # of Newton's method, which climbs to the root from below: far more than it takes


def twonn(x: Array | Neighborhoods, *, method: str = "fit", discard: float | None = None) -> Array:
    """TwoNN: the dimension d under which the ratios mu = r_2 / r_1 of neighbour distances follow 1 - mu^-d.

    x (n, p) with at least 3 places, or its neighbourhoods. `method="fit"`, as the source: the slope through 0 of
    -ln(1 - i / N) on the i-th smallest ln mu, without the `discard` = .1 largest; "mle": (N - 1) / sum ln mu, and with
    `discard` > 0 the ratios above are censored, not dropped. N counts places: copies of a row count once. Needs no flat
    density beyond the second neighbour, so it is the most local estimate and the most sensitive to noise; its error is
    about d / sqrt(N), and for d above 10 or so it falls short. Cost as `neighborhoods` with k = 2. Differentiable while
    no neighbour changes. ValueError as `neighborhoods`, and where nothing is kept or every mu is 1; NaN under a trace.
    Source: Facco et al. 2017; the likelihood, Denti et al. 2022.

    >>> import jax
    >>> x = jax.random.uniform(jax.random.key(1), (2000, 2))
    >>> print(f"{twonn(x):.2f} {twonn(x, method='mle'):.2f}")
    2.07 2.05
    """
    checks.choice(method, "method", ("fit", "mle"))
    if discard is None:
        discard = 0.1 if method == "fit" else 0.0
    discard = checks.real(discard, "discard", low=0, high=0.99, open_low=method == "fit")
    near = within(x, k=2)
    return checks.defined(_twonn(near.distances, near.first, discard, method), _LEVEL)


@partial(jax.jit, static_argnames="method")
def _twonn(distances, first, discard, method):
    logs = jnp.where(first, log_ratio(distances[:, 1], distances[:, 0]), jnp.inf)
    logs = jnp.sort(logs)  # copies come last
    n = first.sum().astype(logs.dtype)
    rank = jnp.arange(1, len(logs) + 1, dtype=logs.dtype)
    few = n * (1 - discard) * (1 + 4 * jnp.finfo(logs.dtype).eps)
    kept = (rank <= few) & (rank <= n)
    known = jnp.where(kept, logs, 0)
    if method == "fit":
        kept &= rank < n
        levels = -jnp.log1p(-jnp.where(kept, rank, 0) / n)
        top, bottom = jnp.sum(known * levels), jnp.sum(jnp.where(kept, known, 0) ** 2)
    else:
        count = kept.sum()
        last = known[count - 1]
        top, bottom = count - 1.0, jnp.sum(known) + (n - count) * last
    value = top / jnp.where(bottom > 0, bottom, jnp.nan)
    return jnp.where(kept.sum() > 1, value, jnp.nan)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gride:
    """Dimension at s growing scales; a pytree. `dimension` (s,), its standard `error` (s,), `distance` (s,): how far.

    `distance` is the mean over places and over the two neighbours that the scale compares.
    """

    dimension: Array
    error: Array
    distance: Array


def gride(x: Array | Neighborhoods, *, ranks: tuple[int, ...] = _RANKS) -> Gride:
    """Gride: the likeliest dimension (s,) given the ratios r_b / r_a of distances to the a-th and b-th neighbour.

    x (n, p) or its neighbourhoods; `ranks` are s + 1 increasing neighbour counts, of which each consecutive pair
    (a, b) is one scale: (1, 2, 4, ..., 64) by default, cut to what is below n. The pair (1, 2) is `twonn`'s likelihood
    (with N for N - 1). Where the dimension stays level over scales, it is neither noise (falling) nor curvature; the
    density must be flat up to the b-th neighbour. The error is 1 / sqrt(information), which ignores that neighbouring
    places share distances. Cost as `neighborhoods` with the largest rank. Differentiable. Errors as `twonn`.
    Source: Denti, Doimo, Laio and Mira 2022. Their package uses N - 1 and drops outlying ratios: up to 1e-3 lower.

    >>> import jax
    >>> found = gride(jax.random.uniform(jax.random.key(1), (2000, 2)), ranks=(1, 2, 4))
    >>> [f"{d:.2f} +- {e:.2f}" for d, e in zip(found.dimension, found.error)]
    ['2.05 +- 0.05', '1.98 +- 0.03']
    """
    n = len(x.distances if isinstance(x, Neighborhoods) else checks.matrix(x, "x", at_least=3))
    if ranks is _RANKS:
        most = x.distances.shape[1] if isinstance(x, Neighborhoods) else n - 1
        ranks = tuple(r for r in ranks if r <= most)
    ranks = tuple(checks.count(r, "ranks", low=1, high=n - 1, why="n - 1 other rows") for r in ranks)
    if len(ranks) < 2 or list(ranks) != sorted(set(ranks)):
        raise ValueError(f"ranks: expected two or more increasing neighbour counts; got {ranks}")
    near = within(x, k=ranks[-1])
    found = _gride(near.distances, near.first, ranks)
    checks.defined(found.dimension, _LEVEL)
    return found


@partial(jax.jit, static_argnames="ranks")
def _gride(distances, first, ranks):
    at = distances[:, np.asarray(ranks) - 1]
    n = first.sum().astype(at.dtype)
    pairs = [(ranks[i], ranks[i + 1]) for i in range(len(ranks) - 1)]
    scales = [_likeliest(log_ratio(at[:, i + 1], at[:, i]), first, n, *pair) for i, pair in enumerate(pairs)]
    dimension, error = map(jnp.stack, zip(*scales, strict=True))
    mean = jnp.sum(jnp.where(first[:, None], at, 0), 0) / n
    return Gride(dimension, error, (mean[1:] + mean[:-1]) / 2)


def _likeliest(logs, first, n, a, b):
    """Root and 1 / sqrt(information) of the likelihood of d: N + sum((b - a - 1) t / (1 - exp -t) - (b - 1) t) = 0.

    Here t = d ln mu, and logs (n,) are the ln mu. The left side falls and is convex in d, and t / (1 - exp -t) >=
    1 + t / 2, so that the root of a straight line lies below and Newton's steps climb from there. The last one is
    taken outside the stopped gradient.
    """
    logs = jnp.where(first, logs, 0)
    spread = b - a - 1
    total = logs.sum()
    total = jnp.where(total > 0, total, jnp.nan)

    def sides(d, logs):
        t = d * logs
        near = t < 1e-3
        safe = jnp.where(near, 1, t)
        part = -jnp.expm1(-safe)
        value = jnp.where(near, 1 + t / 2 + t * t / 12, safe / part)
        slope = jnp.where(near, 0.5 + t / 6, 1 / part - safe * jnp.exp(-safe) / part**2)
        count = jnp.where(first, 1, 0)
        return (
            n + jnp.sum(count * (spread * value - (b - 1) * t)),
            jnp.sum(count * logs * (spread * slope - (b - 1))),
        )

    def step(d, logs):
        value, slope = sides(d, logs)
        return d - value / slope

    fixed = lax.stop_gradient(logs)
    start = n * (b - a) / ((b - 1 - spread / 2) * lax.stop_gradient(total))
    d = step(lax.stop_gradient(lax.fori_loop(0, _STEPS, lambda _, d: step(d, fixed), start)), logs)
    return d, jnp.sqrt(d / -sides(d, fixed)[1])
