"""Second moments of a paired sample (x, y): the one statistic that every linear measure reads.

Batches add up with `+`, so a stream, a set of shards or a map-reduce job carries the same five arrays.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks, linalg


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Moments:
    """Count, means and centred scatter of n paired rows; a pytree, so it scans, vmaps and merges.

    Shapes: n (), mean_x (p,), mean_y (q,), xx (p, p), xy (p, q), yy (q, q).
    `xx` is the sum over rows of (x - mean_x)(x - mean_x)^T; divide by n - 1 for a covariance.
    """

    n: Array
    mean_x: Array
    mean_y: Array
    xx: Array
    xy: Array
    yy: Array

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of both samples together, by the pairwise update of Chan, Golub & LeVeque (1983).

        Raw sums would cancel: at a feature offset of 1 000 standard deviations, float32 loses every digit.
        """
        if self.xy.shape != other.xy.shape:
            raise ValueError(f"moments: expected batches of equal widths; got {self.xy.shape} and {other.xy.shape}")
        n = self.n + other.n
        share = other.n / n
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        weight = self.n * share
        return Moments(
            n,
            self.mean_x + dx * share,
            self.mean_y + dy * share,
            self.xx + other.xx + weight * jnp.outer(dx, dx),
            self.xy + other.xy + weight * jnp.outer(dx, dy),
            self.yy + other.yy + weight * jnp.outer(dy, dy),
        )


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


@jax.jit
def _moments(x, y):
    means = [a[0] + (a - a[:1]).mean(0) for a in (x, y)]
    return Moments(jnp.asarray(len(x), x.dtype), *means, *linalg.scatter(x, y))
