"""Every layer by every layer: the work that belongs to one layer is done once, not once a pair."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks


def grid(measure: Callable, xs: Sequence[Array], ys: Sequence[Array] | None = None, **options) -> Array:
    """measure(x, y) for every layer x of `xs` and y of `ys` (default: `xs` again), as an array (l1, l2).

    Layers are matrices with the same n samples; widths may differ. `options` go to the measure. Measures of this
    room prepare each layer once: the linear CKA and HSIC family takes one pass over Gram tiles for all pairs, the
    others one decomposition, distance matrix or neighbour list a layer, then one compiled comparison per pair. Any
    other callable (x, y) -> number is called for each pair. A pair whose value is undefined gives NaN.
    Raises as `checks.matrix`, naming the layer; ValueError without layers or for unequal numbers of samples.

    >>> import jax
    >>> from repgeo.similarity import cka
    >>> a, b = jax.random.normal(jax.random.key(0), (2, 50, 3))
    >>> grid(cka, [a, 2 * a], [a, b, a]).shape
    (2, 3)
    """
    same = ys is None
    record = getattr(measure, "record", None)
    at_least = record.at_least if record else 2
    at_once = bool(getattr(measure, "square", None)) and not options
    xs = _layers(xs, "xs", at_least, values=not at_once)
    ys = xs if same else _layers(ys, "ys", at_least, values=not at_once)
    if len({len(z) for z in [*xs, *ys]}) > 1:
        raise ValueError(f"layers: expected one number of samples; got {sorted({len(z) for z in [*xs, *ys]})}")
    dtype = jnp.result_type(*xs, *ys)
    xs, ys = ([z.astype(dtype) for z in side] for side in (xs, ys))
    if at_once:
        values = measure.square(xs if same else [*xs, *ys])
        if checks.is_concrete(values) and not (np.isfinite(values).all() and np.diagonal(values).all()):
            # NaN, infinity and equal rows all show in the products: looking for them first would cost 4 %
            _layers(xs, "xs", at_least)
            _layers(ys, "ys", at_least)
        return values if same else values[: len(xs), len(xs) :]
    if getattr(measure, "split", None):
        return _by_parts(measure, xs, None if same else ys, options)
    return jnp.stack([jnp.stack([_number(measure(x, y, **options)) for y in ys]) for x in xs])


def _layers(layers, name, at_least, values=True):
    if isinstance(layers, jax.Array) and layers.ndim != 3 or not len(layers):
        raise ValueError(f"{name}: expected a sequence of matrices (n, p); got shape {np.shape(layers)}")
    return [checks.matrix(z, f"{name}[{i}]", at_least=at_least, values=values) for i, z in enumerate(layers)]


def _by_parts(measure, xs, ys, options):
    prepare, compare = measure.split.prepare, measure.split.compare
    first = measure(xs[0], xs[0], **options)  # its door checks the options, which `prepare` trusts
    states = [prepare(z, **options) for z in (xs if ys is None else [*xs, *ys])]
    states = to_one_width(states)
    left = states[: len(xs)]
    right = left if ys is None else states[len(xs) :]
    mirrored = ys is None and measure.record.symmetric
    rows = []
    for i, a in enumerate(left):
        done = [rows[j][i] for j in range(i)] if mirrored else []
        rows.append(done + [compare(a, b) for b in right[len(done) :]])
    return jnp.stack([jnp.stack(row) for row in rows]).astype(first.dtype)


def to_one_width(states):
    """Zero-pad the last axis of corresponding leaves to the widest, so that all pairs share one compilation."""

    def pad(*leaves):
        width = max(leaf.shape[-1] for leaf in leaves) if leaves[0].ndim else 0
        return [jnp.pad(z, [(0, 0)] * (z.ndim - 1) + [(0, width - z.shape[-1])]) if z.ndim else z for z in leaves]

    leaves = [jax.tree.flatten(state)[0] for state in states]
    structure = jax.tree.structure(states[0])
    padded = [pad(*column) for column in zip(*leaves, strict=True)]
    return [jax.tree.unflatten(structure, leaf) for leaf in zip(*padded, strict=True)]


def _number(value):
    return value if isinstance(value, jax.Array) else jnp.asarray(float(value))
