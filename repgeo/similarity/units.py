"""Matching single units: which neuron of one network is which neuron of the other?"""

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


def _concrete_correlations(x, y, name):
    correlations = _correlations(*checks.paired(x, y))
    if not checks.is_concrete(correlations):
        raise TypeError(f"{name}: its assignment is made outside JAX and cannot be traced; call it on concrete arrays")
    return np.asarray(correlations)


@jax.jit
def _correlations(x, y):
    def standard(a):
        a = linalg.center(a)
        a = a / linalg.scale_of(a, axis=0)
        norm = jnp.sqrt(jnp.sum(a * a, 0, keepdims=True))
        return a / jnp.where(norm > 0, norm, 1)

    return jnp.clip(linalg.matmul(standard(x).T, standard(y)), -1, 1)
