"""Similarity of neighbourhoods: which samples are near which, in one representation and in the other.

All but `imd` count or weigh the nearest neighbours of the same samples on both sides; none of them has a scale, so a
value means little without that of unrelated data at the same n and k.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.neighbors import METRICS, nearest, nonzero_rows, shared
from repgeo.similarity.record import Record, Split, invariant, measure

_TURNED = invariant("scale", "rotation")
_TIMES = np.logspace(-1, 1, 256)  # of diffusion, over which the intrinsic distance takes its maximum
_NO_SHARED = "the neighbours' part of an argument's kernel is 0, or of no positive unbiased norm; try a larger k"


@measure(
    Record("similarity", (0, 1), True, _TURNED, "huh2024"),
    split=Split(lambda x, **options: _prepare_knn(x, **options), lambda a, b: _mutual(a, b), lambda *a: _renamed(*a)),
)
def mutual_knn(x: Array, y: Array, *, k: int = 10, metric: str = "cosine") -> Array:
    """Mean share of the k nearest neighbours of a sample in x that are also among its k nearest in y, in [0, 1].

    x (n, p), y (n, q), 1 <= k <= n - 1. For unrelated x and y the expected value is k / (n - 1): compare with it,
    and only at equal n and k. `metric` as in `neighbors.knn`: "cosine" (as Huh et al. 2024 on normalised features;
    a shift changes it), "euclidean", "inner"; ties go to the lower index. Exact; O(n^2 (p + q)) time in blocks,
    O(n k) memory. Not differentiable: its gradient is 0. Source: Huh et al. 2024.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (30, 5))
    >>> print(f"{mutual_knn(x, 2 * x[:, ::-1], k=3):.2f}")
    1.00
    """
    return _mutual(*_neighbour_lists(x, y, k, metric))


@measure(
    Record("similarity", (0, 1), True, _TURNED, "huh2024"),
    split=Split(lambda x, **options: _prepare_knn(x, **options), lambda a, b: _jaccard(a, b), lambda *a: _renamed(*a)),
)
def knn_jaccard(x: Array, y: Array, *, k: int = 10, metric: str = "cosine") -> Array:
    """Mean Jaccard index of the two sets of k nearest neighbours of each sample, in [0, 1].

    x (n, p), y (n, q); arguments, cost and errors as `mutual_knn`. With m shared neighbours a sample scores
    m / (2 k - m), so partial agreement counts for less than in `mutual_knn`; unrelated data score about
    k / (2 (n - 1)).

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (30, 5))
    >>> print(f"{knn_jaccard(x, 2 * x[:, ::-1], k=3):.2f}")
    1.00
    """
    return _jaccard(*_neighbour_lists(x, y, k, metric))


@measure(
    Record("similarity", (0, 1), False, _TURNED, "huh2024"),
    split=Split(lambda x, **options: _prepare_knn(x, **options), lambda a, b: _cycle(a, b), lambda *a: _renamed(*a)),
)
def cycle_knn(x: Array, y: Array, *, k: int = 10, metric: str = "cosine") -> Array:
    """Share of samples to which a step among neighbours in y and one among neighbours in x can return, in [0, 1].

    x (n, p), y (n, q); arguments, cost and errors as `mutual_knn`, and O(n k^2) memory. Sample i counts when it is
    one of the k nearest in x of at least one of its k nearest in y (the order of arguments of the authors' code);
    asymmetric. Not 1 for x with itself where a sample is nobody's neighbour. Unrelated data score about
    1 - (1 - k / (n - 1))^k, which is .65 already at n = 101, k = 10: choose k far below the root of n.
    Source: Huh et al. 2024, appendix.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (30, 5))
    >>> print(f"{cycle_knn(x, 2 * x[:, ::-1], k=3):.2f}")
    0.93
    """
    return _cycle(*_neighbour_lists(x, y, k, metric))


@measure(
    Record("similarity", (-1, 1), True, _TURNED, "huh2024"),
    split=Split(lambda x, **options: _prepare_cknna(x, **options), lambda a, b: _inner(a, b)),
)
def cknna(x: Array, y: Array, *, k: int = 10, metric: str = "cosine") -> Array:
    """Centred kernel alignment of shared nearest neighbours, in [-1, 1]: `cka` summed over neighbour pairs alone.

    x (n, p), y (n, q), 1 <= k <= n - 1. With a_ij = <x_i, x_j> less its mean over j, b_ij likewise from y, and N_x,
    N_y the pairs (i, j) where j is among the k nearest of i: the sum of a_ij b_ij over pairs in both, over the roots
    of the sums of a_ij^2 over N_x and of b_ij^2 over N_y (Huh et al. 2024, eq. 16-18). `metric` is "cosine" (rows
    are scaled to unit length, as the paper does) or "inner". At k = n - 1 it is close to `cka` of those rows. The
    authors' code, which most published values come from, computes something else: `cknna_unbiased`.
    O(n^2 (p + q)) time, O(n^2) memory. Differentiable while no neighbour changes. Raises as `mutual_knn`, and
    ValueError where the neighbours' part of a kernel is 0.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (30, 5))
    >>> print(f"{cknna(x, 2 * x[:, ::-1], k=3):.2f}")
    1.00
    """
    return _aligned(x, y, k, metric, 2, _prepare_cknna, _inner)


@measure(
    Record("similarity", (-float("inf"), float("inf")), False, _TURNED, "huh2024", at_least=4),
    split=Split(lambda x, **options: _prepare_unbiased(x, **options), lambda a, b: _compare_unbiased(a, b)),
)
def cknna_unbiased(x: Array, y: Array, *, k: int = 10, metric: str = "cosine") -> Array:
    """CKNNA as the code of Huh et al. 2024 computes it, about in [-1, 1]: unbiased HSIC of masked kernels.

    x (n, p), y (n, q), n >= 4; arguments, cost and errors as `cknna`. The kernels <x_i, x_j> and <y_i, y_j>, not
    centred, are set to 0 outside the pairs that are neighbours in both, and enter Song's sum (`hsic_unbiased`); the
    self-terms keep all neighbours of their side. Equal to `cka_debiased` of the rows at k = n - 1. For smaller k the
    masked kernels are no longer symmetric: the value depends on the order of x and y in about the third digit, and
    1 is not a bound. Undefined where a self-term is not positive, as happens at k = 1 (the code refuses it).

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (30, 5))
    >>> print(f"{cknna_unbiased(x, 2 * x[:, ::-1], k=3):.2f}")
    1.00
    """
    return _aligned(x, y, k, metric, 4, _prepare_unbiased, _compare_unbiased)


@measure(
    Record("metric", (0, float(np.exp(-4))), True, invariant("shift", "scale", "rotation"), "tsitsulin2020"),
    split=Split(lambda x, **options: _heat_trace(x, **options), lambda a, b: _intrinsic(a, b)),
)
def imd(x: Array, y: Array, *, k: int = 5) -> Array:
    """Intrinsic multi-scale distance of two point clouds, in [0, exp(-4)]; their rows need not be the same samples.

    x (n, p), y (m, q), 1 <= k <= min(n, m) - 1. Each cloud becomes its graph of k nearest Euclidean neighbours (an
    edge where either is near the other), each graph the trace h(t) of the heat kernel exp(-t L) of its normalised
    Laplacian, divided by the number of points. The distance is the largest exp(-2 (t + 1/t)) |h_x(t) - h_y(t)| over
    256 times from .1 to 10. It depends on the spectrum alone: clouds that are copies of each other once or twice
    over are 0 apart, so it is a metric of spectra. The authors' code estimates the traces by random vectors and
    multiplies by 10^6; here they are exact, from all eigenvalues: O(n^3 + m^3) time, O(n^2 + m^2) memory: for
    thousands of points, not more. The row order of either side is ignored, so shuffled rows are no null. Gradient 0.
    Raises as `checks.matrix`, and for k. Source: Tsitsulin et al. 2020.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (40, 3))
    >>> print(f"{imd(x, 2 * x[::-1] + 1):.5f} {imd(x, x[:, :1]):.5f}")
    0.00000 0.00014
    """
    x, y = checks.matrix(x, "x"), checks.matrix(y, "y")
    k = _neighbour_count(k, min(x, y, key=len))
    dtype = jnp.promote_types(x.dtype, y.dtype)
    return _intrinsic(_heat_trace(x.astype(dtype), k), _heat_trace(y.astype(dtype), k))


def _neighbour_lists(x, y, k, metric):
    x, y = checks.paired(x, y)
    checks.choice(metric, "metric", METRICS)
    k = _neighbour_count(k, x)
    if metric == "cosine":
        nonzero_rows(x, "x")
        nonzero_rows(y, "y")
    searches = (partial(nearest, a, k=k, metric=metric) for a in (x, y))
    return linalg.side_by_side(searches) if linalg.on_host(x, y) else [search() for search in searches]


def _prepare_knn(x, k=10, metric="cosine"):
    if metric == "cosine":
        nonzero_rows(x, "layer")
    return nearest(x, k=k, metric=metric)


def _renamed(lists, rows):
    """The lists of x[rows]: its row i was row rows[i], and so were that row's neighbours somewhere."""
    return jnp.argsort(rows)[lists[rows]].astype(lists.dtype)


