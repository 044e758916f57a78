"""Second moments of a paired sample (x, y): the one statistic that every linear measure reads.

Batches add up with `+`, so a stream, a set of shards or a map-reduce job carries the same five arrays.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.large import summed
from repgeo.neighbors import nonzero_rows


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Moments:
    """Count, means and centred scatter of n paired rows; a pytree, so it scans, vmaps and merges.

    Shapes: n (), mean_x (p,), mean_y (q,), rest_x (p,), rest_y (q,), xx (p, p), xy (p, q), yy (q, q).
    `xx` is the sum over rows of (x - mean_x)(x - mean_x)^T; divide by n - 1 for a covariance. `rest_x` is what the
    rounding of mean_x left out: at an offset of 1 000 deviations that is all the gap between two batches has left.
    """

    n: Array
    mean_x: Array
    mean_y: Array
    rest_x: Array
    rest_y: Array
    xx: Array
    xy: Array
    yy: Array

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of both samples together, by the pairwise update of Chan, Golub & LeVeque (1983).

        Raw sums would cancel: at a feature offset of 1 000 standard deviations, float32 loses every digit.
        """
        if self.xy.shape != other.xy.shape:
            raise ValueError(f"moments: expected batches of equal widths; got {self.xy.shape} and {other.xy.shape}")
        return _merged(self, other)


def moments(x: Array, y: Array) -> Moments:
    """Moments of one batch x (n, p), y (n, q); add them up over batches with `+`.

    O(n (p + q)^2) time, O((p + q)^2) memory. One row is a legal batch. Raises as `checks.paired`.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(12.0).reshape(6, 2)
    >>> total = moments(x[:1], x[:1]) + moments(x[1:], x[1:])
    >>> float(total.n), total.mean_x.tolist()
    (6.0, [5.0, 6.0])
    """
    return _moments(*checks.paired(x, y, at_least=1, may_be_constant=True))


def moments_by_blocks(x, y, *, rows: int | None = None) -> Moments:
    """`moments` of arrays on the host, `rows` rows at a time: memory-mapped files never come into memory whole.

    x (n, p), y (n, q) are NumPy arrays (`numpy.memmap` included). Extra memory is O(rows (p + q) + (p + q)^2); rows not
    given are as many as hold half a million numbers of the wider side, at least 1 000.
    Raises as `moments`; ValueError unless rows >= 1 and both have n rows.

    >>> import numpy as np
    >>> x = np.arange(12.0).reshape(6, 2)
    >>> moments_by_blocks(x, x, rows=4).mean_x.tolist()
    [5.0, 6.0]
    """
    try:
        x, y = np.asanyarray(x), np.asanyarray(y)
    except ValueError:  # rows of unequal length
        return moments(x, y)  # raises which
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        return moments(x, y)  # raises what is wrong with the shapes
    if rows is None:
        rows = max(1_000, 500_000 // max(x.shape[1], y.shape[1], 1))
    try:
        return summed(moments, x, y, rows=rows)
    except (TypeError, ValueError):
        checks.paired(x, y, at_least=1, may_be_constant=True)  # counts rows from the top in its message
        raise


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UnitSum:
    """Count () and sum (p,) of rows at unit length, which tell every mean of cosines; batches add up with `+`."""

    n: Array
    total: Array

    def __add__(self, other: "UnitSum") -> "UnitSum":
        """The sum over both."""
        if self.total.shape != other.total.shape:
            mine, theirs = self.total.shape, other.total.shape
            raise ValueError(f"unit sum: expected batches of equal widths; got {mine} and {theirs}")
        return UnitSum(self.n + other.n, self.total + other.total)


def unit_sum(x: Array) -> UnitSum:
    """Count and sum of the rows of one batch x (n, p) at unit length.

    Raises as `checks.matrix`, and ValueError for a row of zeros.

    >>> import jax.numpy as jnp
    >>> unit_sum(jnp.array([[3.0, 0.0], [0.0, 2.0]])).total.tolist()
    [1.0, 1.0]
    """
    x = checks.matrix(x, "x", at_least=1, may_be_constant=True)
    nonzero_rows(x, "x")
    return _unit_sum(x)


def spread(m: Moments) -> Moments:
    """`m`, or an error where a measure of it would be undefined; a traced `m` passes unchecked.

    Raises TypeError for anything but `Moments`; ValueError for a batch of them, for a scatter that is not finite, and
    where all rows of a side are equal (or so close, for their dtype, that their squares underflow).

    >>> import jax.numpy as jnp
    >>> float(spread(moments(jnp.array([[0.0], [2.0]]), jnp.array([[1.0], [0.0]]))).xx[0, 0])
    2.0
    """
    if not isinstance(m, Moments):
        raise TypeError(f"m: expected Moments, as `moments(x, y)` returns; got {type(m).__name__}")
    if m.xy.ndim != 2:
        raise ValueError(f"m: expected the moments of one sample; got a batch, with xy of shape {m.xy.shape}")
    for name, scatter in (("xx", m.xx), ("xy", m.xy), ("yy", m.yy)):
        if checks.is_concrete(scatter):
            values = np.asarray(scatter)
            if not np.isfinite(values).all():
                raise ValueError(f"m: expected finite moments; got NaN or inf in m.{name}")
            if name != "xy" and not np.trace(values) > 0:
                raise ValueError(f"m: expected rows that differ; got no spread in m.{name} over n = {m.n} rows")
    return m


@jax.jit
def _moments(x, y):
    (mean_x, rest_x), (mean_y, rest_y) = (exact_sum(a[0], (a - a[:1]).mean(0)) for a in (x, y))
    n = jnp.asarray(len(x), x.dtype)
    return Moments(n, mean_x, mean_y, rest_x, rest_y, *linalg.scatter(x, y))


@jax.jit
def _merged(one, other):
    n = one.n + other.n
    share = other.n / n
    dx = (other.mean_x - one.mean_x) + (other.rest_x - one.rest_x)
    dy = (other.mean_y - one.mean_y) + (other.rest_y - one.rest_y)
    mean_x, rest_x = exact_sum(one.mean_x, one.rest_x + dx * share)
    mean_y, rest_y = exact_sum(one.mean_y, one.rest_y + dy * share)
    weight = one.n * share
    xx = one.xx + other.xx + weight * jnp.outer(dx, dx)
    xy = one.xy + other.xy + weight * jnp.outer(dx, dy)
    yy = one.yy + other.yy + weight * jnp.outer(dy, dy)
    return Moments(n, mean_x, mean_y, rest_x, rest_y, xx, xy, yy)


@jax.jit
def _unit_sum(x):
    x = x / linalg.scale_of(x, axis=1)  # squares can then neither over- nor underflow
    return UnitSum(jnp.asarray(len(x), x.dtype), (x / jnp.linalg.norm(x, axis=1, keepdims=True)).sum(0))


def exact_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The sum a + b as it is rounded, and what rounding left out (Knuth's two-sum)."""
    total = a + b
    from_b = total - a
    return total, (a - (total - from_b)) + (b - from_b)
