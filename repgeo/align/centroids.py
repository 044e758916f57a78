"""Which cluster of one space is which of the other, from distances within each space alone.

Clusters of two spaces are matched by the inner products among their centroids, a quadratic assignment problem. One
clustering gets a fifth of them right, or fewer, on real encoders; what helps is many, and what they agree on, not a
better solver.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg


@partial(jax.jit, static_argnames=("c", "runs", "steps"))
def kmeans(key: Array, x: Array, *, c: int, runs: int, steps: int) -> tuple[Array, Array]:
    """Centroids (runs, c, p) and labels (n, runs) of `runs` k-means of the rows of x (n, p), from k-means++ starts.

    All runs share the products, which are then large: several times the speed of one run after another. A cluster
    that lost its rows keeps its centroid. Nothing is checked.
    """
    n, p = x.shape
    keys = jax.random.split(key, c)
    squares = jnp.sum(x * x, 1)

    def distances(rows):
        return jnp.maximum(squares[None] + jnp.sum(rows * rows, 1)[:, None] - 2 * rows @ x.T, 0)

    def add(i, state):
        centroids, nearest = state
        chosen = jax.random.categorical(keys[i], jnp.log(nearest + jnp.finfo(x.dtype).tiny), axis=1)
        return centroids.at[:, i].set(x[chosen]), jnp.minimum(nearest, distances(x[chosen]))

    first = x[jax.random.randint(keys[0], (runs,), 0, n)]
    start = jnp.zeros((runs, c, p), x.dtype).at[:, 0].set(first)
    centroids, _ = lax.fori_loop(1, c, add, (start, distances(first)))

    def step(centroids, _):
        return means_of(x, assign(x, centroids), centroids), None

    centroids, _ = lax.scan(step, centroids, length=steps)
    return centroids, assign(x, centroids)


def assign(x: Array, centroids: Array) -> Array:
    """Label (n, runs) of the centroid nearest each row of x (n, p), among each run's (runs, c, p)."""
    runs, c, p = centroids.shape
    flat = centroids.reshape(-1, p)
    scores = x @ flat.T - jnp.sum(flat * flat, 1)[None] / 2
    return scores.reshape(len(x), runs, c).argmax(-1)


def means_of(x: Array, labels: Array, centroids: Array) -> Array:
    """Means (runs, c, p) of the rows of x (n, p) with each label (n, runs); without any, the centroid stays."""
    runs, c, p = centroids.shape
    member = jax.nn.one_hot(labels, c, dtype=x.dtype).reshape(len(x), runs * c)
    counts = member.sum(0)
    means = member.T @ x / jnp.maximum(counts, 1)[:, None]
    return jnp.where(counts[:, None] > 0, means, centroids.reshape(-1, p)).reshape(runs, c, p)


def match_grams(a: Array, b: Array, *, key: Array, restarts: int = 30) -> tuple[Array, Array]:
    """The order (c,) of the rows of b that maximises <A, P B P^T>, found from random starts, and that cosine, ().

    a (c, c) and b (c, c) are symmetric, say the inner products among matched things in two spaces; both are scaled to
    Frobenius norm 1, so for centred Gram matrices the value is their linear CKA. Row i of a goes with row order[i] of
    b. Each start swaps the two that gain most until no swap gains; all starts run at once, and the best end is
    returned: a local optimum, with no promise. O(c^2) a swap, about c swaps a start.
    Raises ValueError for shapes that are not (c, c) with c >= 2, or matrices that are not symmetric.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (6, 3))
    >>> y = x[::-1]
    >>> order, value = match_grams(x @ x.T, y @ y.T, key=jax.random.key(1))
    >>> order.tolist(), f"{value:.3f}"
    ([5, 4, 3, 2, 1, 0], '1.000')
    """
    a, b = checks.paired(a, b, may_be_constant=True, names=("a", "b"))
    for name, gram in (("a", a), ("b", b)):
        if gram.shape[0] != gram.shape[1]:
            raise ValueError(f"{name}: expected a square matrix (c, c); got shape {gram.shape}")
        if checks.is_concrete(gram) and not bool(jnp.allclose(gram, gram.T, atol=1e-5 * float(jnp.abs(gram).max()))):
            raise ValueError(f"{name}: expected a symmetric matrix; got one that is not")
        if checks.is_concrete(gram) and not np.any(np.asarray(gram)):
            raise ValueError(f"{name}: expected numbers that are not all 0; got a matrix of zeros")
    restarts = checks.count(restarts, "restarts", low=1, high=2**20)
    return climbed(key, a, b, restarts)


@partial(jax.jit, static_argnums=3)
def climbed(key: Array, a: Array, b: Array, restarts: int) -> tuple[Array, Array]:
    """`match_grams`, nothing checked."""
    starts = jax.vmap(lambda k: jax.random.permutation(k, len(a)))(jax.random.split(key, restarts))
    a, b = a / linalg.frobenius(a), b / linalg.frobenius(b)
    orders, values = jax.vmap(lambda start: _climb(a, b, start))(starts)
    best = values.argmax()
    return orders[best], values[best]


def swap_gains(a: Array, turned: Array, product: Array) -> Array:
    """What <A, P B P^T> gains (c, c) when the partners of i and j are swapped; turned = P B P^T, product = A turned."""
    da, db, dm = jnp.diagonal(a), jnp.diagonal(turned), jnp.diagonal(product)
    own = (da[:, None] - a) * (turned - db[:, None])  # terms of the rows that the swap maps onto themselves
    sums = product + product.T - dm[:, None] - dm[None] - own - own.T
    return 2 * sums + (da[:, None] - da[None]) * (db[None] - db[:, None])


def _climb(a, b, start):
    """The order that swaps reach from `start`, and <A, P B P^T> there.

    A swap is a rank-one update of A P B P^T, so that no product is ever made anew.
    """
    c = len(a)

    def swap(state):
        order, turned, product, _, taken = state
        gains = swap_gains(a, turned, product)
        best = gains.argmax()
        i, j = best // c, best % c
        better = gains.reshape(-1)[best] > 1e-6
        exchanged = jnp.arange(c).at[i].set(j).at[j].set(i)
        moved = product + (a[:, j] - a[:, i])[:, None] * (turned[i] - turned[j])[None]
        new = order[exchanged], turned[exchanged][:, exchanged], moved[:, exchanged]
        new = jax.tree.map(lambda n, o: jnp.where(better, n, o), new, (order, turned, product))
        return *new, better, taken + 1

    turned = b[start][:, start]
    state = start, turned, a @ turned, True, 0
    order, turned, *_ = lax.while_loop(lambda s: s[3] & (s[4] < 10 * c), swap, state)
    return order, jnp.sum(a * turned)
