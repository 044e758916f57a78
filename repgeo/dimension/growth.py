"""Dimension from growth: of the number of pairs with their distance, of a spanning tree with the number of points."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.dimension.local import median_over
from repgeo.neighbors import lengths, neighborhoods, originals

_BLOCK = 500  # rows of a block of the count of pairs


def correlation_dimension(x: Array, *, k1: int = 10, k2: int = 20) -> Array:
    """Correlation dimension: by which power of the distance r the number C(r) of pairs nearer than r grows.

    x (n, p), 1 <= k1 < k2 <= n - 1. Two points of the curve, ln(C(r_2) / C(r_1)) / ln(r_2 / r_1), at the median
    distances r_1, r_2 to the k1-th and k2-th nearest place. Pairs in dense regions dominate both counts. Copies of a
    row are one place. O(n^2 p) time in blocks, twice, O(n) memory besides `neighborhoods`. Pairs are counted from
    products of rows where rounding there is below 1e-4 of r_1^2, else from differences, at several times the time.
    Gradient only through the radii, so none that is of use. ValueError as `neighborhoods`, and where r_1 = r_2.
    Source: Grassberger and Procaccia 1983; radii as in scikit-dimension.

    >>> import jax
    >>> print(f"{correlation_dimension(jax.random.uniform(jax.random.key(1), (2000, 2))):.2f}")
    1.97
    """
    x = checks.matrix(x, "x", at_least=3)
    k2 = checks.count(k2, "k2", low=2, high=len(x) - 1, why="n - 1 other rows")
    k1 = checks.count(k1, "k1", low=1, high=k2 - 1, why="below k2")
    near = neighborhoods(x, k=k2)
    return checks.defined(
        _correlation(x, near.distances[:, k1 - 1], near.distances[:, k2 - 1], near.first),
        "the two radii are equal, or no pair is nearer; try another k1 or k2",
    )


@jax.jit
def _correlation(x, near, far, first):
    radii = jnp.stack([median_over(near, first), median_over(far, first)])
    within = pairs_within(x, radii, first).astype(x.dtype)
    width = jnp.log(radii[1] / radii[0])
    value = jnp.log(within[1] / within[0]) / jnp.where(width > 0, width, jnp.nan)
    return jnp.where(within[0] > 0, value, jnp.nan)


def pairs_within(x: Array, radii: Array, first: Array) -> Array:
    """Number (s,) of ordered pairs of rows of x (n, p), both in `first` (n,), that are nearer than each radius (s,)."""
    n, p = x.shape
    scale = linalg.scale_of(x)
    x, squares = linalg.center(x / scale), (radii / scale) ** 2
    norms = jnp.sum(x * x, 1)
    blocks = -(-n // _BLOCK)
    size = -(-n // blocks)
    padding = blocks * size - n
    x, norms = jnp.pad(x, ((0, padding), (0, 0))), jnp.pad(norms, (0, padding))
    first = jnp.pad(first, (0, padding))

    def by_products(a, b, na, nb):
        return na[:, None] + nb[None] - 2 * linalg.matmul(a, b.T)

    def by_differences(a, b, na, nb):
        return lax.map(lambda row: jnp.sum((b - row[None]) ** 2, 1), a)

    def counted(far):
        def step(total, pair):
            i, j = pair
            (a, b), (na, nb), (fa, fb) = (
                [lax.dynamic_slice_in_dim(z, at * size, size) for at in pair] for z in (x, norms, first)
            )
            apart = (i != j) | ~jnp.eye(size, dtype=bool)
            d2 = jnp.where(fa[:, None] & fb[None] & apart, far(a, b, na, nb), jnp.inf)
            weight = jnp.where(i == j, 1, 2)
            return total + weight * jnp.sum(d2[None] < squares[:, None, None], (1, 2)), None

        start = jnp.zeros(len(radii), jnp.result_type(float))
        return lax.scan(step, start, jnp.triu_indices(blocks))[0]

    rounding = 4 * p**0.5 * float(jnp.finfo(x.dtype).eps) * norms.max()
    return lax.cond(
        rounding < 1e-4 * squares.min(), lambda: counted(by_products), lambda: counted(by_differences)
    )


def spanning_edges(x: Array) -> tuple[Array, Array]:
    """Edges (n - 1, 2) of the minimum spanning tree of the rows of x (n, p), and their Euclidean lengths (n - 1,).

    Edges stand in the order in which the tree grows from row 0, the row already in it first; copies of a row are
    joined by edges of length 0. Distances are taken as differences. O(n^2 p) time, O(n p) memory: no n x n array.
    Lengths are differentiable, the tree held fixed; T-REG makes their sum large (Mordacq et al. 2025). Raises as
    `checks.matrix`, but rows may be equal.

    >>> import jax.numpy as jnp
    >>> edges, length = spanning_edges(jnp.array([[0.0], [5.0], [1.0], [3.0]]))
    >>> edges.tolist(), length.tolist()
    ([[0, 2], [2, 3], [3, 1]], [1.0, 2.0, 2.0])
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    edges = _tree(lax.stop_gradient(x), len(x))
    return edges, lengths(x[edges[:, 1]] - x[edges[:, 0]])


