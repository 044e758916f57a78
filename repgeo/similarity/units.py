"""Single units, one to one, few to one and many to many: which neurons of one network are which of the other?"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.similarity.record import Record, invariant, measure

_UNITWISE = invariant("shift", "scale", "permutation")


@dataclass(frozen=True)
class Matching:
    """Pairs of units and their correlations; `float()` gives the mean correlation, so that `chance` can score it.

    units_x (m,), units_y (m,): unit units_x[i] of x goes with units_y[i] of y, whose correlation is correlations[i].
    """

    units_x: np.ndarray
    units_y: np.ndarray
    correlations: np.ndarray

    def __float__(self) -> float:
        return float(self.correlations.mean())


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SparsePrediction:
    """Each unit of y as a weighted sum of few units of x, all standardised; a pytree, fields by target where (q,).

    weights (p, q): column j makes unit j of y. r2 (q,): explained share of its variance, in sample. used (q,): units
    of x whose weight is not 0. gap (q,): duality gap, by which the objective exceeds its minimum at most.
    rounds (): sweeps over the units of x. converged (): whether the last of them moved all weights within tolerance.
    """

    weights: Array
    r2: Array
    used: Array
    gap: Array
    rounds: Array
    converged: Array


@dataclass(frozen=True)
class CoClustering:
    """Groups that hold units of both networks; `float()` gives within - between, so that `chance` can score it.

    labels_x (p,), labels_y (q,): the group 0..c-1 of every unit, -1 for a dead one. within, between: mean
    |correlation| of the live pairs (i of x, j of y) in one group, and of those in two.
    """

    labels_x: np.ndarray
    labels_y: np.ndarray
    within: float
    between: float

    def __float__(self) -> float:
        return self.within - self.between


def unit_correlations(x: Array, y: Array) -> Array:
    """Pearson correlation (p, q) of each unit of x (n, p) with each of y (n, q); 0 with a dead (constant) unit.

    Raises as `checks.paired`.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]])
    >>> unit_correlations(x, -x).round(3).tolist()
    [[-1.0, 0.0], [0.0, 0.0]]
    """
    return _correlations(*checks.paired(x, y))


@measure(Record("similarity", (-1, 1), True, _UNITWISE, "li2015", traceable=False))
def match_units(x: Array, y: Array) -> Matching:
    """The one-to-one matching of units with the largest total correlation; min(p, q) pairs, ordered by units_x.

    x (n, p), y (n, q). Signed correlations, as for rectified units in Li et al. 2015: an anticorrelated pair is a
    bad match. A dead unit correlates 0 with everything and is matched last. Chance grows with p, q and falls with n:
    compare with `chance.permutation_test`. O(n p q + p q min(p, q)); assignment by SciPy, so not under `jit`
    (TypeError). Raises as `checks.paired`. Source: Li et al. 2015, sec. 3 (bipartite matching).

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (50, 3))
    >>> match_units(x, x[:, ::-1]).units_y.tolist()
    [2, 1, 0]
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed here alone

    correlations = _concrete_correlations(x, y, "match_units")
    rows, columns = linear_sum_assignment(correlations, maximize=True)
    return Matching(rows, columns, correlations[rows, columns])


@measure(Record("similarity", (-1, 1), True, _UNITWISE, "li2015", traceable=False))
def soft_match(x: Array, y: Array) -> Matching:
    """The best partner of every unit of x in y and of every unit of y in x: p + q pairs, units may be used again.

    x (n, p), y (n, q). The first p pairs run over the units of x, the last q over those of y. `float()` of the
    result is the mean of the two sides' mean correlations, each side counting for half (Li et al. 2015 call one side
    the semi-matching). Signed correlations, dead units 0, errors and tracing as `match_units`. O(n p q).

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (50, 3))
    >>> soft_match(x, x[:, ::-1]).units_y.tolist()
    [2, 1, 0, 0, 1, 2]
    """
    correlations = _concrete_correlations(x, y, "soft_match")
    p, q = correlations.shape
    best_y, best_x = correlations.argmax(1), correlations.argmax(0)
    return SoftMatching(
        np.concatenate([np.arange(p), best_x]),
        np.concatenate([best_y, np.arange(q)]),
        np.concatenate([correlations.max(1), correlations.max(0)]),
        p,
    )


@dataclass(frozen=True)
class SoftMatching(Matching):
    """A `Matching` whose first `p` pairs start from x and whose others start from y."""

    p: int

    def __float__(self) -> float:
        return float((self.correlations[: self.p].mean() + self.correlations[self.p :].mean()) / 2)


