"""Probes that are not linear: a Gaussian kernel by random features, a small network, and nearest neighbours."""

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.probes.linear import Linear, fit_logistic, labelled, linear_scores, of_width

_BLOCK = 256  # rows whose distances to all fitted rows are held at once


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandomFeatures:
    """A logistic probe on cosines of random projections: center (p,), frequencies (p, m), phases (m,), top."""

    center: Array
    frequencies: Array
    phases: Array
    top: Linear

    def scores(self, x: Array) -> Array:
        """Log-odds (n, c) of the rows of x (n, p)."""
        x = of_width(x, len(self.center))
        return linear_scores(self.top, _cosines(x, self.center, self.frequencies, self.phases))


def rbf(
    x: Array, y: Array, *, classes: int | None = None, key: Array, features: int = 1000, width: float = 1.0,
    l2: float = 1e-4, tolerance: float = 1e-4,
) -> RandomFeatures:
    """Logistic regression with a Gaussian kernel, of which `features` random cosines are a sample.

    x (n, p), y (n,) with classes 0 ... c - 1. The kernel is exp(-d^2 / (v `width`^2)) with v the total variance of x,
    which at width 1 is scikit-learn's gamma="scale" on centred features; rotation changes nothing but the draw. The
    error of the kernel falls as features^-1/2; all of `logistic` is run on top, O(n features^2). Errors as `logistic`;
    TypeError or ValueError for `features` < 1 or `width` <= 0. Source: Rahimi and Recht 2007.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.array([[-2.0], [-1.9], [0.0], [0.1], [2.0], [1.9]])
    >>> probe = rbf(x, [0, 0, 1, 1, 0, 0], key=jax.random.key(0), features=50)
    >>> probe.scores(x).argmax(1).tolist()
    [0, 0, 1, 1, 0, 0]
    """
    x, y, c = labelled(x, y, classes)
    features = checks.count(features, "features", low=1, high=2**20)
    width = checks.real(width, "width", low=0, open_low=True)
    l2 = checks.real(l2, "l2", low=0, open_low=True)
    tolerance = checks.real(tolerance, "tolerance", low=0, open_low=True)
    return _rbf(key, x, jax.nn.one_hot(y, c, dtype=x.dtype), width, l2, tolerance, features=features)


@partial(jax.jit, static_argnames="features")
def _rbf(key, x, z, width, l2, tolerance, *, features):
    spread, center = linalg.center(x), x.mean(0)
    variance = jnp.sum(spread**2) / len(x)
    to, at = jax.random.split(key)
    scale = jnp.sqrt(2 / jnp.where(variance > 0, variance, 1)) / width  # exp(-g d^2) has frequencies of variance 2 g
    frequencies = scale * jax.random.normal(to, (x.shape[1], features), x.dtype)
    phases = jax.random.uniform(at, (features,), x.dtype, maxval=2 * jnp.pi)
    return RandomFeatures(
        center, frequencies, phases, fit_logistic(_cosines(x, center, frequencies, phases), z, l2, tolerance)
    )


@jax.jit
def _cosines(x, center, frequencies, phases):
    return jnp.cos(linalg.matmul(x - center[None], frequencies) + phases[None])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mlp:
    """A network with one hidden layer of rectified units on standardised features; losses (steps,) of its batches."""

    center: Array
    scale: Array
    weights: tuple[Array, ...]
    losses: Array

    def scores(self, x: Array) -> Array:
        """Log-odds (n, c) of the rows of x (n, p)."""
        x = of_width(x, len(self.center))
        return _scores(self, x)


def mlp(
    x: Array, y: Array, *, classes: int | None = None, key: Array, hidden: int = 128, epochs: int = 30,
    batch: int = 128, learning_rate: float = 3e-3, decay: float = 1e-4,
) -> Mlp:
    """A network with `hidden` rectified units, trained by AdamW on the cross-entropy, its rate falling by a cosine.

    x (n, p), y (n,) with classes 0 ... c - 1. Features are standardised one by one; batches of min(batch, n) rows.
    Not converged by a criterion, as a probe of this kind never is: `losses` shows how it went, and a smaller score is
    evidence of less to read only beside the same settings. Needs optax, which is imported here. One compiled loop a
    shape and setting. Errors as `ridge`; TypeError or ValueError for settings below 1, and when the loss is not finite.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.array([[-2.0], [-1.9], [0.0], [0.1], [2.0], [1.9]])
    >>> probe = mlp(x, [0, 0, 1, 1, 0, 0], key=jax.random.key(0), hidden=16, epochs=200)
    >>> probe.scores(x).argmax(1).tolist()
    [0, 0, 1, 1, 0, 0]
    """
    x, y, c = labelled(x, y, classes)
    hidden = checks.count(hidden, "hidden", low=1, high=2**20)
    epochs = checks.count(epochs, "epochs", low=1, high=2**20)
    batch = min(checks.count(batch, "batch", low=1, high=2**31), len(x))
    rate = checks.real(learning_rate, "learning_rate", low=0, open_low=True)
    decay = checks.real(decay, "decay", low=0)
    probe = _trained(key, x, y, c=c, hidden=hidden, epochs=epochs, batch=batch, rate=rate, decay=decay)
    checks.defined(probe.losses, "the loss is not finite any more: lower learning_rate")
    return probe


