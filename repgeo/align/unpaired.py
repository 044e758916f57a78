"""Two clouds of different things in two spaces, no pair known: the rotation that lays one on the other.

Clusterings of both are matched by their inner products alone, often, and mostly wrongly; what the matches agree on is
enough to say which rows are alike, and from there a rotation to the mean of its nearest neighbours improves itself.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.align.centroids import kmeans, match_centroids, means_of
from repgeo.align.maps import Map, polar
from repgeo.neighbors import nonzero_rows

_FEW = 64  # leading directions in which clusters are sought
_HUBS = 10  # neighbours whose mean similarity CSLS subtracts
_JUDGED = 2_000  # rows that the score looks at
_PAIR = 5.0  # rows for which a known pair counts
_ROWS = 1_000  # of a block of similarities


def unpaired_align(
    x: Array,
    y: Array,
    *,
    key: Array,
    clusters: int | tuple[int, ...] = (40, 60),
    restarts: int = 16,
    pairs: Array | None = None,
    runs: int = 30,
    pairings: int = 3,
    rounds: int = 4,
    neighbors: int = 50,
    sample: int = 2_000,
    width: int = 192,
    scout: int = 15,
    coarse: int = 40,
    fine: int = 40,
    metric: str = "cosine",
) -> Map:
    """The rotation between x (n, p) and y (m, q), whose rows are different things, found without a pair; score: below.

    Each side is centred by its own mean, and its rows are scaled to length 1. For every number in `clusters`: `runs`
    k-means a side, each matched with `pairings` of the other side by `match_grams` with these `restarts`, and again in
    `rounds` where the other matches have a say; the rows of x and y are alike as far as they lie alike to all matched
    centroids; from there `scout` steps. A step takes
    `sample` rows of x, maps each to the mean of its `neighbors` nearest rows of y, and goes half way to the Procrustes
    rotation onto these. All this in the `width` leading principal directions a side. The candidate of the best score
    goes on for `coarse` steps, and for `fine` ones with all directions. Neighbours are found by `metric`, "cosine" or
    "csls", which costs more.

    The score, () in [-1, 1], needs no pair: the mean cosine of a mapped row to its nearest by CSLS. It compares
    candidates for one pair of spaces, not different spaces. `history` has `clusters` and `scores` (candidates,),
    `chosen` (), `floor` (), the score that `scout` steps reach from a random rotation, `margin` (), the best candidate
    minus that, and `moved` (coarse + fine,), the relative length of each step. Where the margin is near 0 nothing was
    found: it fails so on data without clusters, with few rows (thousands are needed), and where both sides hold
    different content, which no score shows.

    `pairs` (k, 2), rows of x and of y known to be the same, join as one more candidate, `clusters` 0, and count as 5
    rows each in every step. Weights are orthogonal (orthonormal rows or columns for p != q). A
    rotation of y rotates the result. O(candidates runs n c width + steps sample m q).
    Raises as `checks.matrix`; ValueError for rows of 0, fewer rows than clusters, neighbours or `neighbors` + 1, pairs
    out of range. Source: mini-vec2vec, Dar 2025, but for the rounds and the principal directions;
    the score is the model selection of Conneau et al. 2018, section 3.5.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (400, 8)) * 0.2 + jax.random.normal(jax.random.key(1), (20, 8))[
    ...     jax.random.randint(jax.random.key(2), (400,), 0, 20)]
    >>> m = unpaired_align(x[:200], x[200:, ::-1], key=jax.random.key(3), clusters=20, neighbors=5, runs=10)
    >>> a, b = m.centered(x, x[:, ::-1])
    >>> bool(((a * b).sum(1) > 0.9 * (b * b).sum(1)).mean() > 0.9)
    True
    """
    x, y = _clouds(x, y)
    few, lots = min(len(x), len(y)), 2**20
    clusters = (clusters,) if isinstance(clusters, int | np.integer) else tuple(clusters)
    for c in clusters:
        checks.count(c, "clusters", low=2, high=few, why="rows of the smaller side")
    restarts = checks.count(restarts, "restarts", low=1, high=lots)
    runs = checks.count(runs, "runs", low=1, high=lots)
    pairings = checks.count(pairings, "pairings", low=1, high=runs, why="runs to pair with")
    neighbors = _neighbors(neighbors, x, y)
    sample = checks.count(sample, "sample", low=1, high=2**31)
    width = checks.count(width, "width", low=1, high=2**31)
    rounds, scout, coarse, fine = (
        checks.count(v, name, low=0, high=lots)
        for v, name in ((rounds, "rounds"), (scout, "scout"), (coarse, "coarse"), (fine, "fine"))
    )
    checks.choice(metric, "metric", ("cosine", "csls"))
    known = _known(pairs, x, y)
    if not clusters and known is None:
        raise ValueError("clusters: expected at least one number of clusters; got none, and no pairs")

    (mean_x, full_x), (mean_y, full_y) = _sphere(x), _sphere(y)
    small_x, axes_x = _leading(full_x, width)
    small_y, axes_y = _leading(full_y, width)
    anchors = None if known is None else (small_x[known[:, 0]], small_y[known[:, 1]])
    step = partial(_steps, neighbors=neighbors, sample=sample, metric=metric)
    *keys, for_floor, for_coarse, for_fine, for_judge = jax.random.split(key, len(clusters) + 5)

    judged = jax.random.permutation(for_judge, len(x))[:_JUDGED]
    starts = [_from_clusters(k, small_x, small_y, c, runs, pairings, restarts, rounds, neighbors, sample)
              for k, c in zip(keys, clusters, strict=False)]
    if anchors is not None:
        starts.append(_read_out(keys[-1], small_x, small_y, *anchors, neighbors, sample))
    starts.append(polar(jax.random.normal(for_floor, (small_x.shape[1], small_y.shape[1]), x.dtype)))
    scouted, scores = [], []
    for i, start in enumerate(starts):
        lone = i == len(starts) - 1  # the random start is to show what is reached without knowing anything
        found, _ = step(jax.random.fold_in(for_coarse, i), start, small_x, small_y, None if lone else anchors, scout)
        scouted.append(found)
        scores.append(_score(found, small_x[judged], small_y))
    scores, floor = jnp.stack(scores[:-1]), scores[-1]
    chosen = scores.argmax()
    weights = jnp.stack(scouted[:-1])[chosen]
    weights, moved = step(for_coarse, weights, small_x, small_y, anchors, coarse)
    weights = linalg.matmul(axes_x, linalg.matmul(weights, axes_y.T))
    anchors = None if known is None else (full_x[known[:, 0]], full_y[known[:, 1]])
    weights, moved_last = step(for_fine, weights, full_x, full_y, anchors, fine)
    weights = polar(weights)
    history = {
        "clusters": jnp.asarray(clusters + (0,) * (known is not None)),
        "scores": scores,
        "chosen": chosen,
        "floor": floor,
        "margin": scores.max() - floor,
        "moved": jnp.concatenate([moved, moved_last]),
    }
    score = _score(weights, full_x[judged], full_y)
    return Map(weights, mean_x, mean_y, _relative_size(x, y, mean_x, mean_y), score, history)


def refine(
    start: Map,
    x: Array,
    y: Array,
    *,
    key: Array,
    pairs: Array | None = None,
    steps: int = 40,
    neighbors: int = 50,
    sample: int = 2_000,
    metric: str = "csls",
) -> Map:
    """`start`, a map fitted on few pairs say, improved on rows x (n, p) and y (m, q) that need not be paired.

    `steps` steps as in `unpaired_align`, about the means of x and y; `pairs` (k, 2) of rows known to be the same keep
    counting. Its score, and history["moved"] (steps,), as there. It helps a start that is already right
    of some rows, and drifts from one that is not: compare the scores. Raises as `unpaired_align`, TypeError unless
    `start` is a `Map`, ValueError unless its widths are p and q.

    >>> import jax
    >>> from repgeo.align import procrustes
    >>> x = jax.random.normal(jax.random.key(0), (300, 6)) ** 3
    >>> few = procrustes(x[:4], x[:4, ::-1])
    >>> m = refine(few, x[:200], x[200:, ::-1], key=jax.random.key(1), neighbors=5)
    >>> m.weights.shape, m.history["moved"].shape
    ((6, 6), (40,))
    """
    if not isinstance(start, Map):
        raise TypeError(f"start: expected a Map; got {type(start).__name__}")
    x, y = _clouds(x, y)
    if start.weights.shape != (x.shape[1], y.shape[1]):
        raise ValueError(f"start: expected a map of widths {x.shape[1]} and {y.shape[1]}; got {start.weights.shape}")
    neighbors = _neighbors(neighbors, x, y)
    steps = checks.count(steps, "steps", low=0, high=2**20)
    sample = checks.count(sample, "sample", low=1, high=2**31)
    checks.choice(metric, "metric", ("cosine", "csls"))
    known = _known(pairs, x, y)
    (mean_x, on_x), (mean_y, on_y) = _sphere(x), _sphere(y)
    anchors = None if known is None else (on_x[known[:, 0]], on_y[known[:, 1]])
    for_steps, for_judge = jax.random.split(key)
    weights, moved = _steps(for_steps, polar(start.weights.astype(x.dtype)), on_x, on_y, anchors, steps,
                            neighbors=neighbors, sample=sample, metric=metric)
    weights = polar(weights)
    score = _score(weights, on_x[jax.random.permutation(for_judge, len(x))[:_JUDGED]], on_y)
    return Map(weights, mean_x, mean_y, _relative_size(x, y, mean_x, mean_y), score, {"moved": moved})


def csls_score(m: Map, x: Array, y: Array) -> Array:
    """Mean cosine, in [-1, 1], of each mapped row of x (n, p) to the row of y (m, q) that is nearest by CSLS.

    About the map's means. It needs no pair, and ranks maps between the same two spaces: the model selection of Conneau
    et al. 2018, section 3.5. O(n m q) time and O(n m) memory. Raises as `Map.centered`.

    >>> import jax
    >>> from repgeo.align import procrustes
    >>> x = jax.random.normal(jax.random.key(0), (30, 3))
    >>> csls_score(procrustes(x, 2 * x), x, 2 * x).round(3).item()
    1.0
    """
    a, b = m.centered(x, y)
    return _score(jnp.eye(b.shape[1], dtype=a.dtype), a, _unit(b))


def _clouds(x, y):
    x, y = checks.matrix(x, "x"), checks.matrix(y, "y")
    for name, a in (("x", x), ("y", y)):
        nonzero_rows(a, name)
    dtype = jnp.promote_types(x.dtype, y.dtype)
    return x.astype(dtype), y.astype(dtype)


def _neighbors(neighbors, x, y):
    return checks.count(neighbors, "neighbors", low=1, high=min(len(x), len(y)) - 1, why="rows of the smaller side")


def _known(pairs, x, y):
    if pairs is None:
        return None
    pairs = np.asarray(pairs)
    if pairs.dtype.kind not in "iu":
        raise TypeError(f"pairs: expected integers, rows of x and of y; got dtype {pairs.dtype}")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ValueError(f"pairs: expected shape (k, 2), a row of x and one of y each; got {pairs.shape}")
    if (pairs < 0).any() or (pairs >= [len(x), len(y)]).any():
        raise ValueError(f"pairs: expected rows below {len(x)} and {len(y)}; got up to {pairs.max(0).tolist()}")
    return pairs


def _unit(a):
    norms = jnp.linalg.norm(a, axis=1, keepdims=True)
    return a / jnp.where(norms > 0, norms, 1)


@jax.jit
def _sphere(a):
    mean = a[0] + (a - a[:1]).mean(0)
    return mean, _unit(a - mean[None])


@jax.jit
def _relative_size(x, y, mean_x, mean_y):
    """How much longer a centred row of y is, in the root mean square: a rotation says nothing of it."""
    return linalg.frobenius(y - mean_y[None]) / linalg.frobenius(x - mean_x[None]) * jnp.sqrt(len(x) / len(y))


@partial(jax.jit, static_argnums=1)
def _leading(a, width):
    """Rows of length 1 in the `width` leading principal directions, and those directions (p, width)."""
    axes = linalg.descending_eigh(linalg.matmul(a.T, a))[1][:, :width]
    return _unit(a @ axes), axes


@partial(jax.jit, static_argnums=(3, 4, 5, 6, 7, 8, 9))
def _from_clusters(key, x, y, c, runs, pairings, restarts, rounds, neighbors, sample):
    """The rotation that centroids matched in `runs` x `pairings` ways suggest."""
    for_x, for_y, for_match, for_rows = jax.random.split(key, 4)

    def centroids(key, a):
        thin = a[:, :_FEW]
        found, labels = kmeans(key, thin, c=c, runs=runs, steps=8)
        return means_of(a, labels, jnp.zeros((runs, c, a.shape[1]), a.dtype))

    a, b = centroids(for_x, x), centroids(for_y, y)
    first = jnp.tile(jnp.arange(runs), pairings)
    second = jnp.concatenate([jnp.roll(jnp.arange(runs), i) for i in range(pairings)])
    a, b = a[first], b[second]
    orders, _ = match_centroids(for_match, a, b, restarts=restarts, rounds=rounds)
    b = jnp.take_along_axis(b, orders[:, :, None], 1)
    return _read_out(for_rows, x, y, _unit(a.reshape(-1, a.shape[-1])), _unit(b.reshape(-1, b.shape[-1])), neighbors,
                     sample)


def _read_out(key, x, y, a, b, neighbors, sample):
    """Procrustes onto neighbours by similarity to matched anchors a (k, p), b (k, q).

    The similarities of x and y to k anchors have the inner product x (a^T b) y^T: k drops out, however many they are.
    """
    size = jnp.linalg.norm(y @ b.T, axis=1)
    rows = _some(key, x, sample)
    keys = y / jnp.where(size > 0, size, 1)[:, None]
    means = _neighbor_means(rows @ (a.T @ b), keys, y, neighbors)
    return polar(linalg.matmul(rows.T, means))


def _some(key, x, sample):
    return x if sample >= len(x) else x[jax.random.choice(key, len(x), (sample,), replace=False)]


def _neighbor_means(queries, keys, values, k, bias=None):
    """Mean (n, q) of the rows of `values` whose `keys` have the k largest products with each query."""

    def of_block(rows):
        scores = rows @ keys.T
        scores = scores if bias is None else scores - bias[None]
        # The barrier keeps XLA from turning a top_k whose values are dropped into a sort.
        chosen = lax.optimization_barrier(lax.top_k(scores, k))[1]
        return lax.map(lambda i: values[i].mean(0), chosen, batch_size=8)  # what is gathered stays in cache

    n = len(queries)
    blocks = -(-n // _ROWS)
    size = -(-n // blocks)
    padded = jnp.pad(queries, ((0, blocks * size - n), (0, 0))).reshape(blocks, size, -1)
    return lax.map(of_block, padded).reshape(blocks * size, -1)[:n]


@partial(jax.jit, static_argnames=("steps", "neighbors", "sample", "metric"))
def _run_steps(key, weights, x, y, anchors, *, steps, neighbors, sample, metric):
    known = 0.0 if anchors is None else _PAIR * linalg.matmul(anchors[0].T, anchors[1])

    def step(weights, key):
        rows = _some(key, x, sample)
        mapped = _unit(rows @ weights)
        means = _neighbor_means(mapped, y, y, neighbors, _hubness(mapped, y) / 2 if metric == "csls" else None)
        new = (weights + polar(linalg.matmul(rows.T, means) + known)) / 2
        return new, linalg.frobenius(new - weights) / linalg.frobenius(weights)

    return lax.scan(step, weights, jax.random.split(key, steps))


def _steps(key, weights, x, y, anchors, steps, **options):
    return _run_steps(key, weights, x, y, anchors, steps=steps, **options)


def _hubness(mapped, y):
    """Mean cosine (m,) of each row of y to the mapped rows nearest it."""
    k = min(_HUBS, len(mapped))

    def of_block(rows):
        return lax.top_k(rows @ mapped.T, k)[0].mean(1)

    m = len(y)
    blocks = -(-m // _ROWS)
    size = -(-m // blocks)
    padded = jnp.pad(y, ((0, blocks * size - m), (0, 0))).reshape(blocks, size, -1)
    return lax.map(of_block, padded).reshape(-1)[:m]


@jax.jit
def _score(weights, x, y):
    mapped = _unit(x @ weights)
    cosines = mapped @ y.T
    nearest = (2 * cosines - _hubness(mapped, y)[None]).argmax(1)
    return jnp.take_along_axis(cosines, nearest[:, None], 1).mean() + 0 * weights.sum()