def sparse_predict_units(
    x: Array, y: Array, *, penalty: float, tolerance: float | None = None, max_rounds: int = 10_000
) -> SparsePrediction:
    """Every unit of y from few units of x: weights of the L1-penalised regression, R^2 and units used, by target.

    x (n, p) and y (n, q) are standardised (mean 0, variance 1; a dead unit becomes 0: weight 0, and as a target R^2
    0). Minimises ||y_j - x w||^2 / (2 n) + penalty ||w||_1 for all j at once, penalty > 0 in units of correlation: at
    the largest |correlation| of y_j with a unit of x, or above, nothing is used. Not symmetric.

    To read it: a unit that one unit predicts as well as many do is found again as such; one whose R^2 needs several
    is a direction that both networks span in different bases; one with a low R^2 at a small penalty is not in x. R^2
    is of the rows that were fitted, so it is above 0 by chance: compare with shuffled rows (`chance.permutation_test`
    takes `lambda x, y: sparse_predict_units(x, y, penalty=0.1).r2.mean()`). A path of penalties is a `jax.vmap`.

    Cyclic coordinate descent on x^T x and x^T y, stopped when a round over all units of x moves no weight by more
    than `tolerance` times the largest weight or 1 (by default 1e-10, in float32 two roundings: that leaves about five
    digits where collinear units take 1 000 rounds). O(n p (p + q)), and O(p^2 q) a round; the closer to collinear
    the units of x, the more rounds, and of exact copies any share may carry the weight. Forward-mode derivatives
    only. Raises as `checks.paired`; ValueError for penalty <= 0, tolerance <= 0, max_rounds < 1, and when `max_rounds`
    rounds are not enough (under a trace: `converged` is False). Source: Li et al. 2015, sec. 3 (sparse prediction);
    Friedman, Hastie and Tibshirani 2010, sec. 2.2 (covariance updates).

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (200, 5))
    >>> found = sparse_predict_units(x, x[:, :1] - x[:, 3:4], penalty=0.1)
    >>> found.used.tolist(), [round(float(w), 2) for w in found.weights[:, 0]]
    ([2], [0.55, 0.0, 0.0, -0.65, 0.0])
    """
    x, y = checks.paired(x, y)
    penalty = jnp.asarray(checks.real(penalty, "penalty", low=0, open_low=True), x.dtype)
    if tolerance is None:
        tolerance = max(1e-10, 2 * float(jnp.finfo(x.dtype).eps))
    tolerance = jnp.asarray(checks.real(tolerance, "tolerance", low=0, open_low=True), x.dtype)
    max_rounds = checks.count(max_rounds, "max_rounds", low=1, high=2**31 - 1)
    found = _lasso(x, y, penalty, tolerance, max_rounds)
    if checks.is_concrete(found.converged) and not found.converged:
        raise ValueError(
            f"max_rounds: expected enough for weights that move by at most {float(tolerance):.1e}; got {max_rounds}, "
            f"with a duality gap of {float(found.gap.max()):.1e}: raise max_rounds, tolerance or penalty"
        )
    return found


@measure(Record("similarity", (-1, 1), False, invariant("shift", "scale"), "li2015", traceable=False))
def spectral_match_units(x: Array, y: Array, *, c: int, key: Array, starts: int = 20) -> CoClustering:
    """Groups of units, c of them, that correlate across two networks: a label for every unit of x and of y.

    x (n, p), y (n, q). The units of both are the two sides of a graph whose edges are |correlation|; its normalised
    cut into c groups is relaxed to singular vectors 2 to 1 + ceil(log2 c) of the matrix over the roots of its row and
    column sums, whose rows are clustered by k-means, the best of `starts` runs drawn from `key` (Dhillon 2001). A
    group may hold units of one side only. Dead units belong to none (-1). Any matrix is cut into c groups: compare
    `float()` with `chance.permutation_test`, and with other c. O(n p q + p q min(p, q)) on the host, in float64, not
    under `jit` (TypeError). Raises as `checks.paired`; ValueError unless 2 <= c <= live units of both sides together,
    with log2(c) below the live units of either, for starts < 1, and when no start fills c groups. Source: many-to-many
    mapping of Li et al. 2015, sec. 3, in the bipartite form of Dhillon 2001, secs. 3-4.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (100, 2))
    >>> found = spectral_match_units(z[:, [0, 0, 1]], z[:, [1, 0]], c=2, key=jax.random.key(1))
    >>> bool((found.labels_x == found.labels_y[[1, 1, 0]]).all())
    True
    """
    from scipy.cluster.vq import ClusterError, kmeans2  # as above

    correlations = _concrete_correlations(x, y, "spectral_match_units")
    strength = np.abs(correlations).astype(np.float64)
    live_x, live_y = strength.any(1), strength.any(0)
    edges = strength[np.ix_(live_x, live_y)]
    c = checks.count(c, "c", low=2, high=sum(edges.shape), why="live units of x and y")
    vectors = int(np.ceil(np.log2(c)))
    if vectors >= min(edges.shape):
        raise ValueError(f"c: expected log2(c) below the live units of either side, {edges.shape}; got {c}")
    starts = checks.count(starts, "starts", low=1, high=10_000)
    rows, columns = edges.sum(1) ** -0.5, edges.sum(0) ** -0.5
    u, s, vt = np.linalg.svd(rows[:, None] * edges * columns[None], full_matrices=False)
    kept = slice(1, 1 + vectors)
    real = s[kept] > s[0] * max(edges.shape) * np.finfo(correlations.dtype).eps  # other vectors are arbitrary
    points = np.concatenate([rows[:, None] * u[:, kept], columns[:, None] * vt[kept].T]) * real
    points /= max(np.abs(points).max(), np.finfo(float).tiny)
    points = np.round(points, 6)  # copies of a unit are one point, not a cloud of rounding
    if (distinct := len(np.unique(points, axis=0))) < c:
        raise ValueError(f"c: expected at most the {distinct} units that can be told apart; got {c}")
    draws = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    best, labels = np.inf, None
    for _ in range(starts):
        try:
            centres, found = kmeans2(points, c, iter=100, minit="++", missing="raise", seed=draws)
        except ClusterError:  # a group ran empty
            continue
        cost = np.sum((points - centres[found]) ** 2)
        if cost < best:
            best, labels = cost, found
    if labels is None:
        raise ValueError(f"starts: expected enough for one to fill {c} groups; got {starts}: raise starts or lower c")
    labels_x, labels_y = np.full(len(live_x), -1), np.full(len(live_y), -1)
    labels_x[live_x], labels_y[live_y] = np.split(labels, [len(edges)])
    together = labels_x[live_x][:, None] == labels_y[live_y][None]
    within, between = (edges[pairs].mean() if pairs.any() else 0.0 for pairs in (together, ~together))
    return CoClustering(labels_x, labels_y, float(within), float(between))


