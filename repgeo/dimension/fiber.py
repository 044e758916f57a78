"""How volume grows around each sample, and whether it grows as a manifold's or a fibre bundle's can."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import betainc

from repgeo import checks
from repgeo.dimension.local import log_ratio
from repgeo.neighbors import Neighborhoods, within

_EQUALLY_FAR = "a window of a row's neighbours is equally far, which no dimension explains; try a larger window"


def volume_slopes(x: Array | Neighborhoods, *, window: int = 50, windows: int = 4) -> Array:
    """Slopes (n, windows) of the logarithm of volume against that of radius around each row, small radii first.

    x (n, p) or its neighbourhoods, windows * window + 1 <= n - 1. Volume is measured by the number of places within:
    where the density is flat in d dimensions, j ln(r_{j+1} / r_j) for j = 1, 2, ... are independent and exponential
    with mean 1 / d. So `window` of them, those of the ranks from a window's first neighbour to the next one's, give
    the slope (window - 1) / sum, without bias and with relative error 1 / sqrt(window - 2), window >= 3. A slope is a
    dimension at that radius; where it falls with the radius the sample is thin, where it rises see
    `fiber_bundle_test`. Copies of a row are one place. Cost as `neighborhoods`; differentiable while no neighbour
    changes. ValueError as `neighborhoods`, and where a window's neighbours are equally far (NaN under a trace).
    Source: the growth curve of Robinson et al. 2025; the law of the steps, Levina and Bickel 2004.

    >>> import jax
    >>> slopes = volume_slopes(jax.random.uniform(jax.random.key(1), (2000, 2)))
    >>> [f"{d:.2f}" for d in slopes.mean(0)]
    ['1.95', '1.88', '1.82', '1.81']
    """
    near = _windows(x, window, windows)
    return checks.defined((window - 1) / _sums(near.distances, window), _EQUALLY_FAR)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FiberBundleTest:
    """One test per row; a pytree of arrays (n,).

    p: its p-value, corrected for the windows tried; adjusted: the same corrected for the number of places tested, so
    that `adjusted <= level` are the rejected rows. before and after: slopes below and above the radius where the
    evidence is strongest; radius: that radius.
    """

    p: Array
    adjusted: Array
    before: Array
    after: Array
    radius: Array


def fiber_bundle_test(
    x: Array | Neighborhoods,
    *,
    window: int = 50,
    windows: int = 4,
    null: str = "fiber bundle",
    correction: str = "benjamini-hochberg",
) -> FiberBundleTest:
    """Does volume grow around a row as in no fibre bundle: by a larger power of the radius at larger radii? p-values.

    x (n, p), `window`, `windows` >= 2 as `volume_slopes`. Around a point of a fibre bundle volume grows by the
    dimensions of base and fibre at small radii and by fewer at radii larger than the fibre, so the slope may only
    fall; null="manifold" lets it neither fall nor rise. For each pair of adjacent windows the ratio of their sums is F
    distributed with 2 window degrees of freedom each when the slope is the same in a flat density, so its p-value is
    exact there and too large, which is safe, where the slope falls. The smallest over pairs is multiplied by their
    number (Bonferroni), then corrected over places: "benjamini-hochberg" (the share of false among rejected rows;
    neighbouring rows share distances, so it relies on their positive dependence) or "bonferroni" (any false
    rejection, whatever the dependence). Not rejecting says nothing. A density that rises away from a row makes slopes
    rise too: sparse rows beside dense ones, of a mixture or of a heavy tail, are rejected although nothing is singular
    there (some per cent of a Student t of 2 degrees of freedom), so compare with a control of like density. Cost and
    errors as `volume_slopes`.
    Source: Robinson et al. 2025 for both hypotheses and the curve; they compare slopes by another detector.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> cube = jax.random.uniform(jax.random.key(0), (2000, 5), minval=-1)
    >>> line = jnp.zeros((100, 5)).at[:, 0].set(jnp.linspace(-1, 1, 100))  # through the cube: 1 dimension, then 5
    >>> found = fiber_bundle_test(jnp.concatenate([line, cube]))
    >>> on_line, off_line = found.adjusted[:100] <= 0.01, found.adjusted[100:] <= 0.01
    >>> int(on_line.sum()), int(off_line.sum())
    (33, 45)
    """
    checks.choice(null, "null", ("fiber bundle", "manifold"))
    checks.choice(correction, "correction", ("benjamini-hochberg", "bonferroni"))
    checks.count(windows, "windows", low=2, high=2**31 - 1, why="adjacent ones are compared")
    near = _windows(x, window, windows)
    found = _test(near, window, null, correction)
    checks.defined(found.p, _EQUALLY_FAR)
    return found


def _windows(x, window, windows):
    window = checks.count(window, "window", low=3, high=2**31 - 1)
    windows = checks.count(windows, "windows", low=1, high=2**31 - 1)
    rows = len(x.rows if isinstance(x, Neighborhoods) else checks.matrix(x, "x"))
    if window * windows + 1 > rows - 1:
        raise ValueError(
            f"window: expected windows x window + 1 <= n - 1 = {rows - 1} neighbours; got {windows} x {window} + 1"
        )
    return within(x, k=window * windows + 1)


@partial(jax.jit, static_argnames="window")
def _sums(distances, window):
    """Sums (n, windows) of the exponential steps j ln(r_{j+1} / r_j); NaN for 0."""
    rank = jnp.arange(1, distances.shape[1], dtype=distances.dtype)
    steps = rank[None] * log_ratio(distances[:, 1:], distances[:, :-1])
    sums = steps.reshape(len(steps), -1, window).sum(2)
    return jnp.where(sums > 0, sums, jnp.nan)


@partial(jax.jit, static_argnames=("window", "null", "correction"))
def _test(near, window, null, correction):
    sums = _sums(near.distances, window)
    share = sums[:, 1:] / (sums[:, 1:] + sums[:, :-1])  # Beta(window, window) when the slopes are equal
    p = betainc(float(window), float(window), share)
    if null == "manifold":
        p = 2 * jnp.minimum(p, betainc(float(window), float(window), 1 - share))
    pairs = p.shape[1]
    at = jnp.argmin(p, 1)[:, None]
    p = jnp.minimum(1, pairs * jnp.take_along_axis(p, at, 1)[:, 0])

    def slope(at):
        return (window - 1) / jnp.take_along_axis(sums, at, 1)[:, 0]

    radius = jnp.take_along_axis(near.distances, window * (at + 1), 1)[:, 0]
    return FiberBundleTest(p, _adjusted(p, near.first, correction), slope(at), slope(at + 1), radius)


def _adjusted(p, first, correction):
    """p-values corrected over the places; a copy has its original's, having its p."""
    n = first.sum()
    if correction == "bonferroni":
        return jnp.minimum(1, n * p)
    ordered = jnp.sort(jnp.where(first, p, jnp.inf))
    rank = jnp.arange(1, len(p) + 1)
    least = jax.lax.cummin(jnp.where(rank <= n, ordered * n / rank, 1), reverse=True)
    found = jnp.minimum(1, least[jnp.searchsorted(ordered, p, side="right") - 1])
    return jnp.where(jnp.isnan(p), jnp.nan, found)
