"""Exact nearest neighbours in blocks: which rows they are, how far away, and how much two graphs of them share."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

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
    Far from the origin all rows have nearly one direction: at 1e3 times their spread float32 no longer orders cosines
    and inner products; centre the columns first.

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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Neighborhoods:
    """The k nearest other places of each row, nearest first: what every local dimension is read from; a pytree.

    distances (n, k), Euclidean, in units of the features; rows (n, k), which row each neighbour is; first (n,), False
    for a row that repeats an earlier one.
    """

    distances: Array
    rows: Array
    first: Array


def neighborhoods(x: Array, *, k: int) -> Neighborhoods:
    """Distances (n, k) from each row of x (n, p) to its k nearest other places, nearest first, and which rows they are.

    Copies of a row are one place: they share their neighbours, none is a neighbour of another, and elsewhere only the
    first of them counts; so no distance is 0. Candidates come from products of blocks of rows, distances from
    differences x_i - x_j, so that neither an offset nor near duplicates cost digits; where the products could mistake
    a distance by more than 1e-4 of it, all differences of that row are taken. O(n^2 p) time, about 310 MB of
    float32 beside the input up to n = 50 000. The gradient is that of the distances while no neighbour changes.
    Raises as `checks.matrix`; ValueError unless 1 <= k <= n - 1 and x has more than k places: under a trace, distances
    that do not exist are NaN.

    >>> import jax.numpy as jnp
    >>> near = neighborhoods(jnp.array([[0.0], [1.0], [1.0], [4.0]]), k=2)
    >>> near.distances.tolist()
    [[1.0, 4.0], [1.0, 3.0], [1.0, 3.0], [3.0, 4.0]]
    >>> near.first.tolist()
    [True, True, False, True]
    """
    x = checks.matrix(x, "x")
    k = checks.count(k, "k", low=1, high=len(x) - 1, why="n - 1 other rows")
    large = _Layout.of(len(x)).steps > 4  # few rows are not worth four programs
    distances, rows, first = (_places_in_parts if large and linalg.on_host(x) else _places)(x, k)
    if checks.is_concrete(distances) and not np.isfinite(np.asarray(distances)).all():
        raise ValueError(f"x: expected more than k = {k} different rows; got {int(first.sum())} among {len(x)} rows")
    return Neighborhoods(distances, rows, first)


def within(x: Array | Neighborhoods, *, k: int) -> Neighborhoods:
    """The k nearest places of `x`, searched for if it is a matrix and read off if it is already `Neighborhoods`.

    >>> import jax.numpy as jnp
    >>> within(neighborhoods(jnp.array([[0.0], [1.0], [4.0]]), k=2), k=1).distances.tolist()
    [[1.0], [1.0], [3.0]]
    """
    if not isinstance(x, Neighborhoods):
        return neighborhoods(x, k=k)
    if x.distances.ndim != 2:
        raise ValueError(f"x: expected neighbourhoods of one matrix; got distances of shape {x.distances.shape}")
    k = checks.count(k, "k", low=1, high=x.distances.shape[1], why="as many neighbours as were searched for")
    return Neighborhoods(x.distances[:, :k], x.rows[:, :k], x.first)


def lengths(differences: Array) -> Array:
    """Euclidean length along the last axis, scaled first: tiny differences do not underflow to 0."""
    top = lax.stop_gradient(jnp.abs(differences).max(-1, keepdims=True))
    top = jnp.where(top > 0, top, 1)
    return top[..., 0] * linalg.safe_sqrt(jnp.sum((differences / top) ** 2, -1))


@jax.jit
def originals(x: Array) -> Array:
    """Index (n,) of the first row that equals each row of x (n, p): its own unless it is a copy.

    Rows are sorted by a 64-bit hash of their bits and compared with the row before: O(n p + n log n).

    >>> import jax.numpy as jnp
    >>> originals(jnp.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]])).tolist()
    [0, 1, 0]
    """
    n = len(x)
    bits = lax.bitcast_convert_type(jnp.where(x == 0, 0, x), jnp.uint32).reshape(n, -1)  # -0 equals 0

    def mixed(a):
        a = (a ^ (a >> 16)) * jnp.uint32(0x85EBCA6B)
        a = (a ^ (a >> 13)) * jnp.uint32(0xC2B2AE35)
        return a ^ (a >> 16)

    columns = jnp.arange(1, bits.shape[1] + 1, dtype=jnp.uint32)
    keys = [mixed(bits ^ mixed(columns * jnp.uint32(odd))[None]).sum(1, dtype=jnp.uint32) for odd in (0x9E3779B1, 3)]
    order = jnp.lexsort(keys)
    ordered = x[order]
    starts = jnp.append(True, (ordered[1:] != ordered[:-1]).any(1))
    start = lax.cummax(jnp.where(starts, jnp.arange(n), 0))
    return jnp.zeros(n, order.dtype).at[order].set(order[start])


@partial(jax.custom_jvp, nondiff_argnums=(1,))
@partial(jax.jit, static_argnums=1)
def _places(x, k):
    """Distances and rows (n, k) of the nearest places and which rows are first; distances that do not exist are NaN."""
    places = _arranged(x)
    best = [_best_of_groups(places, 0, _Layout.of(len(x)).steps)]
    return _completed(x, places, [_chosen(places, best, 0, k, -(-len(x) // _at_once(x, k)))])


def _places_in_parts(x, k):
    """`_places` of a concrete x, first the products and then the rows dealt to the cores: the same bits."""
    places, steps, batches = _arranged(x), _Layout.of(len(x)).steps, -(-len(x) // _at_once(x, k))
    met, read = (-(-total // min(linalg.cores(), total)) for total in (steps, batches))
    best = linalg.side_by_side(partial(_best_of_groups, places, low, met) for low in range(0, steps, met))
    parts = linalg.side_by_side(partial(_chosen, places, best, low, k, read) for low in range(0, batches, read))
    return _completed(x, places, parts)


def _at_once(x, k):
    """How many rows are read at a time: what is gathered for them stays in cache."""
    n, p = x.shape
    layout = _Layout.of(n)
    return int(max(1, min(n, 25, 2**23 // (min(k + 2, layout.blocks * layout.wide) * layout.deep * p))))


class _Layout(NamedTuple):
    """How rows are dealt: `blocks` of deep x wide rows, in which every wide-th row belongs to one group.

    Keeping the best of a few rows instead of every score makes the n x n products disappear as they are made. Groups
    lie across a block, so that taking the best is elementwise. Blocks stand in a ring, and once each has met those 0 to
    steps - 1 further on (one half of them in the last step, if their number is even) every two have met once.
    """

    deep: int
    wide: int
    blocks: int

    @classmethod
    def of(cls, n: int) -> "_Layout":
        deep = max(8, -(-n * n // 2**26))  # rows per group: bounds the memory
        wide = max(8, 256 // deep)  # groups per block
        blocks = -(-n // (deep * wide))
        return cls(deep, -(-n // (blocks * deep)), blocks)

    @property
    def steps(self) -> int:
        return self.blocks // 2 + 1

    @property
    def size(self) -> int:
        return self.deep * self.wide


class _Arranged(NamedTuple):
    """Rows as the search reads them: over their scale; centred and padded to blocks, with half their squares; by group.

    originals (n,) as the function; a row that is not the first of its place is infinitely far from all.
    """

    x: Array
    centered: Array
    half: Array
    slabs: Array
    originals: Array


@jax.jit
def _arranged(x):
    n, p = x.shape
    deep, wide, blocks = _Layout.of(n)
    original = originals(x)
    first = original == jnp.arange(n)
    x = x / linalg.scale_of(x)
    centered = linalg.center(x)
    half = jnp.where(first, jnp.sum(centered * centered, 1) / 2, jnp.inf)
    more = blocks * deep * wide - n
    far = jnp.pad(jnp.where(first[:, None], x, jnp.inf), ((0, more), (0, 0)), constant_values=jnp.inf)
    slabs = far.reshape(blocks, deep, wide, p).swapaxes(1, 2).reshape(-1, deep * p)
    padded = jnp.pad(centered, ((0, more), (0, 0))), jnp.pad(half, (0, more), constant_values=jnp.inf)
    return _Arranged(x, *padded, slabs, original)


@partial(jax.jit, static_argnames="count")
def _best_of_groups(places, low, count):
    """Minus half the squared distance (n, 2 count wide) to the nearest row of each group, for some steps of the ring.

    The columns of step s are those of the groups low + s blocks further on and then of those as far back: each product
    serves the rows of both its blocks. Where both are the same, or no step is left, columns are -inf.
    """
    layout = _Layout.of(len(places.x))
    (deep, wide, blocks), size = layout, layout.size

    def meet(at, best):
        i, s = at % blocks, at // blocks
        j = (i + low + s) % blocks
        a, b = (lax.dynamic_slice_in_dim(places.centered, at * size, size) for at in (i, j))
        ha, hb = (lax.dynamic_slice_in_dim(places.half, at * size, size) for at in (i, j))
        scores = lax.optimization_barrier(linalg.matmul(a, b.T) - ha[:, None] - hb[None])
        back = jnp.where((low + s) * 2 % blocks, 2 * s + 1, 2 * s)  # as far forward as back: one place for both
        best = lax.dynamic_update_slice(best, scores.reshape(size, deep, wide).max(1), (i * size, 2 * s * wide))
        return lax.dynamic_update_slice(best, scores.reshape(deep, wide, size).max(0).T, (j * size, back * wide))

    best = jnp.full((blocks * size, 2 * count * wide), -jnp.inf, places.x.dtype)
    left = blocks * (blocks + 1) // 2 - blocks * low
    return lax.fori_loop(0, jnp.minimum(blocks * count, left), meet, best)


@partial(jax.jit, static_argnames=("k", "count"))
def _chosen(places, best, low, k, count):
    """Distances and rows for `count` batches of rows from batch `low` on, and which are sure; `best` of the whole ring.

    Beyond the last row it comes again.
    """
    x, slabs, original = places.x, places.slabs, places.originals
    n, p = x.shape
    layout = _Layout.of(n)
    (deep, wide, blocks), size = layout, layout.size
    groups = blocks * wide
    norms = jnp.sqrt(jnp.sum(places.centered[:n] ** 2, 1))
    taken = min(k + 2, groups)  # a row's own group is among them
    rounding = 4 * p**0.5 * float(jnp.finfo(x.dtype).eps)  # of a product of unit vectors: 8 times what is typical
    tiny = float(jnp.finfo(x.dtype).tiny / jnp.finfo(x.dtype).eps)

    def among_groups(i):
        scores = jnp.concatenate([part[i] for part in best])
        # The barrier keeps XLA from turning a sliced top_k into a sort.
        close, at = lax.optimization_barrier(lax.top_k(scores, min(taken + 1, groups)))
        beyond = -2 * close[taken] if taken < groups else jnp.inf  # no row of another group is nearer, but for rounding
        steps, lane = at[:taken] // wide, at[:taken] % wide
        block = (i // size + jnp.where(steps % 2, -(steps // 2), steps // 2)) % blocks
        empty = (close[:taken] == -jnp.inf)[:, None]  # where a group's place is not its own
        rows = (block * size + lane)[:, None] + wide * jnp.arange(deep, dtype=at.dtype)[None]
        near = slabs[block * wide + lane].reshape(-1, p)
        squares = jnp.sum((near - x[i][None]) ** 2, 1).reshape(taken, deep)
        squares, rows = _least(jnp.where(empty | (rows == i), jnp.inf, squares).reshape(-1), rows.reshape(-1), k)
        error = rounding * (2 * norms[i] + jnp.sqrt(squares[-1])) ** 2
        sure = (beyond > squares[-1] + error) | (error < 1e-4 * squares[-1]) | (beyond == jnp.inf)
        sure = sure & (squares[0] > tiny)  # squares below are rounded to 0
        return jnp.sqrt(squares), rows, sure | (original[i] != i)  # a copy takes what its first finds

    batch = _at_once(x, k)
    rows = low * batch + jnp.arange(count * batch)
    return lax.map(among_groups, jnp.minimum(rows, n - 1), batch_size=batch)


def _least(far, rows, k):
    far, at = lax.top_k(-far, k)
    return -far, rows[at]


@jax.jit
def _completed(x, places, parts):
    """The result of `_places` from parts of `_chosen`, in order; rows that are not sure take all differences."""
    n, k = len(x), parts[0][0].shape[1]
    distances, rows, sure = jax.tree.map(lambda *a: jnp.concatenate(a)[:n], *parts)
    scale, original = linalg.scale_of(x), places.originals
    first = original == jnp.arange(n)
    known = jnp.sum(x * 0) == 0  # no NaN

    def among_all(state):
        distances, rows, unsure = state
        i = jnp.argmax(unsure)
        others = first & (jnp.arange(n) != i)
        far = jnp.where(others, lengths(places.x - places.x[i][None]), jnp.inf)
        far, chosen = _least(far, jnp.arange(n, dtype=rows.dtype), k)
        return distances.at[i].set(far), rows.at[i].set(chosen), unsure.at[i].set(False)

    distances, rows, _ = lax.while_loop(lambda s: s[2].any(), among_all, (distances, rows, ~sure & known))
    distances, rows = distances[original] * scale, rows[original]
    return jnp.where(known & (distances < jnp.inf), distances, jnp.nan), rows, first


@_places.defjvp
def _moved(k, primals, tangents):
    (x,), (t,) = primals, tangents
    distances, rows, first = _places(x, k)
    units = (x[:, None] - x[rows]) / distances[..., None]
    slope = jnp.sum(units * (t[:, None] - t[rows]), -1)
    return (distances, rows, first), (slope, *(np.zeros(a.shape, jax.dtypes.float0) for a in (rows, first)))
