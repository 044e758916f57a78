"""How well a probe reads rows that it was not fitted on, and how sure that is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.probes.linear import integers, labelled

Probe = Callable[..., object]


@dataclass(frozen=True)
class Score:
    """Shares of held-out rows that a probe names rightly: values (splits,), their mean and interval (low, high).

    `majority` is what naming the commonest class of the fitted rows would score on the same held-out rows.
    """

    mean: float
    low: float
    high: float
    values: tuple[float, ...]
    majority: float


def over_splits(
    probe: Probe, x: Array, y: Array, *, key: Array, classes: int | None = None, splits: int = 5,
    held_out: float = 0.3, level: float = 0.95,
) -> Score:
    """Accuracy of `probe` on held-out rows, over random splits, with the interval of Nadeau and Bengio.

    x (n, p), y (n,) with classes 0 ... c - 1; floor(n `held_out`) rows are held out each time. Splits share rows, so
    that the plain error of their mean is too small: its variance is multiplied by 1 + splits held_out / (1 - held_out)
    and compared with a t of splits - 1 degrees. The interval is cut to [0, 1]. All splits have one shape, so a probe
    compiles once. Errors as the probe's; ValueError unless splits >= 2, and both sides of a split have rows. Source:
    Nadeau and Bengio 2003, the corrected resampled t.

    >>> import jax, jax.numpy as jnp
    >>> from repgeo.probes import ridge
    >>> x = jnp.arange(40.0)[:, None]
    >>> score = over_splits(ridge, x, jnp.arange(40) >= 20, key=jax.random.key(0))
    >>> score.majority < 0.6 < score.low <= score.mean <= score.high
    True
    """
    x, y, c = labelled(x, y, classes)
    splits = checks.count(splits, "splits", low=2, high=10**6)
    share = checks.real(held_out, "held_out", low=0, high=1, open_low=True)
    test = int(len(x) * share)
    if not 1 <= test <= len(x) - 2:
        raise ValueError(f"held_out: expected a share that leaves rows on both sides of {len(x)}; got {held_out}")
    values, majorities = [], []
    classes_of = np.asarray(y)
    keys, orders = _dealt(key, n=len(x), splits=splits)
    for fit, rows in zip(keys, np.asarray(orders), strict=True):
        out, kept = rows[:test], rows[test:]
        fitted = probe(linalg.taken(x, kept), classes_of[kept], classes=c, key=fit)
        values.append(float(accuracy(fitted, linalg.taken(x, out), classes_of[out])))
        commonest = np.bincount(classes_of[kept], minlength=c).argmax()
        majorities.append(float((classes_of[out] == commonest).mean()))
    mean, reach = float(np.mean(values)), _reach(values, test / (len(x) - test), level)
    return Score(mean, max(0.0, mean - reach), min(1.0, mean + reach), tuple(values), float(np.mean(majorities)))


@partial(jax.jit, static_argnames=("n", "splits"))
def _dealt(key: Array, *, n: int, splits: int) -> tuple[list[Array], Array]:
    """A key for the probe of each split, and the order of the rows in it (splits, n)."""
    orders, keys = jax.vmap(jax.random.split, out_axes=1)(jax.random.split(key, splits))
    return list(keys), jax.vmap(lambda order: jax.random.permutation(order, n))(orders)


def _reach(values: list[float], ratio: float, level: float) -> float:
    from scipy.special import stdtrit

    if checks.real(level, "level", low=0, high=1, open_low=True) == 1:
        raise ValueError("level: expected a number in (0, 1), got 1")
    spread = np.var(values, ddof=1) * (1 / len(values) + ratio)
    return float(stdtrit(len(values) - 1, (1 + level) / 2) * np.sqrt(spread))


def accuracy(fitted, x: Array, y: Array) -> Array:
    """Share () of the rows of x (n, p) whose class y (n,) has the largest score; of equal scores the first counts.

    >>> import jax.numpy as jnp
    >>> from repgeo.probes import ridge
    >>> x = jnp.array([[0.0], [1.0], [4.0], [5.0]])
    >>> float(accuracy(ridge(x, [0, 0, 1, 1]), x, jnp.array([0, 1, 1, 1])))
    0.75
    """
    scores = fitted.scores(x)
    return _share_right(scores, _classes(y, scores))


@jax.jit
def _share_right(scores: Array, y: Array) -> Array:
    return jnp.mean(scores.argmax(1) == y)


def cross_entropy(fitted, x: Array, y: Array) -> Array:
    """Mean of -ln p(y) in nats, (), with p the softmax of the scores; for all probes but `ridge`.

    On the rows it was fitted on, `entropy` minus this is what a probe reads: 0 where a concept is guarded.

    >>> import jax.numpy as jnp
    >>> from repgeo.probes import logistic
    >>> x = jnp.array([[0.0], [1.0], [0.0], [1.0]])
    >>> print(f"{cross_entropy(logistic(x, [0, 0, 1, 1]), x, jnp.array([0, 0, 1, 1])):.4f}")
    0.6931
    """
    log_p = jax.nn.log_softmax(fitted.scores(x), 1)
    return -jnp.mean(jnp.take_along_axis(log_p, _classes(y, log_p)[:, None], 1))


def _classes(y, scores):
    """Classes y (n,) beside scores (n, c) of as many rows."""
    y = integers(y)
    if y.shape != scores.shape[:1]:
        raise ValueError(f"y: expected one class for each of {len(scores)} rows; got shape {y.shape}")
    if checks.is_concrete(y) and (low := int(np.asarray(y).min())) < 0:
        raise ValueError(f"y: expected classes from 0 on; got {low}")
    return jnp.asarray(y, int)


def entropy(y: Array, *, classes: int | None = None) -> float:
    """Entropy of the classes y (n,) in nats: what naming their shares alone costs.

    >>> print(f"{entropy([0, 0, 1, 1]):.4f}")
    0.6931
    """
    y = np.asarray(integers(y), int)
    if y.ndim != 1 or not len(y) or y.min() < 0:
        raise ValueError(f"y: expected classes from 0 on, (n,); got shape {y.shape}, from {y.min(initial=0)}")
    shares = np.bincount(y, minlength=classes or 0) / len(y)
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log(shares)))


def code_length(
    probe: Probe, x: Array, y: Array, *, key: Array, classes: int | None = None, blocks: int = 6
) -> float:
    """Bits a label that the classes cost when each block is coded by a probe fitted on the rows before it.

    x (n, p), y (n,) with classes 0 ... c - 1, dealt at random; the first n / 2^blocks rows (at least 2 c) cost log2 c
    each, and every next block is as long as all before. A concept that is hard to learn costs more than one that is
    easy even where both are read perfectly in the end: about the entropy in bits is nothing to read, and about 0 is
    read at sight. For all probes but `ridge`, whose scores are no probabilities. A shape a block is compiled. Errors
    as the probe's; ValueError when fewer than two blocks remain, or the first rows hold one class only.
    Source: Voita and Titov 2020, online code.

    >>> import jax, jax.numpy as jnp
    >>> from repgeo.probes import logistic
    >>> x = jnp.arange(64.0)[:, None]
    >>> code_length(logistic, x, jnp.arange(64) >= 32, key=jax.random.key(0), blocks=3) < 0.5
    True
    """
    x, y, c = labelled(x, y, classes)
    blocks = checks.count(blocks, "blocks", low=2, high=30)
    starts = [round(len(x) / 2**i) for i in range(blocks, -1, -1)]
    starts = [s for s in starts[:-1] if s >= 2 * c] + starts[-1:]
    if len(starts) < 3:
        raise ValueError(f"x: expected rows for two blocks after {2 * c} rows; got {len(x)} rows")
    order, fits = jax.random.split(key)
    rows = jax.random.permutation(order, len(x))
    x, y = x[rows], y[rows]
    bits = starts[0] * np.log2(c)
    for i, (start, stop) in enumerate(zip(starts, starts[1:], strict=False)):
        fitted = probe(x[:start], y[:start], classes=c, key=jax.random.fold_in(fits, i))
        bits += (stop - start) * float(cross_entropy(fitted, x[start:stop], y[start:stop])) / np.log(2)
    return float(bits / len(x))
