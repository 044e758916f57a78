"""Debiased CKA of a stream: exact from fourth moments, or, for layers wider than a batch, a ratio of sums."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks
from repgeo.debiased_moments import DebiasedMoments, unbiased_products
from repgeo.similarity.kernels import _NOT_POSITIVE, _OVERFLOW, _SCALE, _align, _debiased_gram_products

_AT_LEAST = 4  # rows that an unbiased HSIC needs


def cka_debiased_from(m: DebiasedMoments) -> Array:
    """`cka_debiased` of a sample that was never held at once: the same number, whatever the batches were.

    From sums that add up over batches and shards in any order (`debiased_moments`), at any scale of the features;
    n >= 4 rows altogether. In [-1, 1]. Raises as `debiased_moments.unbiased_products`; ValueError (under a trace: NaN)
    where a self-term is 0. Source: Song et al. 2012, eq. 5; feature-space form of Kornblith et al. 2019.

    >>> import jax
    >>> from repgeo.debiased_moments import debiased_moments
    >>> from repgeo.similarity import cka_debiased
    >>> x, y = jax.random.normal(jax.random.key(0), (2, 50, 3))
    >>> m = debiased_moments(x[:7], y[:7]) + debiased_moments(x[7:], y[7:])
    >>> abs(float(cka_debiased_from(m) - cka_debiased(x, y))) < 1e-6
    True
    """
    xx, xy, yy = unbiased_products(m)
    return checks.defined(_align(xx, xy, yy), f"{_NOT_POSITIVE}; or {_SCALE}")


def hsic_unbiased_from(m: DebiasedMoments) -> Array:
    """`hsic_unbiased` of a sample that was never held at once; errors as `cka_debiased_from`.

    >>> import jax.numpy as jnp
    >>> from repgeo.debiased_moments import debiased_moments
    >>> x = jnp.array([[0.0], [1.0], [0.0], [1.0]])
    >>> round(float(hsic_unbiased_from(debiased_moments(x, x))), 4)
    0.1667
    """
    _, xy, _ = unbiased_products(m)
    unit = m.scale[0] * m.scale[1]
    return checks.defined(xy / (m.n * (m.n - 3)) * unit * unit, _OVERFLOW)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MinibatchGrid:
    """Sums over mini-batches of n (n - 3) unbiased HSIC, the inner products of U-centred Gram matrices.

    cross (l1, l2): layer i of one network with layer j of the other; self_x (l1,), self_y (l2,): each with itself.
    Batches add up with `+`.
    """

    cross: Array
    self_x: Array
    self_y: Array

    def __add__(self, other: "MinibatchGrid") -> "MinibatchGrid":
        """The sums of both."""
        if self.cross.shape != other.cross.shape:
            mine, theirs = self.cross.shape, other.cross.shape
            raise ValueError(f"minibatch grid: expected equal numbers of layers; got {mine} and {theirs}")
        return jax.tree.map(jnp.add, self, other)


def minibatch_grid(xs: Sequence[Array], ys: Sequence[Array] | None = None) -> MinibatchGrid:
    """Sums of one mini-batch for the mini-batch CKA of all layers `xs` with all layers `ys` (default: `xs` again).

    Layers are matrices (n, p) of the same n >= 4 rows; widths may differ. Every layer gives one Gram matrix,
    a row of n^2 numbers, and all pairs are one matrix product: O((l1 + l2) n^2 p + (l1 + l2)^2 n^2), compiled once per
    set of shapes. Raises as `checks.matrix`, naming the layer; ValueError without layers or for unequal n.
    Source: Nguyen et al. 2021, eqs. 2-4.

    >>> import jax
    >>> a, b = jax.random.normal(jax.random.key(0), (2, 64, 300))
    >>> minibatch_grid([a, b], [a, b, a + b]).cross.shape
    (2, 3)
    """
    return _grid_of(_layers(xs, "xs", _AT_LEAST), None if ys is None else _layers(ys, "ys", _AT_LEAST))


def cka_minibatch_from(g: MinibatchGrid) -> Array:
    """Mini-batch CKA of all pairs of layers, as an array (l1, l2), from sums over batches; NaN where a self-term is 0.

    >>> import jax
    >>> a, b = jax.random.normal(jax.random.key(0), (2, 64, 300))
    >>> total = minibatch_grid([a[:32], b[:32]]) + minibatch_grid([a[32:], b[32:]])
    >>> [f"{value:.2f}" for value in cka_minibatch_from(total)[0]]
    ['1.00', '0.05']
    """
    if not isinstance(g, MinibatchGrid):
        raise TypeError(f"g: expected MinibatchGrid, as `minibatch_grid(xs, ys)` returns; got {type(g).__name__}")
    smallest = jnp.finfo(g.cross.dtype).tiny / jnp.finfo(g.cross.dtype).eps  # sums below have lost terms to underflow
    self_x, self_y = (jnp.where(a > smallest, a, 0) for a in (g.self_x, g.self_y))
    return _align(self_x[:, None], g.cross, self_y[None])


def cka_minibatch(batches: Iterable[tuple[Array, Array]]) -> Array:
    """Mini-batch linear CKA of a stream, in [-1, 1]: summed unbiased HSIC over the roots of the summed self-terms.

    `batches` is any iterable (a generator too) of pairs x (n, p), y (n, q), n free; for p, q beyond the batch, where
    `cka_debiased_from` would need p x q sums; O(n^2 (p + q)) time and O(n^2 + n (p + q)) memory a batch. A ratio of
    sums, not a mean of ratios, close to `cka_debiased` of all rows; what differs between batches and not inside them
    is lost, so shuffle. The paper's mean gives equal batches equal weight; as in its authors' code, unequal ones count
    by n (n - 3), their pairs of rows. Batches below 4 rows are joined to the next, at the end to the one before.
    Raises TypeError for what is no pair; as `checks.matrix`, naming the batch; ValueError for unequal rows or widths,
    fewer than 4 rows altogether, or (under a trace: NaN) a self-term of 0. Source: Nguyen et al. 2021, eqs. 2-4.

    >>> import jax
    >>> x, y = jax.random.normal(jax.random.key(0), (2, 130, 500))
    >>> pairs = ((x[i : i + 64], x[i : i + 64] + y[i : i + 64]) for i in range(0, 130, 64))
    >>> print(f"{cka_minibatch(pairs):.2f}")
    0.52
    """
    pairs = (([x], [y]) for x, y in _pairs(batches))
    value = cka_minibatch_from(_total(pairs))[0, 0]
    return checks.defined(value, f"{_NOT_POSITIVE}, in every batch; or {_SCALE}")


def cka_minibatch_grid(batches: Iterable[tuple[Sequence[Array], Sequence[Array]]]) -> Array:
    """`cka_minibatch` of every layer by every layer, as an array (l1, l2); each batch is a pair of lists of matrices.

    The layers of a batch share their rows. Batches are weighted and joined as in `cka_minibatch`, and its errors are
    raised, but a pair of layers without a value gives NaN in its place. One matrix product a batch (`minibatch_grid`).

    >>> import jax
    >>> a, b = jax.random.normal(jax.random.key(0), (2, 130, 300))
    >>> layers = ([a[i : i + 64], b[i : i + 64]] for i in range(0, 130, 64))
    >>> cka_minibatch_grid((both, both) for both in layers).shape
    (2, 2)
    """
    return cka_minibatch_from(_total(_pairs(batches)))


def _pairs(batches) -> Iterator[tuple]:
    if not isinstance(batches, Iterable) or isinstance(batches, str | bytes | jax.Array | np.ndarray):
        raise TypeError(f"batches: expected an iterable of pairs (x, y); got {type(batches).__name__}")
    for i, batch in enumerate(batches):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            what = f"{len(batch)} items" if isinstance(batch, tuple | list) else type(batch).__name__
            raise TypeError(f"batches[{i}]: expected a pair (x, y); got {what}")
        yield tuple(batch)


def _total(pairs):
    total = None
    for xs, ys in _regrouped(pairs):
        found = _grid_of(xs, ys)
        total = found if total is None else total + found
    return total


def _regrouped(pairs) -> Iterator[tuple[list, list]]:
    """The batches, those too short for a value joined to the next one, or at the end to the one before."""
    ready = short = widths = None
    for i, (xs, ys) in enumerate(pairs):
        xs, ys = (_layers(side, f"batches[{i}].{name}", 1) for side, name in ((xs, "x"), (ys, "y")))
        _one_length([*xs, *ys], f"batches[{i}]")
        mine = [[z.shape[1] for z in side] for side in (xs, ys)]
        if widths not in (None, mine):
            raise ValueError(f"batches[{i}]: expected widths {widths}, as in the batches before; got {mine}")
        widths = mine
        short = (xs, ys) if short is None else _joined(short, (xs, ys))
        if len(short[0][0]) >= _AT_LEAST:
            if ready:
                yield ready
            ready, short = short, None
    if ready is None:
        rows = len(short[0][0]) if short else 0
        raise ValueError(f"batches: expected at least {_AT_LEAST} samples (rows) altogether; got {rows}")
    yield _joined(ready, short) if short else ready


def _joined(first, second):
    return tuple([jnp.concatenate(z) for z in zip(a, b, strict=True)] for a, b in zip(first, second, strict=True))


def _layers(layers, name, at_least):
    """Matrices by shape and dtype; their values are looked at only when what follows from them is not finite."""
    if isinstance(layers, jax.Array | np.ndarray) and layers.ndim != 3 or not len(layers):
        raise ValueError(f"{name}: expected a sequence of matrices (n, p); got shape {np.shape(layers)}")
    return [checks.matrix(z, f"{name}[{i}]", at_least=at_least, values=False) for i, z in enumerate(layers)]


def _one_length(layers, name):
    if len({len(z) for z in layers}) > 1:
        raise ValueError(f"{name}: expected one number of samples; got {sorted({len(z) for z in layers})}")


def _grid_of(xs, ys):
    both = xs if ys is None else [*xs, *ys]
    _one_length(both, "layers")
    dtype = jnp.result_type(*both)
    xs, ys = [z.astype(dtype) for z in xs], ys and [z.astype(dtype) for z in ys]
    g = _gram_sums(xs, ys)
    if checks.is_concrete(g.cross) and not all(np.isfinite(a).all() for a in jax.tree.leaves(g)):
        for side, name in ((xs, "x"), (ys or [], "y")):
            for i, z in enumerate(side):
                checks.matrix(z, f"layer {i} of {name}", at_least=_AT_LEAST, may_be_constant=True)
        raise ValueError(f"undefined for these inputs: {_SCALE}")
    return g


@jax.jit
def _gram_sums(xs, ys):
    products = _debiased_gram_products(xs if ys is None else [*xs, *ys])
    alone = jnp.diagonal(products)
    if ys is None:
        return MinibatchGrid(products, alone, alone)
    l1 = len(xs)
    return MinibatchGrid(products[:l1, l1:], alone[:l1], alone[l1:])
