"""Which row of another space is meant? The nearest rows of a gallery, in blocks, and how often they are right.

x (n, p) are queries and y (m, p) is the gallery, in one space: relative coordinates, or rows that a map has brought
there. Where m = n, row i of y is what row i of x should find. No n x m matrix is ever kept.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.neighbors import nonzero_rows, shared

METRICS = ("cosine", "euclidean", "inner", "csls")
_BLOCK = 1024  # queries at a time
_CHUNK = 1024  # rows of the gallery in one product with them
_GROUP = 8  # rows of the gallery whose best stands for them
_SCORES = 2**23  # entries of the block of scores that ranks are counted in: 32 MB of float32


def top_k(x: Array, y: Array, *, k: int = 10, metric: str = "cosine", neighbors: int = 10) -> tuple[Array, Array]:
    """Scores and indices (n, k) of the k rows of y (m, p) nearest each row of x (n, p), best first; ties to the lower.

    `metric`: "cosine", "inner" (product), "euclidean" (scores are minus the distance) or "csls", `csls` with that many
    `neighbors`, which takes a second and a third pass. Exact up to the rounding of a product: O(n m p) time, 256 m
    bytes beside some copies of x and y.
    Raises as `checks.matrix`; ValueError for different widths, unless 1 <= k <= m, and when a row is 0 under "cosine"
    or "csls"; under a trace a NaN anywhere makes all scores NaN.

    >>> import jax.numpy as jnp
    >>> scores, rows = top_k(jnp.array([[2.0]]), jnp.array([[0.0], [5.0], [1.0]]), k=2, metric="euclidean")
    >>> scores.tolist(), rows.tolist()
    ([[-1.0, -2.0]], [[2, 0]])
    """
    x, y, neighbors = _checked(x, y, metric, neighbors)
    k = checks.count(k, "k", low=1, high=len(y), why="m rows in the gallery")
    return _top_k(x, y, k, metric, neighbors)


def csls(x: Array, y: Array, *, neighbors: int = 10) -> Array:
    """Cross-domain similarities (n, m) of x (n, p) and y (m, p): 2 cos(x_i, y_j) - r(x_i) - r(y_j), in [-4, 4].

    r(x_i) is the mean cosine of x_i to its nearest rows of y, as many as `neighbors`, and r(y_j) that of y_j to its
    nearest rows of x: rows that are near everything (hubs) lose what they gain by that. All n m numbers are returned;
    `top_k` and `ranks` with metric="csls" use them without ever keeping them.
    Raises as `top_k`, and ValueError unless 1 <= neighbors <= min(n, m). Source: Conneau et al. 2018, section 2.3.

    >>> import jax.numpy as jnp
    >>> csls(jnp.eye(2), jnp.eye(2), neighbors=1).tolist()
    [[0.0, -2.0], [-2.0, 0.0]]
    """
    x, y, neighbors = _checked(x, y, "csls", neighbors)
    return _csls(x, y, neighbors)


def ranks(x: Array, y: Array, *, truth: Array | None = None, metric: str = "cosine", neighbors: int = 10) -> Array:
    """Rank (n,) of the right row of y (m, p) among all, for each row of x (n, p): 1 is best, m worst.

    Right is row i of y for row i of x, or row `truth[i]` (n,). Mid-ranks: of rows that score the same as the right one
    half count as better, so that a gallery of copies scores as chance does, (m + 1) / 2. `metric` as in `top_k`;
    O(n m p) time, about 100 MB beside copies of x and y. Raises as `top_k`; ValueError when there is no `truth` and
    m != n, or when it points outside y; TypeError when it does not hold integers. Under a trace a NaN anywhere makes
    all ranks NaN.

    >>> import jax.numpy as jnp
    >>> ranks(jnp.array([[1.0], [1.0]]), jnp.array([[2.0], [-2.0]])).tolist()
    [1.0, 2.0]
    """
    x, y, neighbors = _checked(x, y, metric, neighbors, paired=truth is None)
    return _ranks(x, y, _places(truth, x, y), metric, neighbors)


def mean_rank(x: Array, y: Array, *, metric: str = "cosine") -> Array:
    """Mean rank of row i of y (n, p) among the rows of y nearest row i of x (n, p): 1 best, (n + 1) / 2 by chance.

    Mid-ranks, and errors, as `ranks`. One lost row in a large gallery moves it much: read `top_k_accuracy` beside it.

    >>> import jax.numpy as jnp
    >>> mean_rank(jnp.eye(3), jnp.eye(3)).item()
    1.0
    """
    return ranks(x, y, metric=metric).mean()


def mean_reciprocal_rank(x: Array, y: Array, *, k: int | None = None, metric: str = "cosine") -> Array:
    """Mean of 1 / rank of row i of y (n, p) for row i of x (n, p), in (0, 1]; with `k`, 0 counts for ranks beyond k.

    relreps (Moschella et al. 2023) reports it with a `k`. Ranks, and errors, as `ranks`; ValueError unless
    1 <= k <= n. By chance it is about log(n) / n.

    >>> import jax.numpy as jnp
    >>> mean_reciprocal_rank(jnp.array([[1.0], [1.0]]), jnp.array([[2.0], [-2.0]])).item()
    0.75
    """
    return _reciprocal(ranks(x, y, metric=metric), k)


def top_k_accuracy(x: Array, y: Array, *, k: int = 1, metric: str = "cosine") -> Array:
    """Share of rows i of x (n, p) that have row i of y (n, p) among their k nearest, in [0, 1]; k / n by chance.

    Ties by mid-ranks, and errors, as `ranks`; ValueError unless 1 <= k <= n.

    >>> import jax.numpy as jnp
    >>> top_k_accuracy(jnp.array([[1.0], [1.0]]), jnp.array([[2.0], [-2.0]])).item()
    0.5
    """
    found = ranks(x, y, metric=metric)
    k = checks.count(k, "k", low=1, high=len(found), why="n rows in the gallery")
    return (found <= k).mean()


def foscttm(x: Array, y: Array, *, metric: str = "cosine") -> Array:
    """Fraction of samples closer than the true match: mean of (rank - 1) / (n - 1), in [0, 1]; 0.5 by chance.

    For row i of x (n, p) among the rows of y (n, p), ties half. The other direction is `foscttm(y, x)`; Liu et al.
    2019, who named it, average both, with metric="euclidean". Errors as `ranks`.

    >>> import jax.numpy as jnp
    >>> foscttm(jnp.array([[1.0], [1.0]]), jnp.array([[2.0], [-2.0]])).item()
    0.5
    """
    found = ranks(x, y, metric=metric)
    return (found - 1).mean() / (len(found) - 1)


def mean_cosine(x: Array, y: Array) -> Array:
    """Mean cosine of row i of x (n, p) with row i of y (n, p), in [-1, 1]; differentiable.

    Not comparable across centrings: it falls when a mean that all rows share is subtracted, while retrieval improves.
    Raises as `checks.paired`; ValueError for different widths and when a row is 0 (NaN under a trace).

    >>> import jax.numpy as jnp
    >>> mean_cosine(jnp.array([[3.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0, 0.0], [1.0, 0.0]])).item()
    0.5
    """
    x, y, _ = _checked(x, y, "cosine", 1, paired=True)
    return _mean_cosine(x, y)


@jax.jit
def _mean_cosine(x, y):
    return jnp.sum(_unit(x) * _unit(y), 1).mean()


def jaccard(x: Array, y: Array, *, k: int = 10, metric: str = "cosine") -> Array:
    """Mean overlap |S & T| / |S | T| of the k rows of y (n, p) nearest x_i (S) and nearest y_i (T), in [0, 1].

    The index is y both times and y_i itself stays among its neighbours, as in relreps (Moschella et al. 2023): another
    direction gives another number, and `knn_jaccard` in `repgeo.similarity`, which compares two graphs, a third.
    By chance about k / (2 n). Errors as `top_k`, and ValueError for different numbers of rows.

    >>> import jax.numpy as jnp
    >>> jaccard(jnp.eye(3), jnp.eye(3), k=1).item()
    1.0
    """
    x, y, _ = _checked(x, y, metric, 1, paired=True)
    k = checks.count(k, "k", low=1, high=len(y), why="n rows in the gallery")
    return _overlap(x, y, k, metric)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RetrievalScores:
    """Scores () of one retrieval: cosine, top_1, top_10, mean_rank, reciprocal_rank, foscttm; a pytree."""

    cosine: Array
    top_1: Array
    top_10: Array
    mean_rank: Array
    reciprocal_rank: Array
    foscttm: Array


def retrieval_scores(x: Array, y: Array, *, metric: str = "cosine") -> RetrievalScores:
    """All scores of finding row i of y (n, p) from row i of x (n, p), from one search: see the function of each.

    The gallery is y: its size is part of every number but `cosine`. Errors as `ranks`.

    >>> import jax.numpy as jnp
    >>> retrieval_scores(jnp.array([[1.0], [1.0]]), jnp.array([[2.0], [-2.0]])).mean_rank.item()
    1.5
    """
    return _scores(ranks(x, y, metric=metric), mean_cosine(x, y))


@jax.jit
def _scores(found, cosine):
    n = len(found)
    return RetrievalScores(
        cosine=cosine,
        top_1=(found <= 1).mean(),
        top_10=(found <= 10).mean(),
        mean_rank=found.mean(),
        reciprocal_rank=(1 / found).mean(),
        foscttm=(found - 1).mean() / (n - 1),
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RelrepsScores:
    """Scores () by the rules of relreps: jaccard, reciprocal_rank, cosine; a pytree."""

    jaccard: Array
    reciprocal_rank: Array
    cosine: Array


def relreps_scores(x: Array, y: Array, *, k: int = 10) -> RelrepsScores:
    """The three columns of the latent-rotation table of relreps: how relative coordinates x and y (n, m) agree.

    `jaccard` and `mean_reciprocal_rank` with that k and cosines, the index being y, and `mean_cosine`. Swap x and y
    for the other direction. Source: Moschella et al. 2023, table 1, by the rules of the code that accompanies it.
    Errors as `jaccard`.

    >>> import jax.numpy as jnp
    >>> relreps_scores(jnp.eye(3), jnp.eye(3), k=1).reciprocal_rank.item()
    1.0
    """
    overlap = jaccard(x, y, k=k)
    return RelrepsScores(overlap, _reciprocal(ranks(x, y), k), mean_cosine(x, y))


def _checked(x, y, metric, neighbors, paired=False):
    """The arguments of every function here, in one dtype, or the error that names what is wrong with them."""
    checks.choice(metric, "metric", METRICS)
    if paired:
        x, y = checks.paired(x, y, may_be_constant=True)
    else:
        x, y = (checks.matrix(a, name, at_least=1, may_be_constant=True) for a, name in ((x, "x"), (y, "y")))
        x, y = (a.astype(jnp.promote_types(x.dtype, y.dtype)) for a in (x, y))
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x and y: expected rows of one width, in one space; got shapes {x.shape} and {y.shape}")
    if metric in ("cosine", "csls"):
        nonzero_rows(x, "x")
        nonzero_rows(y, "y")
    if metric == "csls":
        neighbors = checks.count(neighbors, "neighbors", low=1, high=min(len(x), len(y)), why="rows on either side")
    return x, y, neighbors


def _places(truth, x, y):
    """`truth` (n,) checked; row i for i without it."""
    if truth is None:
        return jnp.arange(len(x))
    truth = truth if isinstance(truth, jax.Array) else np.asarray(truth)
    if not jnp.issubdtype(truth.dtype, jnp.integer):
        raise TypeError(f"truth: expected rows of y as integers; got dtype {truth.dtype}")
    if truth.shape != x.shape[:1]:
        raise ValueError(f"truth: expected one row of y for each row of x, shape {x.shape[:1]}; got {truth.shape}")
    if checks.is_concrete(truth):
        known = np.asarray(truth)
        if known.min() < 0 or known.max() >= len(y):
            raise ValueError(f"truth: expected rows 0 ... {len(y) - 1} of y; got {known.min()} to {known.max()}")
    return jnp.asarray(truth)


def _reciprocal(found, k):
    if k is not None:
        k = checks.count(k, "k", low=1, high=len(found), why="n rows in the gallery")
    return jnp.where(found <= (len(found) if k is None else k), 1 / found, 0).mean()


@jax.jit
def _unit(x):
    x = x / linalg.scale_of(x, axis=1)  # squares can then neither over- nor underflow
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def _as_products(x, y, metric, neighbors):
    """Rows x', y' and a bias (m,) with x' y' + bias in the order of the metric, and how to read it as its score.

    The bias is None where there is none: adding zeros to every score of a search would be a tenth of its time.
    """
    if metric == "inner":
        return x, y, None, lambda scores: scores
    if metric == "euclidean":
        x, y = x - y[:1], y - y[:1]  # any origin will do, and this one keeps integers, and so ties, exact
        scale = linalg.scale_of(jnp.concatenate([jnp.abs(x).max(0, keepdims=True), jnp.abs(y).max(0, keepdims=True)]))
        x, y = x / scale, y / scale
        square = jnp.sum(x * x, 1)
        return x, y, -jnp.sum(y * y, 1) / 2, lambda s: -scale * linalg.safe_sqrt(square[:, None] - 2 * s)
    x, y = _unit(x), _unit(y)
    if metric == "cosine":
        return x, y, None, lambda scores: scores
    of_y, of_x = (_best(a, b, None, neighbors)[0].mean(1) for a, b in ((y, x), (x, y)))
    return x, y, -of_y / 2, lambda scores: 2 * scores - of_x[:, None]


@partial(jax.jit, static_argnums=(2, 3, 4))
def _top_k(x, y, k, metric, neighbors):
    a, b, bias, read = _as_products(x, y, metric, neighbors)
    scores, rows = _best(a, b, bias, k)
    return read(scores) + (x * 0).sum() + (y * 0).sum(), rows


@partial(jax.jit, static_argnums=2)
def _csls(x, y, neighbors):
    x, y, bias, read = _as_products(x, y, "csls", neighbors)
    return read(linalg.matmul(x, y.T) + bias[None])


@partial(jax.jit, static_argnums=(3, 4))
def _ranks(x, y, truth, metric, neighbors):
    a, b, bias, _ = _as_products(x, y, metric, neighbors)

    def of_block(queries, right):
        scores = linalg.matmul(b, queries.T)
        scores = scores if bias is None else scores + bias[:, None]
        own = jnp.take_along_axis(scores, right[None], 0)  # of the same product: equal rows score the same to the bit
        better, level = jnp.sum(scores > own, 0), jnp.sum(scores == own, 0)
        return 1 + better + (level - 1) / 2

    found = _by_blocks(of_block, max(64, _SCORES // len(y)), a, truth)
    return found.astype(x.dtype) + (x * 0).sum() + (y * 0).sum()


@partial(jax.jit, static_argnums=(2, 3))
def _overlap(x, y, k, metric):
    common = shared(_top_k(x, y, k, metric, k)[1], _top_k(y, y, k, metric, k)[1])
    return (common / (2 * k - common)).mean()


def _best(x, y, bias, k):
    """The k largest of x y^T + bias (n, m) in each row, and where they are.

    A row among the k best lies in one of the k groups whose best are the best, and such a group in one of the k best
    groups of groups; as groups are consecutive rows, this holds for ties too, which go to the lower row. Only the best
    of each group are kept of a product, while the product is in cache, and the rows of the k groups are multiplied
    again. Within a chunk of the gallery the rows of a group lie apart, which makes taking the best elementwise.
    """
    m, p = y.shape
    deep, wide_deep = (_GROUP if m >= 4 * k * size else 1 for size in (_GROUP, _GROUP**2))
    chunks = -(-m // _CHUNK)
    wide = -(-m // (chunks * wide_deep * deep))
    shape = (chunks, wide, wide_deep, deep)
    padding = chunks * wide * wide_deep * deep - m
    groups = jnp.pad(y, ((0, padding), (0, 0)), mode="edge").reshape(-1, deep, p)
    of_rows = jnp.zeros(m, y.dtype) if bias is None else bias
    of_rows = jnp.pad(of_rows, (0, padding), constant_values=-jnp.inf).reshape(shape)
    # Padding repeats the last row, in whose own group it changes nothing: only groups of nothing else must stay out.
    added = of_rows.max(3, keepdims=True) if bias is None else of_rows
    chunked = (
        groups.reshape(*shape, p).transpose(0, 3, 2, 1, 4).reshape(chunks, -1, p),
        added.transpose(0, 3, 2, 1),
    )
    of_rows = of_rows.reshape(-1, deep)

    def best_of_chunk(queries, chunk):
        rows, added = chunk
        scores = linalg.matmul(queries, rows.T).reshape(-1, deep, wide_deep, wide)
        best = scores.max(1) + added if bias is None else (scores + added[None]).max(1)
        return best, best.max(1)

    def again(pair):
        query, chosen = pair
        return linalg.matmul(groups[chosen].reshape(-1, p), query) + of_rows[chosen].reshape(-1)

    def of_block(queries):
        best, best_of_best = lax.map(lambda chunk: best_of_chunk(queries, chunk), chunked)
        best_of_best = best_of_best.swapaxes(0, 1).reshape(len(queries), -1)
        chosen = jnp.sort(lax.top_k(best_of_best, k)[1], 1)
        best = best[chosen // wide, jnp.arange(len(queries))[:, None], :, chosen % wide].reshape(len(queries), -1)
        chosen = jnp.sort(_within(chosen, lax.top_k(best, k)[1], wide_deep), 1)
        values, at = lax.top_k(lax.map(again, (queries, chosen)), k)
        return values, _within(chosen, at, deep)

    return _by_blocks(of_block, _BLOCK, x)


def _within(groups, at, deep):
    """Which rows are at those places of the rows of `groups` (b, k), `deep` in each, one group after the other."""
    return jnp.take_along_axis(groups, at // deep, 1) * deep + at % deep


def _by_blocks(function, most, *queries):
    """`function` of blocks of at most that many rows of `queries`, put together again.

    The blocks go through two loops, which XLA runs side by side: one multiplies while the other picks.
    """
    n = len(queries[0])
    blocks = -(-n // most)
    loops = min(blocks, 2)
    each = -(-blocks // loops)
    size = -(-n // (loops * each))
    if blocks == 1:
        return function(*queries)
    padded = [jnp.pad(q, [(0, loops * each * size - n)] + [(0, 0)] * (q.ndim - 1), mode="edge") for q in queries]
    padded = [q.reshape(loops, each, size, *q.shape[1:]) for q in padded]
    parts = [lax.map(lambda block: function(*block), [q[i] for q in padded]) for i in range(loops)]
    return jax.tree.map(lambda *a: jnp.concatenate(a).reshape(-1, *a[0].shape[2:])[:n], *parts)