@jax.jit
def _mutual(a, b):
    return jnp.mean(shared(a, b)) / a.shape[1]


@jax.jit
def _jaccard(a, b):
    common = shared(a, b)
    return jnp.mean(common / (2 * a.shape[1] - common))


def _neighbour_count(k, x):
    return checks.count(k, "k", low=1, high=len(x) - 1, why="n - 1 other rows")


@jax.jit
def _cycle(a, b):
    home = jnp.arange(len(a))[:, None, None]
    return jnp.mean((a[b] == home).any((1, 2)), dtype=jnp.result_type(float))


def _graph(x, k, metric):
    """Which row has which among its k nearest, (n, n)."""
    lists = nearest(x, k=k, metric=metric)
    return jnp.zeros((len(x), len(x)), bool).at[jnp.arange(len(x))[:, None], lists].set(True)


def _aligned(x, y, k, metric, at_least, prepare, compare):
    x, y = checks.paired(x, y, at_least=at_least)
    checks.choice(metric, "metric", ("cosine", "inner"))
    k = _neighbour_count(k, x)
    if metric == "cosine":
        nonzero_rows(x, "x")
        nonzero_rows(y, "y")
    return checks.defined(compare(prepare(x, k, metric), prepare(y, k, metric)), _NO_SHARED)


