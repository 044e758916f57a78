"""Relative coordinates of rows, taken to anchors, and what the anchors leave out."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.neighbors import nonzero_rows

SIMILARITIES = ("cosine", "angular", "inner", "euclidean", "l1", "basis")

INVARIANCES = {
    "cosine": frozenset({"permutation", "rotation", "scale", "row scale"}),
    "angular": frozenset({"permutation", "rotation", "scale", "row scale"}),
    "inner": frozenset({"permutation", "rotation"}),
    "euclidean": frozenset({"permutation", "rotation", "shift"}),
    "l1": frozenset({"permutation", "shift"}),
    "basis": frozenset({"permutation", "rotation", "scale", "linear"}),
}
"""What may happen to samples and anchors alike without moving their relative coordinates.

"rotation" is any orthogonal matrix, "scale" one factor for all, "row scale" a positive factor for each row, "linear"
any invertible matrix; a mean that moves along ("shift") joins all but "row scale" where it is given. "basis" needs as
many anchors as features for "linear", and of full rank.
"""


def relative(x: Array, anchors: Array, *, similarity: str = "cosine", mean: Array | None = None) -> Array:
    """Coordinates (n, m) of the rows of x (n, p): their similarity to each of the anchors (m, p).

    `similarity`: "cosine" in [-1, 1]; "angular", the angle over pi, and the distances "euclidean" and "l1", all three
    0 where a row meets the anchor; "inner", the product; "basis", the shortest row c with c A = x for the anchors A,
    or the nearest where none is exact. Their invariances differ: `INVARIANCES`. `mean` (p,) is subtracted from
    samples and anchors alike, so that one row has the coordinates that it has in a batch; with the mean of this
    encoder's rows a shift no longer matters, and retrieval improves where all rows share a direction.
    In single precision, angles and distances below 3e-4 of the largest are rounding, those of a row to itself too.
    O(n m p), about one product; "l1" takes as many subtractions, and longer.
    Raises as `checks.matrix`; ValueError for different widths, for another shape of `mean`, and under "cosine" or
    "angular" when a row is 0 (NaN under a trace). Source: Moschella et al. 2023, equation 1.

    >>> import jax.numpy as jnp
    >>> relative(jnp.array([[3.0, 4.0]]), jnp.eye(2)).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    checks.choice(similarity, "similarity", SIMILARITIES)
    x, anchors = _rows(x, anchors, values=False)
    if mean is not None:
        mean = checks.floats(mean, "mean").astype(x.dtype)
        if mean.shape != x.shape[1:]:
            raise ValueError(f"mean: expected one number a feature, shape {x.shape[1:]}; got {mean.shape}")
    coordinates = _relative(x, anchors, mean, similarity)
    if checks.is_concrete(coordinates) and not _defined(coordinates):  # to look at x first costs half as much again
        _say_why(x, anchors, mean, similarity)
    return coordinates


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Completeness:
    """How much of a space a set of anchors spans: rank (), condition (), kept () in [0, 1]; a pytree."""

    rank: Array
    condition: Array
    kept: Array


def completeness(x: Array, anchors: Array) -> Completeness:
    """How much of x (n, p) relative coordinates to the anchors (m, p) can hold at most.

    `rank` of the unit anchors, at most min(m, p); `condition`, their largest singular value over the smallest of
    that rank, is how much `reconstruct` multiplies noise; `kept`, the share of the squared length of x within their
    span, is what it can bring back: 1 when the rank is p. Subtract a mean from both first, if `relative` is to.
    Singular values below the largest times max(m, p) eps count as 0. Raises as `relative` with "cosine".

    >>> import jax.numpy as jnp
    >>> found = completeness(jnp.array([[3.0, 4.0], [3.0, -4.0]]), jnp.array([[2.0, 0.0]]))
    >>> found.rank.item(), found.condition.item(), round(found.kept.item(), 6)
    (1, 1.0, 0.36)
    """
    x, anchors = _rows(x, anchors)
    nonzero_rows(anchors, "anchors")
    if checks.is_concrete(x) and not np.any(np.asarray(x) != 0):
        raise ValueError("x: expected rows that are not all 0; got nothing to keep")
    return _completeness(x, anchors)


def reconstruct(coordinates: Array, anchors: Array, *, norms: Array) -> Array:
    """Rows (n, p) whose cosines to the anchors (m, p) are `coordinates` (n, m) and whose lengths were `norms` (n,).

    Exact when the anchors have rank p; otherwise the part within their span. With the anchors of another encoder it
    is a translation. Raises as `checks.matrix`; ValueError when shapes do not fit.

    >>> import jax.numpy as jnp
    >>> reconstruct(jnp.array([[0.6, 0.8]]), jnp.eye(2), norms=jnp.array([5.0])).round(5).tolist()
    [[3.0, 4.0]]
    """
    coordinates = checks.matrix(coordinates, "coordinates", at_least=1, may_be_constant=True)
    anchors = checks.matrix(anchors, "anchors", at_least=1, may_be_constant=True)
    norms = checks.floats(norms, "norms")
    if coordinates.shape[1] != len(anchors) or norms.shape != coordinates.shape[:1]:
        raise ValueError(
            f"coordinates, anchors and norms: expected shapes (n, m), (m, p) and (n,); got {coordinates.shape}, "
            f"{anchors.shape} and {norms.shape}"
        )
    nonzero_rows(anchors, "anchors")
    return _reconstruct(coordinates, anchors, norms)