@partial(jax.jit, static_argnames=("c", "hidden", "epochs", "batch", "rate", "decay"))
def _trained(key, x, y, *, c, hidden, epochs, batch, rate, decay):
    import optax

    unit = linalg.scale_of(linalg.center(x))  # the squares of very large features would overflow
    center, spread = x.mean(0), (linalg.center(x) / unit).std(0) * unit
    scale = jnp.where(spread > 0, spread, 1)
    x = (x - center[None]) / scale[None]
    n, p = x.shape
    start, order = jax.random.split(key)
    one, two = jax.random.split(start)
    weights = (
        jax.random.normal(one, (p, hidden), x.dtype) * (2 / p) ** 0.5,
        jnp.zeros(hidden, x.dtype),
        jax.random.normal(two, (hidden, c), x.dtype) * hidden**-0.5,
        jnp.zeros(c, x.dtype),
    )
    whole = n // batch
    rows = jax.vmap(lambda k: jax.random.permutation(k, n))(jax.random.split(order, epochs))
    rows = rows[:, : whole * batch].reshape(-1, batch)
    optimiser = optax.adamw(optax.cosine_decay_schedule(rate, len(rows)), weight_decay=decay)

    def loss(weights, r):
        scores = _network(weights, x[r])
        return optax.softmax_cross_entropy_with_integer_labels(scores, y[r]).mean()

    def step(state, r):
        weights, moments = state
        value, slope = jax.value_and_grad(loss)(weights, r)
        change, moments = optimiser.update(slope, moments, weights)
        return (optax.apply_updates(weights, change), moments), value

    (weights, _), losses = lax.scan(step, (weights, optimiser.init(weights)), rows)
    return Mlp(center, scale, weights, losses)


@jax.jit
def _scores(probe, x):
    return _network(probe.weights, (x - probe.center[None]) / probe.scale[None])


def _network(weights, x):
    first, at, second, out = weights
    return linalg.matmul(jax.nn.relu(linalg.matmul(x, first) + at[None]), second) + out[None]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Neighbors:
    """The rows (n, p) that vote, their one-hot classes (n, c), and how many of them vote for each row."""

    rows: Array
    votes: Array
    k: int = field(metadata={"static": True})

    def scores(self, x: Array) -> Array:
        """Log-shares (m, c) of the votes for the rows of x (m, p), one vote added to each class."""
        return _voted(of_width(x, self.rows.shape[1]), self.rows, self.votes, self.k)


def knn(x: Array, y: Array, *, classes: int | None = None, key: Array | None = None, k: int = 15) -> Neighbors:
    """The majority of the k nearest rows by Euclidean distance, exact; nothing is fitted.

    x (n, p), y (n,) with classes 0 ... c - 1. Of classes with as many votes the lower wins; so does the earlier of
    rows that are equally far. Scoring m rows is O(m n p) in blocks, memory O(n + m) besides. `key` is unused. Errors
    as `ridge`; ValueError unless 1 <= k <= n.

    >>> import jax.numpy as jnp
    >>> knn(jnp.array([[0.0], [1.0], [4.0], [5.0]]), [0, 0, 1, 1], k=1).scores(jnp.array([[1.4]])).argmax(1).tolist()
    [0]
    """
    x, y, c = labelled(x, y, classes)
    k = checks.count(k, "k", low=1, high=len(x), why="fitted rows")
    return Neighbors(x, jax.nn.one_hot(y, c, dtype=x.dtype), k)


@partial(jax.jit, static_argnames="k")
def _voted(x, rows, votes, k):
    origin = rows.mean(0)
    x, rows = x - origin[None], rows - origin[None]
    half = jnp.sum(rows * rows, 1) / 2

    def shares(row):
        _, near = lax.top_k(linalg.matmul(rows, row) - half, k)
        return jnp.log((votes[near].sum(0) + 1) / (k + votes.shape[1]))

    return lax.map(shares, x, batch_size=_BLOCK)
