"""INLP: a probe is fitted, what it reads is projected out, and the next one is fitted to what is left."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.erasure.eraser import Eraser, about
from repgeo.probes.linear import labelled, logistic


def inlp(
    x: Array, y: Array, *, rounds: int, classes: int | None = None, probe: Callable = logistic,
    key: Array | None = None, share: float = 1e-3,
) -> Eraser:
    """INLP: the orthogonal projection without the directions of `rounds` linear probes, fitted one after another.

    x (n, p), y (n,) with classes 0 ... c - 1. Each round fits `probe` (anything that returns a `probes.Linear`) to
    what earlier rounds left, and removes the span of its weights: one direction for two classes, at most c - 1. It
    stops before `rounds` where nothing is left to read, that is where the probe's scores spread less than `share` of
    those in the first round: the published loop divides 0 by 0 there. The mean of x stays. A direction that predicts
    is not the one in which class means differ, so it needs many, and each takes what else lies along it; one direction
    of `mean_projection` does more. Cost: one probe a round; not under jit. Errors as the probe's; ValueError unless
    1 <= rounds <= p. Source: Ravfogel et al. 2020.

    >>> import jax.numpy as jnp
    >>> x, y = jnp.array([[0.0, 1.0], [0.0, 3.0], [1.0, 2.0], [1.0, 6.0]]), [0, 0, 1, 1]
    >>> e = inlp(x, y, rounds=1)
    >>> int(e.rank), bool(abs(e.left[0, 0]) > 0.8)
    (1, True)
    """
    x, y, c = labelled(x, y, classes)
    p = x.shape[1]
    rounds = checks.count(rounds, "rounds", low=1, high=p, why="features")
    share = checks.real(share, "share", low=0, high=1)
    mean, centred = x.mean(0), linalg.center(x)
    found, first, keys = jnp.zeros((p, 0), x.dtype), None, _keys(key, rounds)
    for fit_key in keys:
        left = centred - linalg.matmul(linalg.matmul(centred, found), found.T)
        if found.shape[1] >= p or not np.any(np.asarray(left)):
            break
        fitted = probe(left, y, classes=c, key=fit_key)
        weights = fitted.weights - fitted.weights.mean(1, keepdims=True)  # what all classes share decides nothing
        spread = float(linalg.frobenius(linalg.matmul(left, weights)))
        first = spread if first is None else first
        if not spread > share * first:
            break
        new = weights - linalg.matmul(found, linalg.matmul(found.T, weights))
        u, s, _ = jnp.linalg.svd(new, full_matrices=False)
        u = u[:, np.asarray(s > 1e-3 * s[0])][:, : p - found.shape[1]]  # c centred weights have rank c - 1
        found = jnp.linalg.qr(jnp.concatenate([found, u], 1))[0]
    return about(mean, found, found.T)


def _keys(key, rounds):
    return [None] * rounds if key is None else list(jax.random.split(key, rounds))
