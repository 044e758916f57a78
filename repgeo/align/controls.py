"""What a result of alignment must be set beside: disjoint halves, a rotated target, and inputs that must fail.

Two encoders of one ancestry share coordinates, and then no map at all looks like a good one; means taken over both
halves, or a text seen by both, leak as well. Each function here takes one such way out, or raises when it is open.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.align.maps import Map
from repgeo.retrieval import top_k_accuracy


def split_disjoint(ids, *, key: Array, held_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of three samples without a common id: one for each side, of equal size, and `held_out` rows to judge.

    ids (n,), integers or text, one a row, say which rows are one thing: a thing that stands in several rows would sit
    on both sides. On the host. Raises ValueError where an id repeats, naming it, and unless
    1 <= held_out <= n - 2; an odd row is left out.

    >>> import jax
    >>> a, b, judged = split_disjoint(["p", "q", "r", "s", "t"], key=jax.random.key(0), held_out=1)
    >>> len(a), len(b), len(judged), len({*a, *b, *judged})
    (2, 2, 1, 5)
    """
    ids = np.asarray(ids)
    if ids.ndim != 1 or ids.dtype.kind not in "iuUSb":
        raise ValueError(f"ids: expected one integer or text a row, shape (n,); got {ids.dtype} of shape {ids.shape}")
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        first = names[counts > 1][0]
        raise ValueError(
            f"ids: expected every id once, or one thing could lie on both sides; got {int((counts > 1).sum())} that "
            f"repeat, {first!r} {counts[counts > 1][0]} times"
        )
    n = len(ids)
    held_out = checks.count(held_out, "held_out", low=1, high=n - 2, why="one row is left for each side")
    order = np.asarray(jax.random.permutation(key, n))
    half = (n - held_out) // 2
    return order[held_out : held_out + half], order[held_out + half : held_out + 2 * half], order[:held_out]


def assert_disjoint(*ids) -> None:
    """Nothing, or a ValueError that names an id which two of the given lists (n,) share, or one repeats.

    >>> assert_disjoint([1, 2], [3], [4, 5])
    """
    seen = {}
    for place, some in enumerate(ids):
        for name in np.asarray(some).tolist():
            if name in seen:
                raise ValueError(f"ids: expected disjoint halves; got {name!r} in numbers {seen[name]} and {place}")
            seen[name] = place


def rotate(y: Array, *, key: Array) -> tuple[Array, Array]:
    """The rows of y (n, q) in coordinates turned at random, and the rotation (q, q): shared axes then help no method.

    Uniform over rotations and reflections. An honest method does as well on it as on y. Raises as `checks.matrix`.

    >>> import jax, jax.numpy as jnp
    >>> turned, q = rotate(jnp.array([[3.0, 4.0], [0.0, 1.0]]), key=jax.random.key(0))
    >>> bool(jnp.allclose(jnp.linalg.norm(turned, axis=1), jnp.array([5.0, 1.0]), atol=1e-5))
    True
    """
    y = checks.matrix(y, "y", at_least=1, may_be_constant=True)
    q, r = jnp.linalg.qr(jax.random.normal(key, (y.shape[1],) * 2, y.dtype))
    q = q * jnp.sign(jnp.diagonal(r))[None]  # without the signs it would not be uniform
    return linalg.matmul(y, q), q


def column_shuffled(y: Array, *, key: Array) -> Array:
    """The matrix y (n, q) with every column in an order of its own: the same marginals, no geometry.

    What is found between x and this is luck. Raises as `checks.matrix`.

    >>> import jax, jax.numpy as jnp
    >>> y = jnp.arange(12.0).reshape(6, 2)
    >>> bool((jnp.sort(column_shuffled(y, key=jax.random.key(0)), 0) == y).all())
    True
    """
    y = checks.matrix(y, "y")
    return jax.vmap(jax.random.permutation, in_axes=(0, 1), out_axes=1)(jax.random.split(key, y.shape[1]), y)


def wrong_model(m: Map, other: Array, y: Array, *, key: Array, most: float = 0.05) -> Array:
    """Top-1 accuracy () of a map on rows other (n, p) of a model it was not fitted on, row i to row i of y (n, q).

    The rows are turned at random first, and zero-padded or cut to the map's width: a model that shares its ancestry
    with the fitted one shares coordinates, and would pass without. Raises ValueError above `most`: then something
    leaks, and no number from this map is to be believed. Also as `checks.paired`.

    >>> import jax
    >>> from repgeo.align import procrustes
    >>> x = jax.random.normal(jax.random.key(0), (200, 5))
    >>> y, other = jax.random.normal(jax.random.key(1), (2, 200, 5))
    >>> bool(wrong_model(procrustes(x, y), other, y, key=jax.random.key(2)) < 0.05)
    True
    """
    other, y = checks.paired(other, y, names=("other", "y"))
    turned, _ = rotate(other - other.mean(0)[None], key=key)
    p = len(m.mean_x)
    turned = turned[:, :p]
    padded = jnp.pad(turned, ((0, 0), (0, p - turned.shape[1]))) + m.mean_x[None]
    return must_fail(m, padded, y, most=most)


def must_fail(m: Map, x: Array, y: Array, *, most: float = 0.05) -> Array:
    """Top-1 accuracy () of a control that has to fail, on rows x (n, p), y (n, q); ValueError where it exceeds `most`.

    >>> import jax
    >>> from repgeo.align import procrustes
    >>> x, y = jax.random.normal(jax.random.key(0), (2, 200, 5))
    >>> bool(must_fail(procrustes(x, y[::-1]), x, y) < 0.05)
    True
    """
    found = top_k_accuracy(*m.centered(x, y))
    most = checks.real(most, "most", low=0, high=1)
    if checks.is_concrete(found) and float(found) > most:
        raise ValueError(f"control: expected top-1 accuracy of at most {most}; got {float(found):.3f}: something leaks")
    return found
