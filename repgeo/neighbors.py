"""Exact nearest neighbours in blocks, and how much two neighbour graphs share."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg

METRICS = ("cosine", "euclidean", "inner")
_BLOCK = 1000  # rows per block: the scores of two blocks are all the memory that is needed


def knn(x: Array, *, k: int = 10, metric: str = "cosine") -> Array:
    """Indices (n, k) of the k nearest other rows of each row of x (n, p), nearest first; ties go to the lower index.

    `metric`: "cosine", "euclidean" or "inner" (largest inner product). A row is never its own neighbour; a duplicate
    of it is its first. Exact: O(n^2 p) time in blocks of rows, O(n) memory besides the result.
    Raises as `checks.matrix`; ValueError unless 1 <= k <= n - 1, and for "cosine" when a row is 0.

    >>> import jax.numpy as jnp
    >>> knn(jnp.array([[0.0], [1.0], [3.0]]), k=1, metric="euclidean").tolist()
    [[1], [0], [1]]
    """
    x = checks.matrix(x, "x")
    checks.choice(metric, "metric", METRICS)
    k = checks.count(k, "k", low=1, high=len(x) - 1, why="n - 1 other rows")
    if metric == "cosine":
        nonzero_rows(x, "x")
    return nearest(x, k=k, metric=metric)


def nonzero_rows(x: Array, name: str) -> None:
    """ValueError when a row of concrete `x` is 0, so that its direction is undefined."""
    if checks.is_concrete(x):
        zero = ~np.any(np.asarray(x) != 0, 1)
        if zero.any():
            raise ValueError(
                f"{name}: expected rows with a direction; got {zero.sum()} zero rows, the first at row {zero.argmax()}"
            )


@partial(jax.jit, static_argnames=("k", "metric"))
def nearest(x: Array, *, k: int, metric: str) -> Array:
    """`knn` without its checks."""
    n = len(x)
    x = x / linalg.scale_of(x, axis=1 if metric == "cosine" else None)  # squares can then neither over- nor underflow
    if metric == "cosine":
        x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    if metric == "euclidean":
        x = x - x[:1]  # any origin will do, and this one keeps integers, and so ties, exact
        bias = -jnp.sum(x * x, 1) / 2  # |a - b|^2 = |a|^2 - 2 (a.b - |b|^2 / 2), and |a|^2 ranks nothing
    else:
        bias = jnp.zeros(n, x.dtype)
    blocks = -(-n // _BLOCK)
    size = -(-n // blocks)
    padding = blocks * size - n
    x, bias = jnp.pad(x, ((0, padding), (0, 0))), jnp.pad(bias, (0, padding), constant_values=-jnp.inf)

    def of(a, i):
        return lax.dynamic_slice_in_dim(a, i * size, size)

    def choose(lists, i, scores, j):
        """Let the rows of block i take neighbours among the rows of block j: those of earlier blocks win ties."""
        values, new = lax.top_k(scores, min(k, size))
        values = jnp.concatenate([of(lists[0], i), values], 1)
        rows = jnp.concatenate([of(lists[1], i), (new + j * size).astype(jnp.int32)], 1)
        values, order = lax.top_k(values, k)
        chosen = (values, jnp.take_along_axis(rows, order, 1))
        return tuple(lax.dynamic_update_slice_in_dim(a, b, i * size, 0) for a, b in zip(lists, chosen, strict=True))

    def step(lists, pair):  # each product of two blocks serves the rows of both
        i, j = pair
        products = linalg.matmul(of(x, i), of(x, j).T)
        itself = jnp.eye(size, dtype=bool) & (i == j)
        lists = choose(lists, i, jnp.where(itself, -jnp.inf, products + of(bias, j)[None]), j)
        return lax.cond(
            i == j, lambda lists: lists, lambda lists: choose(lists, j, products.T + of(bias, i)[None], i), lists
        ), None

    lists = jnp.full((blocks * size, k), -jnp.inf, x.dtype), jnp.zeros((blocks * size, k), jnp.int32)
    return lax.scan(step, lists, jnp.triu_indices(blocks))[0][1][:n]


@jax.jit
def shared(a: Array, b: Array) -> Array:
    """Number (n,) of neighbours that the lists a (n, k) and b (n, k) of each row have in common.

    >>> import jax.numpy as jnp
    >>> shared(jnp.array([[1, 2]]), jnp.array([[2, 3]])).tolist()
    [1]
    """
    return jnp.sum((a[:, :, None] == b[:, None, :]).any(-1), -1)
