"""What is to be erased, as numbers: classes or amounts, beside the features that tell of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.moments import Moments, moments

KINDS = ("categorical", "continuous")


def as_concept(y: Array, *, labels: str, classes: int | None = None) -> Array:
    """The concept as numbers (n, q) that moments can be taken of: one column a class, or the values themselves.

    `labels` says what y is, since integers do not: "categorical", y (n,) with classes 0 ... c - 1 as integers or
    booleans, gives q = c columns of 0 and 1; "continuous", y (n,) or (n, q) real numbers, gives them back as a matrix.
    `classes` is c, the largest label + 1 unless given: give it under `jit` and for a stream, of which one batch may
    lack a class. Raises TypeError for labels that do not fit the kind (integers as "continuous" too: a class taken for
    an amount erases one direction of many, and nothing would show it); ValueError for labels outside 0 ... c - 1.

    >>> as_concept([0, 2, 1], labels="categorical").tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    checks.choice(labels, "labels", KINDS)
    if not isinstance(y, jax.Array):
        try:
            y = np.asarray(y)
        except ValueError as ragged:
            raise ValueError(f"y: expected rows of equal length; got {ragged}") from None
    whole = y.dtype == bool or jnp.issubdtype(y.dtype, jnp.integer)
    if labels == "continuous":
        if classes is not None:
            raise ValueError(f"classes: expected none of a continuous concept; got {classes}")
        if whole:
            raise TypeError(f"y: expected floats for labels='continuous'; got {y.dtype}: name it 'categorical', or "
                            f"convert it if the integers are amounts")
        return checks.matrix(y[:, None] if y.ndim == 1 else y, "y", at_least=1, may_be_constant=True)
    if not whole:
        raise TypeError(f"y: expected integers or booleans for labels='categorical'; got dtype {y.dtype}")
    if y.ndim != 1 or not len(y):
        raise ValueError(f"y: expected one class a row, shape (n,); got shape {y.shape}")
    if checks.is_concrete(y):
        known = np.asarray(y)  # a trace that closes over y would stage its minimum
        low, high = int(known.min()), int(known.max())
    elif classes is None:
        raise ValueError("classes: expected their number; got None, under a trace that does not know the labels")
    else:
        low, high = 0, 0
    c = high + 1 if classes is None else checks.count(classes, "classes", low=2, high=2**31)
    if low < 0 or high >= c:
        raise ValueError(f"y: expected classes 0 ... {c - 1}; got labels from {low} to {high}")
    return jax.nn.one_hot(y.astype(int), c, dtype=jnp.result_type(float))


def moments_of(x: Array, y: Array, labels: str) -> Moments:
    """Moments of x (n, p) and the concept y, checked."""
    return moments_of_checked(*paired(x, y, "y", labels))


moments_of_checked = jax.jit(moments)  # values are not looked at a second time under a trace


def paired(x: Array, y: Array, name: str, labels: str) -> tuple[Array, Array]:
    """X (n, p) and the concept (n, q), or an error that calls y by `name`."""
    x = checks.matrix(x, "x")
    z = as_concept(y, labels=labels)
    if len(x) != len(z):
        raise ValueError(f"x and {name}: expected one row per sample in both; got {len(x)} and {len(z)} rows")
    if checks.is_concrete(z) and not np.any(np.asarray(z) != np.asarray(z[:1])):
        raise ValueError(f"{name}: expected values that differ; got {len(z)} rows of one {labels} value")
    return x, z


def mean_directions(x: Array, z: Array) -> Array:
    """The left singular vectors (p, c - 1) of the covariance of centred x (n, p) with one-hot classes z (n, c)."""
    cross = linalg.matmul(x.T, z - z.mean(0)[None])
    return jnp.linalg.svd(cross, full_matrices=False)[0][:, : z.shape[1] - 1]