@jax.jit
def _lasso(x, y, penalty, tolerance, max_rounds):
    x, y = _standard(x), _standard(y)
    xx, xy = linalg.matmul(x.T, x), linalg.matmul(x.T, y)
    size = jnp.diagonal(xx)  # 1, or 0 for a dead unit
    live = size > 0.5
    slopes = jnp.where(live, 1 / jnp.where(live, size, 1), 0)

    def update(j, state):
        weights, moved = state
        old = weights[j]
        pull = xy[j] - linalg.matmul(xx[j], weights) + size[j] * old
        new = slopes[j] * (pull - jnp.clip(pull, -penalty, penalty))
        return weights.at[j].set(new), jnp.maximum(moved, jnp.abs(new - old).max())

    def sweep(state):
        weights, _, rounds = state
        weights, moved = jax.lax.fori_loop(0, len(xx), update, (weights, jnp.zeros((), x.dtype)))
        return weights, moved, rounds + 1

    def settled(weights, moved):
        return moved <= tolerance * jnp.maximum(jnp.abs(weights).max(), 1)

    def goes_on(state):
        return ~settled(state[0], state[1]) & (state[2] < max_rounds)

    start = jnp.zeros_like(xy), jnp.full((), jnp.inf, x.dtype), jnp.zeros((), jnp.int32)
    weights, moved, rounds = jax.lax.while_loop(goes_on, sweep, start)
    pulls = xy - linalg.matmul(xx, weights)
    total = jnp.sum(y * y, 0)
    explained = jnp.sum(weights * (xy + pulls), 0)
    # the residual, shrunk until no unit pulls harder than the penalty, is a dual point; all terms are >= 0
    shrink = jnp.minimum(1, penalty / jnp.maximum(jnp.abs(pulls).max(0), penalty))
    paid = penalty * jnp.abs(weights).sum(0) - shrink * jnp.sum(weights * pulls, 0)
    gap = (total - explained) * (1 - shrink) ** 2 / 2 + paid
    r2 = explained / jnp.where(total > 0, total, 1)
    return SparsePrediction(weights, r2, jnp.sum(weights != 0, 0), gap, rounds, settled(weights, moved))


def _concrete_correlations(x, y, name):
    correlations = _correlations(*checks.paired(x, y))
    if not checks.is_concrete(correlations):
        raise TypeError(f"{name}: its assignment is made outside JAX and cannot be traced; call it on concrete arrays")
    return np.asarray(correlations)


@jax.jit
def _correlations(x, y):
    return jnp.clip(linalg.matmul(_standard(x).T, _standard(y)), -1, 1)


def _standard(a):
    """The columns of `a`, centred and of length one (dead ones 0): their products are correlations."""
    a = linalg.center(a)
    a = a / linalg.scale_of(a, axis=0)
    norm = jnp.sqrt(jnp.sum(a * a, 0, keepdims=True))
    return a / jnp.where(norm > 0, norm, 1)
