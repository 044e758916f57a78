"""Which rows serve as anchors: index sets (k,), so that the same rows can be taken in another space."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.neighbors import nonzero_rows


def random_anchors(x: Array, *, k: int, key: Array) -> Array:
    """Indices (k,) of k different rows of x (n, p), drawn uniformly. Raises as `checks.matrix`; unless 1 <= k <= n.

    >>> import jax
    >>> sorted(random_anchors([[0.0], [1.0], [2.0]], k=3, key=jax.random.key(0)).tolist())
    [0, 1, 2]
    """
    x = checks.matrix(x, "x", may_be_constant=True, values=False)
    k = checks.count(k, "k", low=1, high=len(x), why="n rows")
    return jax.random.choice(key, len(x), (k,), replace=False)


def farthest_point(x: Array, *, k: int, key: Array) -> Array:
    """Indices (k,) of rows that spread over the directions of x (n, p): each is farthest in angle from all before it.

    The first is drawn. Within one more anchor the largest angle of a row to its nearest anchor is at most twice the
    least possible (Gonzalez 1985), so outliers come early. O(n k p) time. Raises as `checks.matrix`; ValueError unless
    1 <= k <= n and when a row is 0; of rows that repeat one is taken before any returns.

    >>> import jax
    >>> x = [[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]]
    >>> rows = farthest_point(x, k=2, key=jax.random.key(0))
    >>> sorted((rows // 2).tolist())
    [0, 1]
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    nonzero_rows(x, "x")
    k = checks.count(k, "k", low=1, high=len(x), why="n rows")
    return _farthest(x, key, k)


def kmeans_anchors(x: Array, *, k: int, key: Array, steps: int = 25) -> Array:
    """Indices (k,) of the row nearest each of k centroids of x (n, p), one of each cluster, in no order.

    Lloyd's iterations from a start by k-means++ (Arthur and Vassilvitskii 2007); a cluster that loses all its rows
    takes the row farthest from its centroid. Euclidean: scale rows to length one first where directions matter.
    O(n k p) a step. Raises as `checks.matrix`; ValueError unless 1 <= k <= n, or when x has fewer than k different
    rows.

    >>> import jax
    >>> x = [[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]
    >>> sorted(kmeans_anchors(x, k=2, key=jax.random.key(0)).tolist())
    [1, 4]
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    k = checks.count(k, "k", low=1, high=len(x), why="n rows")
    steps = checks.count(steps, "steps", low=1, high=10**6)
    if checks.is_concrete(x):
        different = len(np.unique(np.asarray(x), axis=0))
        if different < k:
            raise ValueError(f"x: expected at least k = {k} different rows; got {different} among {len(x)}")
    return _kmeans(x, key, k, steps)


def leverage_scores(x: Array) -> Array:
    """Leverage (n,) of each row of x (n, p), in [0, 1]: the diagonal of the projection onto the columns of x.

    They sum to the rank. A row of leverage 1 alone spans a direction. O(n p^2). Raises as `checks.matrix`.

    >>> leverage_scores([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).round(5).tolist()
    [1.0, 0.5, 0.5]
    """
    return _leverage(checks.matrix(x, "x", may_be_constant=True))


def leverage(x: Array, *, k: int, key: Array) -> Array:
    """Indices (k,) of different rows of x (n, p), drawn in proportion to their leverage.

    Rows that alone carry a direction are likely in, and the anchors likely of full rank once k is a few times p
    (Drineas, Mahoney and Muthukrishnan 2008). Errors as `random_anchors`; ValueError when fewer than k rows have any.

    >>> import jax
    >>> sorted(leverage([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]], k=2, key=jax.random.key(0)).tolist())
    [0, 1]
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    k = checks.count(k, "k", low=1, high=len(x), why="n rows")
    scores = _leverage(x)
    some = int((scores > 0).sum()) if checks.is_concrete(scores) else len(x)
    if some < k:
        raise ValueError(f"x: expected at least k = {k} rows of some leverage; got {some}, the others are 0")
    return _drawn(jnp.log(scores), key, k)


def stratified(labels: Array, *, k: int, key: Array) -> Array:
    """Indices (k,) of different rows, as many of each of the c classes of `labels` (n,) as of the others, up to one.

    Drawn uniformly within a class; a class with too few rows gives them all, and the others make up for it. Integers
    or booleans, concrete. Raises TypeError for other labels; ValueError unless 1 <= k <= n.

    >>> import jax
    >>> labels = jax.numpy.array([0, 0, 0, 0, 1, 1])
    >>> sorted(labels[stratified(labels, k=4, key=jax.random.key(0))].tolist())
    [0, 0, 1, 1]
    """
    labels = _numbers(labels, "labels", "iub", "classes as integers or booleans")
    k = checks.count(k, "k", low=1, high=len(labels), why="n rows")
    order = np.asarray(jax.random.permutation(key, len(labels)))
    classes = np.unique(labels, return_inverse=True)[1][order]
    by_class = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[by_class], classes[by_class])
    turn = np.empty(len(labels), int)
    turn[by_class] = np.arange(len(labels)) - starts  # the how-manieth of its class each row is
    luck = np.asarray(jax.random.permutation(jax.random.fold_in(key, 1), classes.max() + 1))  # who is last to give
    return jnp.asarray(order[np.lexsort((luck[classes], turn))[:k]])


def top_frequency(frequency: Array, *, k: int, key: Array, among: int | None = None) -> Array:
    """Indices (k,) of different rows drawn uniformly among the `among` most frequent, k of them if not given.

    `frequency` (n,) counts how often each row (a word) occurs; ties go to the lower row. In relreps anchors come from
    the 1 000, 5 000 or 10 000 commonest words: common words have unusual vectors, which makes them poor anchors.
    Raises TypeError for frequencies that are not numbers; ValueError for NaN, unless 1 <= k <= among <= n.

    >>> import jax
    >>> sorted(top_frequency([5, 9, 1, 7], k=2, key=jax.random.key(0)).tolist())
    [1, 3]
    """
    frequency = _numbers(frequency, "frequency", "iuf", "one real number a row")
    if np.isnan(frequency).any():
        raise ValueError(f"frequency: expected numbers; got NaN, the first at row {np.isnan(frequency).argmax()}")
    k = checks.count(k, "k", low=1, high=len(frequency), why="n rows")
    among = checks.count(k if among is None else among, "among", low=k, high=len(frequency), why="k to n rows")
    commonest = np.argsort(-frequency.astype(float), kind="stable")[:among]
    return jax.random.choice(key, jnp.asarray(commonest), (k,), replace=False)


def _numbers(a, name, kinds, expected):
    """A concrete (n,) array of those kinds of dtype, as NumPy holds it."""
    if not checks.is_concrete(a):
        raise TypeError(f"{name}: expected concrete values; got a traced array of shape {a.shape}")
    a = np.asarray(a)
    if a.dtype.kind not in kinds:
        raise TypeError(f"{name}: expected {expected}; got dtype {a.dtype}")
    if a.ndim != 1 or not len(a):
        raise ValueError(f"{name}: expected one number a row, shape (n,); got shape {a.shape}")
    return a


@partial(jax.jit, static_argnums=2)
def _farthest(x, key, k):
    x = x / linalg.scale_of(x, axis=1)
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    first = jax.random.randint(key, (), 0, len(x))

    def step(state, _):
        closest, row = state  # cosine of each row to the nearest anchor so far
        closest = jnp.maximum(closest, linalg.matmul(x, x[row])).at[row].set(jnp.inf)
        return (closest, jnp.argmin(closest)), row

    return lax.scan(step, (jnp.full(len(x), -jnp.inf, x.dtype), first), None, length=k)[1]


def _squares(x, centroids):
    """Squared distances (n, k)."""
    return jnp.sum(x**2, 1)[:, None] + jnp.sum(centroids**2, 1)[None] - 2 * linalg.matmul(x, centroids.T)


@partial(jax.jit, static_argnums=(2, 3))
def _kmeans(x, key, k, steps):
    x = linalg.center(x / linalg.scale_of(x))
    keys = jax.random.split(key, k)

    def seed(far, key):  # far (n,) is the squared distance to the nearest seed
        row = jax.random.categorical(key, jnp.log(far))
        return jnp.minimum(far, jnp.sum((x - x[row][None]) ** 2, 1)), row

    start = jax.random.randint(keys[0], (), 0, len(x))
    far = jnp.sum((x - x[start][None]) ** 2, 1)
    rows = jnp.append(start, lax.scan(seed, far, keys[1:])[1])

    def lloyd(centroids, _):
        distances = _squares(x, centroids)
        own = jnp.argmin(distances, 1)
        members = jax.nn.one_hot(own, k, dtype=x.dtype)
        count = members.sum(0)
        means = linalg.matmul(members.T, x) / jnp.maximum(count, 1)[:, None]
        strays = lax.top_k(distances.min(1), k)[1]  # the farthest rows start the clusters that are empty
        spare = x[strays[jnp.cumsum(count == 0) - 1]]
        return jnp.where((count > 0)[:, None], means, spare), None

    centroids = lax.scan(lloyd, x[rows], None, length=steps)[0]
    distances = _squares(x, centroids)
    own = jnp.argmin(distances, 1)
    inside = own[:, None] == jnp.arange(k)[None]
    nearest = jnp.argmin(jnp.where(inside, distances, jnp.inf), 0)
    empty = ~inside.any(0)
    others = jnp.where(jnp.zeros(len(x), bool).at[nearest].max(~empty), -jnp.inf, distances.min(1))
    return jnp.where(empty, lax.top_k(others, k)[1][jnp.cumsum(empty) - 1], nearest)


@jax.jit
def _leverage(x):
    u, _ = linalg.basis(x / linalg.scale_of(x))
    return jnp.sum(u * u, 1)


@partial(jax.jit, static_argnums=2)
def _drawn(logits, key, k):
    """Different rows, k of them, in proportion to exp(logits): the largest of logits shifted by Gumbel noise."""
    return lax.top_k(logits + jax.random.gumbel(key, logits.shape, logits.dtype), k)[1]
