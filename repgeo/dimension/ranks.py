"""Do two representations have the same neighbours? How many are shared, and how those of one rank in the other."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.neighbors import nearest, shared

_BLOCK = 500


def neighborhood_overlap(x: Array, y: Array, *, k: int = 10) -> Array:
    """Mean share of the k nearest rows of a sample in x that are also among its k nearest in y, in [0, 1].

    x (n, p), y (n, q), Euclidean, 1 <= k <= n - 1; ties go to the lower index, and a copy of a row is its first
    neighbour. Unrelated data give k / (n - 1). The same number as `similarity.mutual_knn` with the Euclidean metric;
    here because it is how layers are read beside their dimension. O(n^2 (p + q)) time in blocks, O(n k) memory.
    Gradient 0. Raises as `checks.paired`, and for k. Source: Doimo et al. 2020.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (100, 5))
    >>> print(f"{neighborhood_overlap(x, 3 * x + 1):.2f} {neighborhood_overlap(x, x[::-1]):.2f}")
    1.00 0.11
    """
    x, y = checks.paired(x, y)
    k = checks.count(k, "k", low=1, high=len(x) - 1, why="n - 1 other rows")
    return _overlap(nearest(x, k=k, metric="euclidean"), nearest(y, k=k, metric="euclidean"))


@jax.jit
def _overlap(a, b):
    return jnp.mean(shared(a, b)) / a.shape[1]


def information_imbalance(x: Array, y: Array, *, k: int = 1) -> Array:
    """Information imbalance from x to y, 2 / n times the mean rank in y of the k nearest rows in x: 0 to about 1.

    x (n, p), y (n, q), Euclidean, 1 <= k <= n - 1. (k + 1) / n, near 0, means that what is near in x is near in y, so
    that x predicts y; about 1, that it says nothing of y. Not symmetric: call it both ways, and read the
    pair: both small, equivalent; one small, that side knows more. Ranks start at 1 and count the rows that are nearer
    in y; equal distances there share the lowest rank, ties in x go to the lower index, and a copy of a row is its
    nearest. Ranks come from products of rows, as in `neighbors.knn`. O(n^2 (p + q)) time in blocks, O(n) memory.
    Gradient 0. Raises as `checks.paired`, and for k. Source: Glielmo et al. 2022, eq. 2.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (500, 5))
    >>> print(f"{information_imbalance(x, x[:, :2]):.2f} {information_imbalance(x[:, :2], x):.2f}")
    0.11 0.57
    """
    x, y = checks.paired(x, y)
    k = checks.count(k, "k", low=1, high=len(x) - 1, why="n - 1 other rows")
    return 2 / len(x) * _mean_rank(nearest(x, k=k, metric="euclidean"), y)


@jax.jit
def _mean_rank(rows, y):
    n, k = rows.shape
    y = y / linalg.scale_of(y)
    y = y - y[:1]
    bias = jnp.sum(y * y, 1) / 2

    def rank(i, rows):
        scores = linalg.matmul(y[i], y.T) - bias[None]
        scores = scores.at[jnp.arange(len(i)), i].set(-jnp.inf)
        ours = jnp.take_along_axis(scores, rows, 1)
        return jnp.sum(scores[:, None] > ours[:, :, None], (1, 2))

    blocks = -(-n // _BLOCK)
    size = -(-n // blocks)
    at = jnp.minimum(jnp.arange(blocks * size), n - 1).reshape(blocks, size)
    nearer = lax.map(lambda i: rank(i, rows[i]), at).reshape(-1)[:n]
    return 1 + jnp.mean(nearer, dtype=jnp.result_type(float)) / k
