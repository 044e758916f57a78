"""Every layer by every layer, again for each order of the samples of one side.

What belongs to one layer is prepared once; an order costs no more than the comparisons.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from repgeo import linalg
from repgeo.similarity.grid import to_one_width

_GRAM_BYTES = 2**30  # of Gram matrices a side held at once; more layers than that go through in groups
_TILE_BYTES = 2**20  # of a tile of pairs of samples, all layers together: it stays in cache for all orders


def by_grams(gram, xs: list[Array], ys: list[Array], rows: Array, **options) -> Array:
    """Values (r, l1, l2) of a measure with Gram matrices on all pairs of xs and ys[rows[i]]; `rows` is (r, n).

    Once a layer: its matrix. For each order: n^2 / 2 gathered numbers a layer of ys and one matrix product for all
    pairs. Memory: the n x n matrices of all layers, those of ys twice, or of as many as take a gigabyte a side.
    """
    n, itemsize = len(xs[0]), xs[0].dtype.itemsize
    most = max(1, _GRAM_BYTES // (n * n * itemsize))

    def grams(layers):
        for start in range(0, len(layers), most):
            yield tuple(gram.matrix(z, **options) for z in layers[start : start + most])

    products = [jnp.concatenate([_products(a, b, rows) for a in grams(xs)], 1) for b in grams(ys)]
    return gram.value(jnp.concatenate(products, 2), **options)


def by_states(split, xs: list[Array], ys: list[Array], rows: Array, **options) -> Array:
    """Values (r, l1, l2) of a measure with a split on all pairs of xs and ys[rows[i]]; `rows` is (r, n)."""
    states = to_one_width([split.prepare(z, **options) for z in [*xs, *ys]])
    left, right = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *side) for side in (states[: len(xs)], states[len(xs) :])
    )
    return _compared(left, right, rows, compare=split.compare, reorder=split.reorder)


def by_rows(state, rows: Array):
    """The state after a reordering of the samples, where these are the rows of its matrices and of nothing else."""
    return jax.tree.map(lambda leaf: leaf[rows] if leaf.ndim == 2 else leaf, state)


@jax.jit
def _products(lefts: tuple[Array, ...], rights: tuple[Array, ...], rows: Array) -> Array:
    """Inner products (r, l1, l2) of symmetric matrices, those on the right with reordered rows and columns.

    Each pair of samples is visited once, for all layers together. Row i of the upper triangle and row n - 1 - i make
    one line of n + 1 pairs, so that lines are equally long; a tile holds several lines and serves every order
    before the next tile is made.
    """
    n, dtype = len(lefts[0]), lefts[0].dtype
    lines = -(-n // 2)
    layers = max(len(lefts), len(rights))
    most = max(1, _TILE_BYTES // ((n + 1) * layers * dtype.itemsize))
    tiles = -(-lines // most)
    size = -(-lines // tiles)
    left = [k.reshape(-1) for k in lefts]
    right = jnp.stack([k.reshape(-1) for k in rights], -1)  # layers last: one gathered index fetches them all

    def pairs(tile):
        line, column = (tile * size + jnp.arange(size))[:, None], jnp.arange(n + 1)[None]
        upper = column < n - line
        i, j = jnp.where(upper, line, n - 1 - line), jnp.where(upper, line + column, column - 1)
        twice = jnp.where(i == j, 1, 2)
        counted = (line < lines) & (upper | (2 * line != n - 1))  # the middle row of an odd n has no partner
        i, j = jnp.clip(i, 0, n - 1), jnp.clip(j, 0, n - 1)
        return i.reshape(-1), j.reshape(-1), jnp.where(counted, twice, 0).reshape(-1).astype(dtype)

    def fetch(a, at):
        return a.at[at].get(mode="promise_in_bounds")

    def step(total, tile):
        i, j, weight = pairs(tile)
        k = jnp.stack([fetch(a, i * n + j) * weight for a in left])
        values = lax.map(lambda r: linalg.matmul(k, fetch(right, fetch(r, i) * n + fetch(r, j))), rows)
        return total + values, None

    total = jnp.zeros((len(rows), len(lefts), len(rights)), dtype)
    return lax.scan(step, total, jnp.arange(tiles))[0]


@partial(jax.jit, static_argnames=("compare", "reorder"))
def _compared(left, right, rows: Array, *, compare, reorder) -> Array:
    def one(r):
        moved = jax.vmap(lambda b: reorder(b, r))(right)
        return lax.map(lambda a: lax.map(lambda b: compare(a, b), moved), left)

    return lax.map(one, rows)