@jax.jit
def _tree(x, m):
    """Edges (n - 1, 2) of the minimum spanning tree of the first m rows, by Prim's algorithm; the rest are (0, 0)."""
    n = len(x)
    x = x / linalg.scale_of(x)
    inside = jnp.arange(n) < m

    def step(at, state):
        best, parent, last, edges = state
        far = jnp.sum((x - x[last][None]) ** 2, 1)
        nearer = far < best
        parent = jnp.where(nearer, last, parent)
        best = jnp.where(best < 0, best, jnp.minimum(best, far))  # below 0: in the tree
        new = jnp.argmin(jnp.where((best < 0) | ~inside, jnp.inf, best)).astype(jnp.int32)
        return best.at[new].set(-1), parent, new, edges.at[at].set(jnp.stack([parent[new], new]))

    state = jnp.full(n, jnp.inf).astype(x.dtype).at[0].set(-1), jnp.zeros(n, jnp.int32), jnp.int32(0)
    return lax.fori_loop(0, m - 1, step, (*state, jnp.zeros((n - 1, 2), jnp.int32)))[3]


def mst_growth(
    x: Array, *, key: Array, sizes: tuple[int, ...] | None = None, repeats: int = 4, alpha: float = 1.0
) -> Array:
    """Growth exponent of minimum spanning trees: the slope of ln E(m) on ln m, E(m) the summed length^alpha of edges.

    x (n, p) with at least 16 different rows. E(m) is meaned over `repeats` random samples of m places without
    replacement; `sizes` are the m, by default eight from an eighth of the places to all, evenly in logarithm. Points
    of dimension d > alpha give (d - alpha) / d, so 0 at d = alpha and towards 1 as d grows; a slope of 1 or more is
    that of points too few to show a dimension. Copies of a row are left out. O(repeats sum(m) n p) time, O(n p)
    memory. Not differentiable in the choice of samples and tree, but through the edges. ValueError as
    `checks.matrix`, for fewer places, and unless sizes hold two or more different counts from 2 to the places.
    Source: Costa and Hero 2004.

    >>> import jax
    >>> x = jax.random.uniform(jax.random.key(1), (2000, 2))[:500]
    >>> print(f"{mst_growth(x, key=jax.random.key(1)):.2f}")
    0.48
    """
    x = checks.matrix(x, "x", at_least=16)
    alpha = checks.real(alpha, "alpha", low=0, open_low=True)
    repeats = checks.count(repeats, "repeats", low=1, high=10**6)
    first = originals(x) == jnp.arange(len(x))
    places = int(first.sum()) if checks.is_concrete(first) else len(x)
    if places < 16:
        raise ValueError(f"x: expected at least 16 different rows; got {places} among {len(x)} rows")
    if sizes is None:
        sizes = np.unique(np.geomspace(places // 8, places, 8).round().astype(int)).tolist()
    sizes = tuple(checks.count(m, "sizes", low=2, high=places, why="that many different rows") for m in sizes)
    if len(set(sizes)) < 2:
        raise ValueError(f"sizes: expected two or more different sizes; got {sizes}")
    return _growth(x, first, key, jnp.asarray(sizes), alpha, repeats)


def mst_dimension(
    x: Array, *, key: Array, sizes: tuple[int, ...] | None = None, repeats: int = 4, alpha: float = 1.0
) -> Array:
    """Dimension alpha / (1 - s) of the points whose minimum spanning trees grow with the exponent s of `mst_growth`.

    Arguments, cost and errors as `mst_growth`. One number for the whole sample; boundaries bias it downwards, the
    more the higher d, and at d <= alpha it means nothing: take alpha below. ValueError where s >= 1, as few points of
    many dimensions have it; NaN under a trace. Source: Costa and Hero 2004; as PH_0 dimension, Birdal et al. 2021.

    >>> import jax
    >>> x = jax.random.uniform(jax.random.key(1), (2000, 2))[:500]
    >>> print(f"{mst_dimension(x, key=jax.random.key(1)):.1f}")
    1.9
    """
    slope = mst_growth(x, key=key, sizes=sizes, repeats=repeats, alpha=alpha)
    return checks.defined(alpha / (1 - jnp.where(slope < 1, slope, jnp.nan)), "the trees grow as fast as their points")


@partial(jax.jit, static_argnames="repeats")
def _growth(x, first, key, sizes, alpha, repeats):
    x = x / linalg.scale_of(x)

    def total(at):
        m, key = at
        order = jnp.argsort(jnp.where(first, jax.random.uniform(key, len(x)), 2))  # places, shuffled, before copies
        shuffled = x[order]
        edges = _tree(lax.stop_gradient(shuffled), m)
        length = lengths(shuffled[edges[:, 1]] - shuffled[edges[:, 0]])
        used = jnp.arange(len(edges)) < m - 1
        return jnp.sum(jnp.where(used, jnp.where(used, length, 1) ** alpha, 0))

    keys = jax.random.split(key, (len(sizes), repeats))
    sums = lax.map(lambda at: jnp.mean(lax.map(lambda key: total((at[0], key)), at[1])), (sizes, keys))
    logs = jnp.log(sizes.astype(x.dtype))
    logs = logs - logs.mean()
    return jnp.sum(logs * jnp.log(sums)) / jnp.sum(logs * logs)
