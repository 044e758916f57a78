"""Linear probes: ridge in closed form, and multinomial logistic regression run until its gradient says it is done."""

import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg

_NEWTON_STEPS = 100
_HALVINGS = 25


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Linear:
    """A linear probe: weights (p, c), bias (c,), where the features were centred (p,), how it was left.

    `gradient` () is the norm of the objective's gradient at the end, in coordinates in which x is white, so that half
    its square is about the loss still to be gained; 0 for a closed form. `steps` () taken.
    """

    weights: Array
    bias: Array
    center: Array
    gradient: Array
    steps: Array

    def scores(self, x: Array) -> Array:
        """Scores (n, c) of the rows of x (n, p): log-odds of a logistic probe, fitted values of a ridge."""
        return linear_scores(self, of_width(x, len(self.center)))


def of_width(x: Array, p: int) -> Array:
    """`x` (n, p) checked, or an error that says which width the probe was fitted on."""
    x = checks.matrix(x, "x", at_least=1, may_be_constant=True)
    if x.shape[1] != p:
        raise ValueError(f"x: expected {p} features, as the probe was fitted on; got shape {x.shape}")
    return x


@jax.jit
def linear_scores(probe: Linear, x: Array) -> Array:
    """`Linear.scores` without its checks."""
    return linalg.matmul(x - probe.center[None], probe.weights) + probe.bias[None]


def integers(y: Array) -> Array:
    """`y` as an array, or a TypeError when it holds anything but integers or booleans."""
    y = y if isinstance(y, jax.Array) else np.asarray(y)
    if not (y.dtype == bool or jnp.issubdtype(y.dtype, jnp.integer)):
        raise TypeError(f"y: expected classes as integers or booleans; got dtype {y.dtype}")
    return y


def labelled(x: Array, y: Array, classes: int | None) -> tuple[Array, Array, int]:
    """`x` (n, p) and y (n,) checked, and the number of classes: labels are integers 0 ... c - 1, or booleans."""
    x = checks.matrix(x, "x")
    y = integers(y)
    if y.shape != x.shape[:1]:
        raise ValueError(f"x and y: expected one class a row; got shapes {x.shape} and {y.shape}")
    if checks.is_concrete(y):
        known = np.asarray(y)  # a trace that closes over y would stage its minimum
        low, high = int(known.min()), int(known.max())
        c = high + 1 if classes is None else checks.count(classes, "classes", low=2, high=2**31)
        if low < 0 or high >= c:
            raise ValueError(f"y: expected classes 0 ... {c - 1}; got labels from {low} to {high}")
        if low == high:
            raise ValueError(f"y: expected at least two classes; got {len(y)} rows of class {low}")
    elif classes is None:
        raise ValueError("classes: expected their number; got None, under a trace that does not know the labels")
    else:
        c = checks.count(classes, "classes", low=2, high=2**31)
    return x, jnp.asarray(y, int), c


def ridge(x: Array, y: Array, *, classes: int | None = None, key: Array | None = None, l2: float = 1e-3) -> Linear:
    """Least squares on one column of 0 and 1 a class, with penalty `l2` |w|^2 on features of mean variance 1.

    x (n, p), y (n,) with classes 0 ... c - 1. Closed form, O(n p^2 + p^3): the fastest probe, and a blunter one than
    `logistic` where classes are unbalanced. Its scores are no probabilities. `key` is unused. Raises as
    `checks.matrix`; TypeError for labels that are not integers, ValueError for one class or labels outside the range.

    >>> import jax.numpy as jnp
    >>> probe = ridge(jnp.array([[0.0], [1.0], [4.0], [5.0]]), [0, 0, 1, 1])
    >>> probe.scores(jnp.array([[1.0], [4.0]])).argmax(1).tolist()
    [0, 1]
    """
    x, y, c = labelled(x, y, classes)
    return _ridge(x, jax.nn.one_hot(y, c, dtype=x.dtype), checks.real(l2, "l2", low=0, open_low=True))


def logistic(
    x: Array, y: Array, *, classes: int | None = None, key: Array | None = None, l2: float = 1e-4,
    tolerance: float = 1e-4,
) -> Linear:
    """Multinomial logistic regression: mean cross-entropy + l2 / 2 |w|^2 on features of mean variance 1, converged.

    x (n, p), y (n,) with classes 0 ... c - 1. Newton steps by conjugate gradients in coordinates in which x is white,
    until the `gradient` in the result is below `tolerance`, else a warning: a probe that stopped early reads less than
    is there, which passes for erasure. l2 = 1 / (C n) in scikit-learn's terms, on features of that scale; the bias is
    free. O(n p^2) once and O(n p c) a product, of which some tens to hundreds are taken. `key` is unused. Errors as
    `ridge`; ValueError unless l2 > 0 (separable classes have no optimum without it).

    >>> import jax.numpy as jnp
    >>> probe = logistic(jnp.array([[0.0], [1.0], [4.0], [5.0]]), [0, 0, 1, 1])
    >>> bool(probe.gradient < 1e-4), probe.scores(jnp.array([[1.0], [4.0]])).argmax(1).tolist()
    (True, [0, 1])
    """
    x, y, c = labelled(x, y, classes)
    l2 = checks.real(l2, "l2", low=0, open_low=True)
    tolerance = checks.real(tolerance, "tolerance", low=0, open_low=True)
    probe = fit_logistic(x, jax.nn.one_hot(y, c, dtype=x.dtype), l2, tolerance)
    if checks.is_concrete(probe.gradient) and not probe.gradient <= tolerance:
        warnings.warn(
            f"logistic stopped after {int(probe.steps)} steps at a gradient of {float(probe.gradient):.1e}, above the "
            f"tolerance {tolerance}: raise l2 or the tolerance",
            stacklevel=2,
        )
    return probe