def _rows(x, anchors, values=True):
    """Samples and anchors in one dtype and of one width, or the error that names what is wrong with them."""
    x = checks.matrix(x, "x", at_least=1, may_be_constant=True, values=values)
    anchors = checks.matrix(anchors, "anchors", at_least=1, may_be_constant=True, values=values)
    if x.shape[1] != anchors.shape[1]:
        raise ValueError(f"x and anchors: expected one width, in one space; got shapes {x.shape} and {anchors.shape}")
    dtype = jnp.promote_types(x.dtype, anchors.dtype)
    return x.astype(dtype), anchors.astype(dtype)


def _say_why(x, anchors, mean, similarity):
    """Raise the error that says why some coordinates are not finite; silent where finite numbers overflowed."""
    _rows(x, anchors)
    if mean is not None:
        if not np.isfinite(np.asarray(mean)).all():
            raise ValueError("mean: expected finite values; got NaN or inf")
        x, anchors = x - mean[None], anchors - mean[None]
    if similarity in ("cosine", "angular"):
        nonzero_rows(x, "x" if mean is None else "x minus mean")
        nonzero_rows(anchors, "anchors" if mean is None else "anchors minus mean")


def _unit(x):
    x = x / linalg.scale_of(x, axis=1)  # squares can then neither over- nor underflow
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@partial(jax.jit, static_argnums=3)
def _relative(x, anchors, mean, similarity):
    if mean is not None:
        x, anchors = x - mean[None], anchors - mean[None]
    if similarity == "inner":
        return linalg.matmul(x, anchors.T)
    if similarity == "cosine":
        return _cosines(x, anchors)
    if similarity == "angular":
        return _angle(_cosines(x, anchors))
    if similarity == "euclidean":
        return _distances(x - anchors[:1], anchors - anchors[:1])  # any origin will do, and this one keeps integers
    if similarity == "l1":
        return lax.map(lambda a: jnp.abs(x - a[None]).sum(1), anchors).T
    return linalg.matmul(x, _pseudo_inverse(anchors))


@jax.jit
def _defined(coordinates):
    """Whether all are finite: a row or an anchor that is not spoils every coordinate of its."""
    return jnp.isfinite(coordinates[:, 0]).all() & jnp.isfinite(coordinates[0]).all()


def _cosines(x, anchors):
    """Lengths divide the product, which costs less than a copy of x that they have divided."""
    scale = linalg.scale_of(x, axis=1)  # squares can then neither over- nor underflow
    length = scale * jnp.linalg.norm(x / scale, axis=1, keepdims=True)
    return linalg.matmul(x, _unit(anchors).T) / length


def _angle(cosine):
    """Angle over pi of a cosine; its gradient at 0 and at pi, where it does not exist, is 0."""
    beyond = jnp.abs(cosine) >= 1
    return jnp.where(beyond, jnp.where(cosine > 0, 0, jnp.pi), jnp.arccos(jnp.where(beyond, 0, cosine))) / jnp.pi


def _distances(x, anchors):
    scale = linalg.scale_of(jnp.maximum(jnp.abs(x).max(), jnp.abs(anchors).max()))
    x, anchors = x / scale, anchors / scale
    square = jnp.sum(x * x, 1)[:, None] + jnp.sum(anchors * anchors, 1)[None]
    return scale * linalg.safe_sqrt(square - 2 * linalg.matmul(x, anchors.T))


def _pseudo_inverse(anchors):
    u, s, vt = jnp.linalg.svd(anchors, full_matrices=False)
    kept = linalg.rank_mask(s, anchors.shape)
    inverse = jnp.where(kept, 1 / jnp.where(kept, s, 1), 0)
    return linalg.matmul(vt.T * inverse[None], u.T)


@jax.jit
def _completeness(x, anchors):
    _, s, vt = jnp.linalg.svd(_unit(anchors), full_matrices=False)
    some = linalg.rank_mask(s, anchors.shape)
    smallest = jnp.where(some, s, jnp.inf).min()
    x = x / linalg.scale_of(x)
    inside = linalg.matmul(x, vt.T * some[None])
    return Completeness(some.sum(), s[0] / smallest, jnp.sum(inside**2) / jnp.sum(x**2))


@jax.jit
def _reconstruct(coordinates, anchors, norms):
    rows = linalg.matmul(coordinates, _pseudo_inverse(_unit(anchors)).T)
    return rows * norms[:, None]