def _prepare_cknna(x, k=10, metric="cosine"):
    """The centred kernel of neighbours, 0 elsewhere, of unit norm: a product is 0 unless both sides are neighbours."""
    kernel, _ = _kernel_of_neighbours(x, k, metric, True)
    return kernel / jnp.sqrt(jnp.sum(kernel * kernel))


def _prepare_unbiased(x, k=10, metric="cosine"):
    kernel, near = _kernel_of_neighbours(x, k, metric, False)
    own = _song(kernel, kernel)
    return kernel / jnp.sqrt(jnp.where(own > 0, own, jnp.nan)), near


def _kernel_of_neighbours(x, k, metric, centred):
    if metric == "cosine":
        nonzero_rows(x, "layer")
    return _masked(x, k, metric, centred)


@partial(jax.jit, static_argnames=("k", "metric", "centred"))
def _masked(x, k, metric, centred):
    near = _graph(x, k, metric)
    x = x / linalg.scale_of(x, axis=1 if metric == "cosine" else None)
    if metric == "cosine":
        x = x / jnp.sqrt(jnp.sum(x * x, 1, keepdims=True))
    return jnp.where(near, linalg.matmul(x, (linalg.center(x) if centred else x).T), 0), near


@jax.jit
def _inner(a, b):
    return jnp.sum(a * b)


@jax.jit
def _compare_unbiased(a, b):
    (a, near_a), (b, near_b) = a, b
    return _song(jnp.where(near_b, a, 0), jnp.where(near_a, b, 0))


@jax.jit
def _song(a, b):
    """Song's sum for kernels that may lack symmetry, as the code of Huh et al. takes it; zero diagonals assumed."""
    n = len(a)
    total = jnp.sum(a * b.T) + jnp.sum(a) * jnp.sum(b) / ((n - 1) * (n - 2))
    return total - 2 / (n - 2) * jnp.sum(a.sum(0) * b.sum(1))


@partial(jax.jit, static_argnames="k")
def _heat_trace(x, k=5):
    """Mean over points of the heat that stays where it was put, at each of the times."""
    near = _graph(x, k, "euclidean")
    edges = (near | near.T).astype(x.dtype)
    root = lax.rsqrt(edges.sum(1))
    walk = edges * root[:, None] * root[None]  # its eigenvalues lie in [-1, 1]
    spectrum = 2 - linalg.singular_values(jnp.eye(len(x), dtype=x.dtype) + walk)  # in half the time of `eigvalsh`
    return jnp.exp(-jnp.asarray(_TIMES, x.dtype)[:, None] * spectrum[None]).mean(1)


@jax.jit
def _intrinsic(a, b):
    times = jnp.asarray(_TIMES, a.dtype)
    return jnp.max(jnp.exp(-2 * (times + 1 / times)) * jnp.abs(a - b))