def _standard(x):
    """`x` centred and divided by the root of its mean variance; the mean, that root, and the covariance."""
    mean = x.mean(0)
    x = linalg.center(x)
    unit = linalg.scale_of(x)  # squares of very large or small features would not be there to add up
    x = x / unit
    covariance = linalg.matmul(x.T, x) / len(x)
    scale = linalg.safe_sqrt(jnp.diagonal(covariance).mean())
    scale = jnp.where(scale > 0, scale, 1)
    return x / scale, mean, scale * unit, covariance / scale**2


@jax.jit
def _ridge(x, z, l2):
    x, mean, scale, covariance = _standard(x)
    share = z.mean(0)
    factor = jax.scipy.linalg.cho_factor(covariance + l2 * jnp.eye(len(covariance), dtype=x.dtype), lower=True)
    weights = jax.scipy.linalg.cho_solve(factor, linalg.matmul(x.T, z - share[None]) / len(x))
    zero = jnp.zeros((), x.dtype)
    return Linear(weights / scale, share, mean, zero, jnp.zeros((), int))


@jax.jit
def fit_logistic(x: Array, z: Array, l2: Array, tolerance: Array) -> Linear:
    """`logistic` without its checks, on one-hot (or any) shares z (n, c) of the classes."""
    x, mean, scale, covariance = _standard(x)
    white, lower = whitened(x, covariance, l2)
    v, bias, slope, steps = fit_white(white, lower, z, l2, tolerance)
    return Linear(_solved(lower, v, trans=1) / scale, bias, mean, slope, steps)


def whitened(x: Array, covariance: Array, l2: Array) -> tuple[Array, Array]:
    """Rows of x (n, p) in coordinates in which the curvature of the loss at 0 is about 1, and their factor (p, p)."""
    lower = jnp.linalg.cholesky(covariance / 4 + l2 * jnp.eye(len(covariance), dtype=x.dtype))
    return _solved(lower, x.T).T, lower


def _solved(lower, a, trans=0):
    return jax.scipy.linalg.solve_triangular(lower, a, lower=True, trans=trans)


def fit_white(
    white: Array, lower: Array, z: Array, l2: Array, tolerance: Array, closed: Array | None = None
) -> tuple[Array, Array, Array, Array]:
    """Newton steps on rows from `whitened`: (weights (p, c) there, bias (c,), norm of the gradient, steps).

    `closed` (p, k), orthonormal columns or zeros, is what the weights stay orthogonal to: with an orthonormal basis of
    lower^-1 U that is the probe of the rows without the span of U, from rows that need not be erased for it.
    """

    def loss(at):
        v, b = at
        v = v if closed is None else v - linalg.matmul(closed, linalg.matmul(closed.T, v))
        logits = linalg.matmul(white, v) + b[None]
        entropy = jnp.mean(jax.nn.logsumexp(logits, 1) - jnp.sum(z * logits, 1))
        return entropy + l2 / 2 * jnp.sum(_solved(lower, v, trans=1) ** 2)

    def norm(g):
        return jnp.sqrt(sum(jnp.sum(a * a) for a in g))

    def newton(state):
        at, value, slope, steps, _ = state
        size = norm(slope)
        _, curvature = jax.linearize(jax.grad(loss), at)
        step, _ = jax.scipy.sparse.linalg.cg(
            curvature, jax.tree.map(jnp.negative, slope), tol=jnp.minimum(0.1, jnp.sqrt(size)), maxiter=100
        )
        fall = sum(jnp.vdot(a, b) for a, b in zip(step, slope, strict=True))
        slack = 4 * jnp.finfo(white.dtype).eps * jnp.abs(value)  # at the end a true step is rounding

        def moved(t):
            return jax.tree.map(lambda a, s: a + t * s, at, step)

        def too_far(trial):
            t, found, tries = trial
            return ~(found <= value + 1e-4 * t * fall + slack) & (tries < _HALVINGS)

        def halve(trial):
            t, _, tries = trial
            return t / 2, loss(moved(t / 2)), tries + 1

        one = jnp.ones((), white.dtype)
        t, found, _ = lax.while_loop(too_far, halve, (one, loss(moved(one)), 0))
        new = moved(t)
        stuck = ~(found <= value + slack)
        return jax.tree.map(lambda a, b: jnp.where(stuck, a, b), at, new), found, jax.grad(loss)(new), steps + 1, stuck

    share = jnp.maximum(z.mean(0), 1 / (len(z) + 1))
    start = jnp.zeros((white.shape[1], z.shape[1]), white.dtype), jnp.log(share)
    state = (start, loss(start), jax.grad(loss)(start), 0, jnp.asarray(False))
    at, _, slope, steps, _ = lax.while_loop(
        lambda s: (norm(s[2]) > tolerance) & (s[3] < _NEWTON_STEPS) & ~s[4], newton, state
    )
    v = at[0] if closed is None else at[0] - linalg.matmul(closed, linalg.matmul(closed.T, at[0]))
    return v, at[1], norm(slope), jnp.asarray(steps)
