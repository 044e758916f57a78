"""Two clouds of different things in two spaces, no pair known: the rotation that lays one on the other.

Clusterings of both are matched by their inner products alone, often, and mostly wrongly; what the matches agree on is
enough for a rotation that is a little right, and a rotation that is a little right improves itself: rows are matched
softly, each with about as much of the other side as every other row, and the rotation is fitted to that.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.align.centroids import climbed, kmeans
from repgeo.align.maps import Map, polar
from repgeo.neighbors import nonzero_rows

_HUBS = 10  # neighbours whose mean similarity CSLS subtracts
_JUDGED = 2_000  # rows that the score looks at
_LAST = 2 / 3  # of the temperature, once the rotation is nearly found
_MORE = 4  # times the sample, then
_PAIR = 5.0  # rows for which a known pair counts
_ROWS = 1_000  # of a block of similarities
_SCALINGS = 2  # of columns and rows, in a soft match
MATCHES = ("sinkhorn", "csls", "cosine")


def unpaired_align(
    x: Array,
    y: Array,
    *,
    key: Array,
    clusters: int | tuple[int, ...] = (60, 80),
    restarts: int = 8,
    pairs: Array | None = None,
    runs: int = 30,
    pairings: int = 3,
    sample: int = 2_000,
    width: int = 192,
    scout: int = 20,
    coarse: int = 60,
    fine: int = 10,
    match: str = "sinkhorn",
    temperature: float = 0.3,
    neighbors: int = 50,
) -> Map:
    """The rotation between x (n, p) and y (m, q), whose rows are different things, found without a pair; score: below.

    Each side is centred by its own mean, and its rows are scaled to length 1. For every number in `clusters`: `runs`
    k-means a side, each matched with `pairings` of the other side by `match_grams` with these `restarts`; the rotation
    of all matched centroids is a candidate, and takes `scout` steps in half of the `width` leading principal directions
    a side. The candidate of the best score goes on for `coarse` steps in `width` directions, and for `fine` ones in
    all. A step takes `sample` rows of x and 2 `sample` of y, matches them, fits the Procrustes rotation to the match,
    and goes there and as far again; the fine steps stop there, and take 4 `sample` rows a side.

    `match` is "sinkhorn": each row of x with weights exp(cosine / t) over the rows of y, which are then scaled so that
    no row of y gets more than its share; t is `temperature` (at the end two thirds of it) times the root mean square
    cosine of two rows of y. Or the mean of its `neighbors` nearest rows, by "csls" or "cosine".

    The score, () in [-1, 1], needs no pair: the mean cosine of a mapped row to its nearest by CSLS. It compares
    candidates for one pair of spaces, not different spaces. `history` has `clusters` and `scores` (candidates,),
    `chosen` (), `floor` (), the score that `scout` steps reach from a random rotation, `margin` (), the best candidate
    minus that, and `moved` (coarse + fine,), the relative length of each step. Where the margin is near 0 nothing was
    found: it fails so on data without clusters, with few rows (thousands are needed), and where both sides hold
    different content, which no score shows.

    `pairs` (k, 2), rows of x and of y known to be the same, join as one more candidate, `clusters` 0, and count as 5
    rows each in every step. Weights are orthogonal (orthonormal rows or columns for p != q). A
    rotation of y rotates the result. O(candidates runs n c width + steps sample^2 q) time, O(sample^2) memory.
    Raises as `checks.matrix`; ValueError for rows of 0, fewer rows than clusters or `neighbors` + 1, pairs out of
    range, an unknown match, a temperature that is not positive. Source: the pipeline is mini-vec2vec, Dar 2025, but for
    the steps, which are those of Grave, Joulin and Berthet 2019 with a softer match; the score is the model selection
    of Conneau et al. 2018, section 3.5.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (400, 8)) * 0.2 + jax.random.normal(jax.random.key(1), (20, 8))[
    ...     jax.random.randint(jax.random.key(2), (400,), 0, 20)]
    >>> m = unpaired_align(x[:200], x[200:, ::-1], key=jax.random.key(3), clusters=(12, 16, 20), fine=5)
    >>> a, b = m.centered(x, x[:, ::-1])
    >>> bool(((a * b).sum(1) > 0.9 * (b * b).sum(1)).mean() > 0.8)
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
    width = checks.count(width, "width", low=2, high=2**31)
    scout, coarse, fine = (
        checks.count(v, name, low=0, high=lots) for v, name in ((scout, "scout"), (coarse, "coarse"), (fine, "fine"))
    )
    step = _stepper(x, y, sample, match, temperature, neighbors)
    known = _known(pairs, x, y)
    if not clusters and known is None:
        raise ValueError("clusters: expected at least one number of clusters; got none, and no pairs")

    (mean_x, full_x), (mean_y, full_y) = _sphere(x), _sphere(y)
    axes_x, axes_y = _axes(full_x), _axes(full_y)
    *keys, for_floor, for_coarse, for_fine, for_judge = jax.random.split(key, len(clusters) + 4)
    judged = jax.random.permutation(for_judge, len(x))[:_JUDGED]

    def seen(w):  # both sides, and the known pairs, in w leading directions
        a, b = (_seen(z, axes, w) for z, axes in ((full_x, axes_x), (full_y, axes_y)))
        return a, b, None if known is None else (a[known[:, 0]], b[known[:, 1]])

    small_x, small_y, anchors = seen(width)
    starts = [_from_clusters(k, small_x, small_y, c, runs, pairings, restarts)
              for k, c in zip(keys, clusters, strict=True)]
    if anchors is not None:
        starts.append(polar(linalg.matmul(anchors[0].T, anchors[1])))
    starts.append(polar(jax.random.normal(for_floor, (small_x.shape[1], small_y.shape[1]), x.dtype)))
    half_x, half_y, half_anchors = seen(width // 2)
    scouted, scores = [], []
    for i, start in enumerate(starts):
        lone = i == len(starts) - 1  # the random start is to show what is reached without knowing anything
        found, _ = step(jax.random.fold_in(for_coarse, i), polar(start[: half_x.shape[1], : half_y.shape[1]]), half_x,
                        half_y, None if lone else half_anchors, scout)
        scouted.append(found)
        scores.append(_score(found, linalg.taken(half_x, judged), half_y))
    scores, floor = jnp.stack(scores[:-1]), scores[-1]
    chosen = scores.argmax()
    weights = _wider(_one_of(scouted[:-1], chosen), small_x.shape[1], small_y.shape[1])
    weights, moved = step(for_coarse, weights, small_x, small_y, anchors, coarse)
    weights = _wider(weights, len(axes_x), len(axes_y))
    weights = linalg.matmul(axes_x, linalg.matmul(weights, axes_y.T))
    anchors = None if known is None else (full_x[known[:, 0]], full_y[known[:, 1]])
    weights, moved_last = step(for_fine, weights, full_x, full_y, anchors, fine, last=True)
    weights = polar(weights)
    history = {
        "clusters": jnp.asarray(clusters + (0,) * (known is not None)),
        "scores": scores,
        "chosen": chosen,
        "floor": floor,
        "margin": scores.max() - floor,
        "moved": jnp.concatenate([moved, moved_last]),
    }
    score = _score(weights, linalg.taken(full_x, judged), full_y)
    return Map(weights, mean_x, mean_y, _relative_size(x, y, mean_x, mean_y), score, history)


def refine(
    start: Map,
    x: Array,
    y: Array,
    *,
    key: Array,
    pairs: Array | None = None,
    steps: int = 40,
    sample: int = 2_000,
    match: str = "sinkhorn",
    temperature: float = 0.3,
    neighbors: int = 50,
) -> Map:
    """`start`, a map fitted on few pairs say, improved on rows x (n, p) and y (m, q) that need not be paired.

    `steps` steps as in `unpaired_align`, a quarter of them fine, about the means of x and y; `pairs` (k, 2) of rows
    known to be the same keep counting. Its score, and history["moved"] (steps,), as there. It helps a start that is
    already right of some rows, and drifts from one that is not: compare the scores. Raises as `unpaired_align`,
    TypeError unless `start` is a `Map`, ValueError unless its widths are p and q.

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
    steps = checks.count(steps, "steps", low=0, high=2**20)
    step = _stepper(x, y, sample, match, temperature, neighbors)
    known = _known(pairs, x, y)
    (mean_x, on_x), (mean_y, on_y) = _sphere(x), _sphere(y)
    anchors = None if known is None else (on_x[known[:, 0]], on_y[known[:, 1]])
    for_steps, for_last, for_judge = jax.random.split(key, 3)
    weights = polar(start.weights.astype(x.dtype))
    weights, moved = step(for_steps, weights, on_x, on_y, anchors, steps - steps // 4)
    weights, moved_last = step(for_last, weights, on_x, on_y, anchors, steps // 4, last=True)
    weights = polar(weights)
    score = _score(weights, on_x[jax.random.permutation(for_judge, len(x))[:_JUDGED]], on_y)
    history = {"moved": jnp.concatenate([moved, moved_last])}
    return Map(weights, mean_x, mean_y, _relative_size(x, y, mean_x, mean_y), score, history)


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
    a, b = (a / linalg.scale_of(a) for a in m.centered(x, y))
    return _score(jnp.eye(b.shape[1], dtype=a.dtype), a, _unit(b))


def _clouds(x, y):
    x, y = checks.matrix(x, "x"), checks.matrix(y, "y")
    for name, a in (("x", x), ("y", y)):
        nonzero_rows(a, name)
    dtype = jnp.promote_types(x.dtype, y.dtype)
    return x.astype(dtype), y.astype(dtype)


def _stepper(x, y, sample, match, temperature, neighbors):
    """`_run_steps` with what the caller asked for, checked."""
    sample = checks.count(sample, "sample", low=1, high=2**31)
    few = min(len(x), len(y))
    options = {
        "match": checks.choice(match, "match", MATCHES),
        "neighbors": checks.count(neighbors, "neighbors", low=1, high=few - 1, why="rows of the smaller side"),
        "temperature": checks.real(temperature, "temperature", low=0, open_low=True),
    }

    def step(key, weights, x, y, anchors, steps, last=False):
        return _run_steps(key, weights, x, y, anchors, steps=steps, last=last, sample=sample, **options)

    return step


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
    a = a - mean[None]
    return mean, _unit(a / linalg.scale_of(a))


@jax.jit
def _relative_size(x, y, mean_x, mean_y):
    """How much longer a centred row of y is, in the root mean square: a rotation says nothing of it."""
    return linalg.frobenius(y - mean_y[None]) / linalg.frobenius(x - mean_x[None]) * jnp.sqrt(len(x) / len(y))


@jax.jit
def _axes(a):
    """Principal directions (p, p) of rows that are centred, the leading one first."""
    return linalg.descending_eigh(linalg.matmul(a.T, a))[1]


@partial(jax.jit, static_argnums=2)
def _seen(a, axes, width):
    """Rows of length 1 in so many leading directions."""
    return _unit(linalg.matmul(a, axes[:, :width]))


@jax.jit
def _one_of(arrays, which):
    return jnp.stack(arrays)[which]


@partial(jax.jit, static_argnums=(1, 2))
def _wider(weights, p, q):
    """The same map between more directions (p, q), of which those to come go nowhere yet."""
    return jnp.pad(weights, ((0, p - weights.shape[0]), (0, q - weights.shape[1])))


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _from_clusters(key, x, y, c, runs, pairings, restarts):
    """The rotation of centroids that are matched in `runs` x `pairings` ways."""
    for_x, for_y, for_match = jax.random.split(key, 3)
    a, b = (kmeans(k, z, c=c, runs=runs, steps=8)[0] for k, z in ((for_x, x), (for_y, y)))
    a, b = (z - z.mean(1, keepdims=True) for z in (a, b))
    first = jnp.tile(jnp.arange(runs), pairings)
    second = jnp.concatenate([jnp.roll(jnp.arange(runs), i) for i in range(pairings)])
    grams = (linalg.matmul(z, z.swapaxes(1, 2)) for z in (a, b))
    pairs = tuple(gram[which] for gram, which in zip(grams, (first, second), strict=True))
    orders = lax.map(lambda run: climbed(*run, restarts)[0], (jax.random.split(for_match, len(first)), *pairs))
    a, b = _unit(a)[first], _unit(b)[second]
    return polar(jnp.einsum("rcp,rcq->pq", a, jnp.take_along_axis(b, orders[:, :, None], 1)))


def _some(key, x, sample):
    return x if sample >= len(x) else x[jax.random.choice(key, len(x), (sample,), replace=False)]


def _neighbor_means(queries, y, k, bias):
    """Mean (n, q) of the k rows of y whose products with a query, less `bias`, are the largest."""

    def of_block(rows):
        scores = rows @ y.T
        scores = scores if bias is None else scores - bias[None]
        # The barrier keeps XLA from turning a top_k whose values are dropped into a sort.
        chosen = lax.optimization_barrier(lax.top_k(scores, k))[1]
        return lax.map(lambda i: y[i].mean(0), chosen, batch_size=8)  # what is gathered stays in cache

    n = len(queries)
    blocks = -(-n // _ROWS)
    size = -(-n // blocks)
    padded = jnp.pad(queries, ((0, blocks * size - n), (0, 0))).reshape(blocks, size, -1)
    return lax.map(of_block, padded).reshape(blocks * size, -1)[:n]


@partial(jax.jit, static_argnames=("steps", "last", "sample", "match", "neighbors"))
def _run_steps(key, weights, x, y, anchors, *, steps, last, sample, match, neighbors, temperature):
    known = 0.0 if anchors is None else _PAIR * linalg.matmul(anchors[0].T, anchors[1])
    spread = linalg.frobenius(linalg.matmul(y.T, y)) / len(y)  # the root mean square cosine of two rows
    mine, theirs = (_MORE * sample, _MORE * sample) if last else (sample, 2 * sample)

    def step(weights, key):
        for_x, for_y = jax.random.split(key)
        rows = _some(for_x, x, mine)
        mapped = _unit(rows @ weights)
        if match == "sinkhorn":
            cross = _soft_cross(rows, mapped, _some(for_y, y, theirs), temperature * spread * (_LAST if last else 1))
        else:
            bias = _hubness(mapped, y) / 2 if match == "csls" else None
            cross = linalg.matmul(rows.T, _neighbor_means(mapped, y, neighbors, bias))
        new = polar(cross + known)
        new = new if last else polar(2 * new - weights)
        return new, linalg.frobenius(new - weights) / linalg.frobenius(weights)

    return lax.scan(step, weights, jax.random.split(key, steps))


def _soft_cross(rows, mapped, y, temperature):
    """Sum over rows (n, p) of the row times the mean of y (m, q) that is matched to it, (p, q)."""
    cosines = mapped @ y.T
    kernel = jnp.exp((cosines - cosines.max(1, keepdims=True)) / temperature)

    def scaled(_, right):
        shares = (1 / (kernel @ right)) @ kernel
        return 1 / jnp.maximum(shares, jnp.finfo(shares.dtype).tiny)

    right = lax.fori_loop(0, _SCALINGS, scaled, jnp.ones(len(y), y.dtype))
    left = 1 / (kernel @ right)
    return linalg.matmul((rows * left[:, None]).T, kernel @ (y * right[:, None]))


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
