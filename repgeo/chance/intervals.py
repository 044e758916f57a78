"""How far a number would move with other samples or seeds."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks
from repgeo.chance.pairings import Measure, bare, plain, recorded, scores, whole


def jackknife_interval(measure: Measure, x, y, *, key: Array, blocks: int = 20, level: float = 0.95,
                       batch: int = 8, **options: Any) -> tuple[Array, Array]:
    """Interval (low, high) for the measure over samples of this size, by leaving out one block at a time.

    The delete-a-group jackknife (Kott 2001): rows are dealt at random into `blocks` equal blocks, the
    spread of the values without each block gives the standard error, Student's t with blocks - 1 degrees
    the width. The centre is the value on all rows; ends are cut at the range that the measure's record
    declares. No row is ever doubled, so Gram and neighbour statistics are safe. `key` deals the rows
    because files are often sorted by class: blocks in order would leave out whole classes, interleaved ones
    would hide the spread between them. The n % blocks rows that are left over are out of every replicate.
    Rows must be independent samples. Fails for statistics that jump (quantiles, small k in k-nearest
    neighbours with few blocks) and near the null of a quadratic statistic, where the true distribution is
    not normal: use `permutation_test` there.

    Cost: blocks + 1 evaluations. Raises ValueError for blocks outside [2, n], level outside (0, 1), and an
    undefined measure.

    >>> x = jax.random.normal(jax.random.key(0), (200, 1))
    >>> low, high = jackknife_interval(lambda a, b: (a * b).mean(), x, x, key=jax.random.key(1))
    >>> bool(low < (x * x).mean() < high)
    True
    """
    from scipy.stats import t

    x, y = checks.paired(x, y)
    tail = _tail(level)
    blocks = checks.count(blocks, "blocks", low=2, high=len(x), why="every block needs a row")
    rows = _without_blocks(key, n=len(x), blocks=blocks)
    kept = _resampled(measure, x, y, rows, batch, options)
    centre = whole(measure, x, y, options)
    kept = checks.defined(kept, "the measure is not finite when a block of rows is left out")
    low, high = _around(centre, kept, float(t.ppf(1 - tail, blocks - 1)) * (blocks - 1) ** 0.5)
    return _in_range(measure, options, centre, low, high)


def subsample_interval(measure: Measure, x, y=None, *, key: Array, rounds: int = 200, size: int | None = None,
                       level: float = 0.95, batch: int = 8, **options: Any) -> tuple[Array, Array]:
    """Interval (low, high) for the measure over samples of this size, from subsamples without replacement.

    Without y, `measure` is any statistic of x alone, which may then have more than two axes: samples are along the
    first. No row comes twice, so neighbours, effective ranks and intrinsic dimensions are safe: copies of a row would
    be neighbours at distance 0, and a sample drawn with replacement spans fewer directions.

    Politis and Romano (1994): the spread at `size` rows stands for the spread at n after scaling.
    Subsamples of one data set share rows, so theirs is too small by the finite-population factor 1 -
    size/n; with both corrections deviations are multiplied by sqrt(size / (n - size)), which is 1 for the
    default size n // 2 (half-sampling). Deviations are taken from the subsamples' own mean: what `size`
    does to the bias of a biased measure is not taken for spread, and is not corrected either. The quantiles
    are turned around the value on all rows (basic interval), so a skewed spread is followed; ends are cut
    at the declared range. Assumes errors that shrink as 1/sqrt(n): too narrow near the null of a quadratic
    statistic.

    Cost: rounds + 1 evaluations. Raises ValueError for size outside [2, n - 1], fewer than 20 rounds, level
    outside (0, 1), and an undefined measure.

    >>> import jax.numpy as jnp
    >>> x = jax.random.normal(jax.random.key(0), (200, 1))
    >>> low, high = subsample_interval(lambda a, b: (a * b).mean(), x, x, key=jax.random.key(1))
    >>> bool(low < (x * x).mean() < high)
    True
    >>> low, high = subsample_interval(jnp.std, x, key=jax.random.key(1))
    >>> bool(low < 1 < high)
    True
    """
    if y is None:
        x, y, measure = _alone(measure, x)
    else:
        x, y = checks.paired(x, y, at_least=4)
    tail, n = _tail(level), len(x)
    rounds = checks.count(rounds, "rounds", low=20, high=1_000_000, why="quantiles need them")
    size = checks.count(n // 2 if size is None else size, "size", low=2, high=n - 1)
    rows = _subsets(key, rounds=rounds, n=n, size=size)
    parts = _resampled(measure, x, y, rows, batch, options)
    parts = checks.defined(parts, "the measure is not finite on a subsample of the rows")
    centre = whole(measure, x, y, options)
    scaled = (parts - parts.mean()) * np.sqrt(size / (n - size))
    down, up = jnp.quantile(scaled, jnp.asarray([tail, 1 - tail]))
    return _in_range(measure, options, centre, centre - up, centre - down)


def bootstrap_interval(measure: Measure, x, y, *, key: Array, rounds: int = 200, level: float = 0.95,
                       batch: int = 8, **options: Any) -> tuple[Array, Array]:
    """Interval (low, high) for a measure that averages over rows, by drawing rows with replacement.

    Efron (1979), percentile interval. Only for measures to which a row that comes twice is just a row of
    weight two. Gram and neighbour statistics are not of that kind: a row and its copy are perfectly alike,
    so resampling creates structure that is not there: the debiased CKA of independent data averages about
    p / (n + p) instead of 0.

    Cost: rounds + 1 evaluations. Raises ValueError for a measure whose record says `duplicates_safe=False`,
    for any measure whose own value falls outside its resampled values' interval (the sign of the same
    fault), for fewer than 20 rounds, level outside (0, 1), and an undefined measure.

    >>> x = jax.random.normal(jax.random.key(0), (200, 1))
    >>> low, high = bootstrap_interval(lambda a, b: (a * b).mean(), x, x, key=jax.random.key(1))
    >>> bool(low < (x * x).mean() < high)
    True
    """
    name = getattr(bare(measure), "__name__", "this measure")
    advice = "use jackknife_interval or subsample_interval, which never repeat a row, or permutation_test"
    if recorded(measure, "duplicates_safe", True) is False:
        raise ValueError(f"measure: {name} compares rows with each other, and a row drawn twice is perfectly "
                         "like its copy: resampled debiased CKA of independent data averages about "
                         f"p / (n + p) instead of 0; {advice}")
    x, y = checks.paired(x, y)
    tail = _tail(level)
    rounds = checks.count(rounds, "rounds", low=20, high=1_000_000, why="quantiles need them")
    rows = jax.random.randint(key, (rounds, len(x)), 0, len(x))
    resampled = _resampled(measure, x, y, rows, batch, options)
    resampled = checks.defined(resampled, "the measure is not finite on rows drawn with replacement")
    centre = whole(measure, x, y, options)
    low, high = jnp.quantile(resampled, jnp.asarray([tail, 1 - tail]))
    if checks.is_concrete(centre) and not low <= centre <= high:
        raise ValueError(f"measure: {name} is {centre:.3g} on all rows, but its resampled values lie in "
                         f"[{low:.3g}, {high:.3g}]: repeated rows bias it; {advice}")
    return _in_range(measure, options, centre, low, high)


def mean_interval(values, *, level: float = 0.95) -> tuple[Any, Any]:
    """Interval (low, high) for the mean of repeated runs, by Student's t; `values` is (runs, ...).

    Two floats for one number a run, two arrays of shape `values.shape[1:]` else. The runs must be
    independent (seeds); five layers of one network are one run. Raises ValueError for fewer than two runs,
    values that are not finite, or a level outside (0, 1).

    >>> low, high = mean_interval([0.90, 0.92, 0.91, 0.93])
    >>> round(low, 3), round(high, 3)
    (0.894, 0.936)
    """
    from scipy.stats import t

    try:
        runs = np.asarray(values)
    except ValueError as ragged:
        raise ValueError(f"values: expected runs of one shape; got {ragged}") from None
    if not (runs.dtype.kind in "fiub" or jnp.issubdtype(runs.dtype, jnp.floating)):
        raise TypeError(f"values: expected real numbers; got dtype {runs.dtype}")
    runs = runs.astype(float)
    if runs.ndim < 1 or len(runs) < 2:
        raise ValueError(f"values: expected at least 2 runs along the first axis, got shape {runs.shape}")
    if not np.isfinite(runs).all():
        bad = np.count_nonzero(~np.isfinite(runs))
        raise ValueError(f"values: expected finite numbers, got {bad} NaN or inf")
    mean = runs.mean(0)
    reach = t.ppf(1 - _tail(level), len(runs) - 1) * runs.std(0, ddof=1) / np.sqrt(len(runs))
    low, high = mean - reach, mean + reach
    return (float(low), float(high)) if runs.ndim == 1 else (low, high)


def proportion_interval(hits: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) within [0, 1] for a success rate, from independent trials.

    Wilson's score form (1927). Holds its level with few trials and at 0 or all hits, where the textbook
    interval has no width. Trials that share a network are not independent: count networks, or use
    `mean_interval` over them. Raises TypeError for counts that are not integers, ValueError for hits
    outside [0, trials] or a level outside (0, 1).

    >>> low, high = proportion_interval(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    from scipy.stats import norm

    trials = checks.count(trials, "trials", low=1, high=2**53)
    hits = checks.count(hits, "hits", low=0, high=trials)
    z2 = float(norm.ppf(1 - _tail(level))) ** 2
    rate = hits / trials
    middle = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    reach = np.sqrt(z2 * (rate * (1 - rate) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return float(max(0.0, min(middle - reach, rate))), float(min(1.0, max(middle + reach, rate)))


@dataclass(frozen=True)
class _Alone:
    """A statistic of x as a measure of x and y: equal ones are equal, so that they share a compiled program."""

    statistic: Measure

    def __call__(self, x, y, **options):
        return self.statistic(x, **options)

    @property
    def record(self):
        return getattr(bare(self.statistic), "record", None)


def _alone(measure: Measure, x) -> tuple[Array, Array, Measure]:
    """The x checked, a y that nothing reads, and the statistic as a measure of both."""
    x = checks.floats(x, "x")
    if x.ndim < 2:
        raise ValueError(f"x: expected samples along the first axis and features; got shape {x.shape}")
    flat = checks.matrix(x.reshape(len(x), -1), "x", at_least=4)
    statistic, options = plain(measure, {})
    return x, flat[:, :1], partial(_Alone(statistic), **options) if options else _Alone(statistic)


def _resampled(measure: Measure, x: Array, y: Array, rows: Array, batch: int, options: dict) -> Array:
    return scores(measure, [x], [y], rows, both=True, batch=batch, options=options)[:, 0, 0]


@partial(jax.jit, static_argnames=("n", "blocks"))
def _without_blocks(key: Array, *, n: int, blocks: int) -> Array:
    """The rows that remain without each of the blocks that range(n) is dealt into: (blocks, kept rows)."""
    dealt = jax.random.permutation(key, n)[: n // blocks * blocks].reshape(blocks, -1)
    others = (np.arange(blocks)[:, None] + np.arange(1, blocks)) % blocks  # row i: every block but i
    return dealt[others].reshape(blocks, -1)


def _subsets(key: Array, *, rounds: int, n: int, size: int) -> Array:
    """Rows of random subsets of range(n): (rounds, size).

    Random numbers that carry a row in their low bits are sorted, at a third of the cost of a shuffle. NumPy sorts
    what is concrete: the same order, in a twentieth of XLA's time on a CPU.
    """
    tickets = _tickets(key, rounds=rounds, n=n)
    tickets = np.sort(tickets, axis=1) if checks.is_concrete(tickets) else jnp.sort(tickets, axis=1)
    return jnp.asarray((tickets[:, :size] & (2 ** (n - 1).bit_length() - 1)).astype(np.int32))


@partial(jax.jit, static_argnames=("rounds", "n"))
def _tickets(key: Array, *, rounds: int, n: int) -> Array:
    """Random numbers (rounds, n) with a row of range(n) in the low bits of each.

    Rows are numbered from a random one on, so that equal numbers favour none.
    """
    width = (n - 1).bit_length()
    first, other = jax.random.split(key)
    row = (jnp.arange(n)[None] + jax.random.randint(first, (rounds, 1), 0, n)) % n
    return jax.random.bits(other, (rounds, n), jnp.uint32) >> width << width | row.astype(jnp.uint32)


def _tail(level: float) -> float:
    if checks.real(level, "level", low=0, high=1, open_low=True) == 1:
        raise ValueError("level: expected a number in (0, 1), got 1")
    return (1 - level) / 2


@jax.jit
def _around(centre: Array, kept: Array, spreads: float) -> tuple[Array, Array]:
    """The centre less and plus so many spreads of `kept`."""
    reach = kept.std() * spreads
    return centre - reach, centre + reach


def _in_range(measure: Measure, options: dict, centre: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """The interval cut at the measure's range, which its record gives for default options only."""
    default = not (options or isinstance(measure, partial))
    floor, ceiling = (default and recorded(measure, "range", None)) or (-np.inf, np.inf)
    return _cut(centre, low, high, floor, ceiling)


@jax.jit
def _cut(centre: Array, low: Array, high: Array, floor: float, ceiling: float) -> tuple[Array, Array]:
    return jnp.minimum(jnp.maximum(low, floor), centre), jnp.maximum(jnp.minimum(high, ceiling), centre)
