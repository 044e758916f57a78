"""Relative coordinates that hold less: rounded, sparse, or assigned to anchors that all take as many rows."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from repgeo import checks


def quantize(coordinates: Array, *, step: float) -> Array:
    """`coordinates` (n, m) rounded to multiples of `step`, ties to the even one; its gradient is that of no rounding.

    Small differences between two encoders' coordinates are rounded away, at the price of nearby rows. The gradient
    passes straight through, so that a head or an encoder can be trained below it.
    Raises as `checks.matrix`; ValueError unless step > 0.

    >>> import jax.numpy as jnp
    >>> quantize(jnp.array([[0.12, -0.49]]), step=0.25).tolist()
    [[0.0, -0.5]]
    """
    coordinates = checks.matrix(coordinates, "coordinates", at_least=1, may_be_constant=True)
    step = checks.real(step, "step", low=0, open_low=True)
    rounded = lax.stop_gradient(jnp.round(coordinates / step) * step)
    return rounded + (coordinates - lax.stop_gradient(coordinates))


def sparse_similarities(coordinates: Array, *, keep: int, power: float = 1.0) -> Array:
    """Rows (n, m) of length 1 with only the `keep` largest positive similarities of each row, raised to `power`.

    The coordinates of ASIF (Norelli et al. 2023), which compares a picture and a text by the anchors that are nearest
    each: 800 of millions, raised to the power of 8, there. A row without a positive similarity becomes 0; of equal
    ones the lower anchor stays. Raises as `checks.matrix`; ValueError unless 1 <= keep <= m and power > 0.

    >>> import jax.numpy as jnp
    >>> sparse_similarities(jnp.array([[0.4, 0.3, 0.1, -0.9]]), keep=2).round(6).tolist()
    [[0.800000011920929, 0.6000000238418579, 0.0, 0.0]]
    """
    coordinates = checks.matrix(coordinates, "coordinates", at_least=1, may_be_constant=True)
    keep = checks.count(keep, "keep", low=1, high=coordinates.shape[1], why="m anchors")
    power = checks.real(power, "power", low=0, open_low=True)
    return _sparse(coordinates, keep, power)


def balanced_assignment(
    similarities: Array, *, per_row: int = 1, epsilon: float = 0.05, tolerance: float = 1e-3, steps: int = 2000
) -> Array:
    """Weights (n, m) by which rows are assigned to anchors: each row gives `per_row`, each anchor takes n per_row / m.

    The entropic transport plan for `similarities` (n, m), by Sinkhorn's iterations (ott-jax): nearly the assignment
    of the largest total similarity as `epsilon`, in units of the similarities, goes to 0, and even weights as it
    grows. No anchor can become everyone's nearest, as in a plain search. The `per_row` largest weights of a row name
    its anchors. Marginals hold up to `tolerance` (total deviation over total weight). Differentiable.
    Raises as `checks.matrix`; ValueError unless 1 <= per_row <= m and epsilon, tolerance > 0, and when `steps`
    iterations do not suffice: a larger epsilon needs fewer. Source: Cuturi 2013.

    >>> import jax.numpy as jnp
    >>> balanced_assignment(jnp.array([[0.9, 0.0], [0.8, 0.7]]), epsilon=0.01).round(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    similarities = checks.matrix(similarities, "similarities", at_least=1, may_be_constant=True)
    n, m = similarities.shape
    per_row = checks.count(per_row, "per_row", low=1, high=m, why="m anchors")
    epsilon = checks.real(epsilon, "epsilon", low=0, open_low=True)
    tolerance = checks.real(tolerance, "tolerance", low=0, open_low=True)
    steps = checks.count(steps, "steps", low=1, high=10**6)
    plan, converged = _transport(similarities, epsilon, tolerance, steps)
    if checks.is_concrete(converged) and not converged:
        raise ValueError(
            f"epsilon: {steps} iterations left the marginals further than {tolerance} from even; a larger epsilon than "
            f"{epsilon}, or more steps, are needed"
        )
    return checks.defined(plan * (n * per_row), "similarities over epsilon are too large for this dtype")


@partial(jax.jit, static_argnums=1)
def _sparse(coordinates, keep, power):
    values, at = lax.top_k(coordinates, keep)
    top = jnp.maximum(values, 0) / jnp.where(values[:, :1] > 0, values[:, :1], 1)  # so that no power underflows all
    values = jnp.where(top > 0, jnp.where(top > 0, top, 1) ** power, 0)
    length = jnp.linalg.norm(values, axis=1, keepdims=True)
    values = values / jnp.where(length > 0, length, 1)
    return jnp.zeros_like(coordinates).at[jnp.arange(len(coordinates))[:, None], at].set(values)


@partial(jax.jit, static_argnums=(2, 3))
def _transport(similarities, epsilon, tolerance, steps):
    from ott.geometry import geometry
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    with jax.numpy_rank_promotion("allow"):  # ott-jax relies on it
        problem = linear_problem.LinearProblem(geometry.Geometry(cost_matrix=-similarities, epsilon=epsilon))
        most = -(-steps // 10) * 10  # it looks at the marginals after every tenth
        found = sinkhorn.Sinkhorn(threshold=tolerance, max_iterations=most, implicit_diff=None)(problem)
        return found.matrix, found.converged
