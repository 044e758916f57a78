"""Nearest neighbours among more rows than fit, exactly and block by block, or by an index that tells its recall."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.neighbors import METRICS, nonzero_rows
from repgeo.retrieval import top_k


def knn_by_blocks(
    x, *, k: int = 10, metric: str = "cosine", rows: int = 4_000, progress: Callable | None = None
) -> np.ndarray:
    """`knn` (n, k) of an array on the host that need not fit, exact: every pair of blocks of `rows` rows is compared.

    x (n, p) is whatever gives rows for a slice, as numpy.memmap, HDF5, Zarr or Dask arrays do. In memory are two blocks
    and their scores, 4 rows (2 p + rows) bytes, and the result. `progress(done, n)` is called with the number of rows
    whose neighbours are known. O(n^2 p). Raises as `knn`, the rows of an error counted from the block's first.

    >>> import numpy as np
    >>> knn_by_blocks(np.array([[0.0], [1.0], [3.0]]), k=1, metric="euclidean", rows=2).tolist()
    [[1], [0], [1]]
    """
    n = _size(x, k, metric)
    rows = min(checks.count(rows, "rows", low=1, high=2**31), n)
    starts = range(0, n, rows)
    origin, scale = jnp.zeros((1, 1)), 1.0
    if metric == "euclidean":
        origin = _block(x, 0, 1, metric)  # any will do, and this one keeps integers, and so ties, exact
    if metric != "cosine":  # squares of what is divided by it can then neither over- nor underflow
        scale = max(float(linalg.scale_of(_block(x, i, rows, metric) - origin)) for i in starts)
    found = np.empty((n, k), np.int32)

    def prepared(start):
        block = _block(x, start, rows, metric)
        block = _unit(block) if metric == "cosine" else (block - origin) / scale
        bias = -jnp.sum(block * block, 1) / 2 if metric == "euclidean" else jnp.zeros(len(block), block.dtype)
        more = rows - len(block)
        return jnp.pad(block, ((0, more), (0, 0))), jnp.pad(bias, (0, more), constant_values=-jnp.inf)

    for i in starts:
        queries, _ = prepared(i)
        lists = jnp.full((rows, k), -jnp.inf, queries.dtype), jnp.zeros((rows, k), jnp.int32)
        for j in starts:
            lists = _better(lists, queries, *prepared(j), i, j)
        found[i : i + rows] = lists[1][: n - i]
        if progress is not None:
            progress(min(i + rows, n), n)
    return found


@dataclass(frozen=True)
class Approximate:
    """Neighbours from an index: `rows` (n, k), nearest first, and the share of the true ones among them, measured.

    `recall` is the mean over the `judged` rows that were also searched exactly, `error` its standard error. Where an
    index found fewer than k rows, -1 stands for the rest.
    """

    rows: np.ndarray
    recall: float
    error: float
    judged: int


def knn_indexed(
    x: Array, *, key: Array, k: int = 10, metric: str = "cosine", probes: int = 16, judged: int = 1_000
) -> Approximate:
    """Approximately the k nearest other rows of each row of x (n, p), from an inverted file of about 4 sqrt(n) cells.

    A row is compared with the rows of the `probes` cells nearest to it: more of them, more recall, and more time,
    O(n^1.5 p probes). How much of the truth that finds is measured on `judged` rows drawn with `key`. Needs faiss
    (`pip install 'repgeo[index]'`), on the host, in float32. Raises as `knn`; ImportError without faiss.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (500, 8))
    >>> near = knn_indexed(x, k=5, key=jax.random.key(1), judged=100)
    >>> near.rows.shape, near.recall > 0.5
    ((500, 5), True)
    """
    n = _size(x, k, metric)
    judged = min(checks.count(judged, "judged", low=2, high=2**31), n)
    cells = max(1, min(int(4 * n**0.5), n // 39))  # faiss asks for 39 rows a cell to train on
    probes = min(checks.count(probes, "probes", low=1, high=2**31), cells)
    try:
        import faiss
    except ImportError as missing:
        raise ImportError("knn_indexed: needs faiss, `pip install 'repgeo[index]'`; knn needs nothing") from missing

    x = checks.matrix(x, "x")
    if metric == "cosine":
        nonzero_rows(x, "x")
        x = _unit(x)
    x = np.ascontiguousarray(x, np.float32)
    flat, kind = (faiss.IndexFlatL2, faiss.METRIC_L2) if metric == "euclidean" else (
        faiss.IndexFlatIP, faiss.METRIC_INNER_PRODUCT
    )
    index = faiss.IndexIVFFlat(flat(x.shape[1]), x.shape[1], cells, kind)
    index.cp.seed = int(jax.random.randint(jax.random.fold_in(key, 0), (), 0, 2**31 - 1))
    index.train(x)
    index.add(x)
    index.nprobe = probes
    rows = _others(index.search(x, k + 1)[1], np.arange(n))
    sample = np.asarray(jax.random.permutation(jax.random.fold_in(key, 1), n)[:judged])
    exact = top_k(x[sample], x, k=k + 1, metric="inner" if metric == "cosine" else metric)[1]
    right = _others(np.asarray(exact), sample)
    shares = (rows[sample][:, :, None] == right[:, None]).any(1).mean(1)
    return Approximate(rows, float(shares.mean()), float(shares.std(ddof=1) / len(shares) ** 0.5), judged)


def _size(x, k, metric):
    shape = getattr(x, "shape", ())
    if len(shape) != 2:
        raise ValueError(f"x: expected shape (n, p), rows are samples; got {shape or type(x).__name__}")
    checks.choice(metric, "metric", METRICS)
    checks.count(k, "k", low=1, high=shape[0] - 1, why="n - 1 other rows")
    return shape[0]


def _block(x, start, rows, metric):
    block = checks.matrix(np.asarray(x[start : start + rows]), "x", at_least=1, may_be_constant=True)
    if metric == "cosine":
        nonzero_rows(block, "x")
    return block


@jax.jit
def _unit(x):
    x = x / linalg.scale_of(x, axis=1)
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@partial(jax.jit, donate_argnums=0)
def _better(lists, queries, keys, bias, i, j):
    """The k best of those found so far and of one more block; those found before win ties, having lower rows."""
    k = lists[0].shape[1]
    scores = linalg.matmul(queries, keys.T) + bias[None]
    at = jnp.arange(len(keys))
    scores = jnp.where((i + jnp.arange(len(queries)))[:, None] == (j + at)[None], -jnp.inf, scores)
    values, rows = lax.top_k(scores, min(k, len(keys)))
    values, rows = jnp.concatenate([lists[0], values], 1), jnp.concatenate([lists[1], (rows + j).astype(jnp.int32)], 1)
    values, order = lax.top_k(values, k)
    return values, jnp.take_along_axis(rows, order, 1)


def _others(rows, own):
    """Lists (n, k) of lists (n, k + 1) in which the row itself, or else the last, is left out."""
    itself = rows == own[:, None]
    itself[~itself.any(1), -1] = True
    return rows[~itself].reshape(len(rows), -1)
