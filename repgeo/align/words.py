"""Vocabularies: two sets of word vectors whose words largely coincide, in an unknown order; the steps of VecMap."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.align.canonical import inverse_root_and_root
from repgeo.align.maps import Map, polar
from repgeo.moments import Moments, moments, spread
from repgeo.neighbors import nonzero_rows

_BEST = 10  # neighbours of CSLS


def weighted_maps(x: Array, y: Array, *, reweight: float = 0.5) -> tuple[Map, Map]:
    """VecMap's maps of x (n, p) and of y (n, q) into min(p, q) common coordinates; score: the mean correlation.

    Both sides are made white, turned onto each other, weighted by their correlations to the power `reweight` in
    [0, 1], and given back the covariance that whitening took. With `reweight=0` two rotations remain. History has the
    correlations. Unlike in the source rows are not scaled to length 1 here: do so before, twice about the centring.
    O(n (p + q)^2). Raises as `checks.paired`. Source: Artetxe et al. 2018, whose both-sided weight is 0.5.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (60, 4))
    >>> to_x, to_y = weighted_maps(x, x[:, ::-1])
    >>> bool(abs(to_x.transform(x) - to_y.transform(x[:, ::-1])).max() < 1e-3)
    True
    """
    return weighted_maps_from(moments(*checks.paired(x, y)), reweight=reweight)


def weighted_maps_from(m: Moments, *, reweight: float = 0.5) -> tuple[Map, Map]:
    """`weighted_maps` from accumulated moments of x and y.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0], [2.0], [4.0]])
    >>> [f"{abs(m.weights.item()):.3f}" for m in weighted_maps_from(moments(x, -x))]
    ['1.000', '1.000']
    """
    m = spread(m)
    reweight = checks.real(reweight, "reweight", low=0, high=1)
    eps = float(jnp.finfo(m.xx.dtype).eps)
    a, b, rho = linalg.in_double(_weighted, m.xx, m.xy, m.yy, reweight=reweight, eps=eps)
    one, zero, seen = jnp.ones((), a.dtype), jnp.zeros(a.shape[1], a.dtype), {"correlations": rho}
    return Map(a, m.mean_x, zero, one, rho.mean(), seen), Map(b, m.mean_y, zero, one, rho.mean(), seen)


@partial(jax.jit, static_argnames=("reweight", "eps"))
def _weighted(xx, xy, yy, *, reweight, eps):
    (white_x, color_x), (white_y, color_y) = (inverse_root_and_root(a, 0.0, eps) for a in (xx, yy))
    u, rho, vt = jnp.linalg.svd(linalg.matmul(white_x, linalg.matmul(xy, white_y)), full_matrices=False)
    rho = jnp.minimum(rho, 1)

    def side(white, color, turn):
        back = linalg.matmul(turn.T, linalg.matmul(color, turn))
        return linalg.matmul(linalg.matmul(white, turn) * (rho**reweight)[None], back)

    return side(white_x, color_x, u), side(white_y, color_y, vt.T), rho


def self_learning_map(
    x: Array,
    y: Array,
    *,
    key: Array,
    keep: float = 0.1,
    patience: int = 50,
    most: int = 500,
    start: int = 4_000,
) -> Map:
    """VecMap's rotation between two vocabularies x (n, p) and y (m, q) that overlap, without a pair; score: below.

    Rows are centred and scaled to length 1; the source scales them before, too, which is for the caller to do. The
    first dictionary joins rows whose sorted similarities to their own side look alike, among the first `start` rows
    of each, so put the most frequent first. Then Procrustes and a dictionary of nearest rows by CSLS, both ways, take
    turns; each similarity is dropped with probability 1 - `keep` before its row chooses, and `keep` doubles whenever
    the objective has not grown for `patience` steps, until it is 1 and stalls; at most `most` steps.

    The score, () in [-1, 1], is the objective: the mean cosine of a row to its nearest, over both ways. `history` has
    `objective` and `keep` (most,), NaN where it stopped before, and `steps` (). It was made for vocabularies that
    overlap; how much of them must be common depends on the spaces, and the objective shows failure. O(steps n m q)
    time, several n x m matrices of memory. Raises as `checks.matrix`; ValueError for rows of 0, and unless keep lies
    in (0, 1]. Source: Artetxe et al. 2018.

    >>> import jax
    >>> x = jax.random.gamma(jax.random.key(0), 0.5, (120, 5))
    >>> m = self_learning_map(x, x[::-1, ::-1], key=jax.random.key(1), patience=5)
    >>> bool(m.score > 0.99), bool(m.history["steps"] < 500)
    (True, True)
    """
    x, y = checks.matrix(x, "x"), checks.matrix(y, "y")
    for name, a in (("x", x), ("y", y)):
        nonzero_rows(a, name)
        checks.count(_BEST, "neighbours", low=1, high=len(a), why=f"rows of {name}")
    keep = checks.real(keep, "keep", low=0, high=1, open_low=True)
    patience = checks.count(patience, "patience", low=1, high=2**20)
    most = checks.count(most, "most", low=1, high=2**20)
    start = checks.count(start, "start", low=2, high=2**31)
    weights, mean_x, mean_y, score, history = _self_learn(key, x, y, keep, patience, most, start)
    return Map(weights, mean_x, mean_y, jnp.ones((), x.dtype), score, history)


def _unit(a):
    norms = jnp.linalg.norm(a, axis=1, keepdims=True)
    return a / jnp.where(norms > 0, norms, 1)


def _adjusted(cosines):
    """CSLS (n, m) but for a factor of 2."""
    near = lax.top_k(cosines, _BEST)[0].mean(1)
    return cosines - near[:, None] / 2 - lax.top_k(cosines.T, _BEST)[0].mean(1)[None] / 2


def _profile(a):
    """Each row's sorted similarities to all rows, by the root of the Gram matrix, on the sphere twice."""
    u, s, _ = jnp.linalg.svd(a, full_matrices=False)
    profile = _unit(jnp.sort(linalg.matmul(u * s[None], u.T), 1))
    return _unit(profile - profile.mean(0)[None])


@partial(jax.jit, static_argnums=(4, 5, 6))
def _self_learn(key, x, y, keep, patience, most, start):
    mean_x, mean_y = x.mean(0), y.mean(0)
    a, b = _unit(x - mean_x[None]), _unit(y - mean_y[None])
    size = min(start, len(a), len(b))
    alike = _adjusted(_profile(a[:size]) @ _profile(b[:size]).T)
    first = jnp.arange(size)

    def rotation(forth, back):
        """Procrustes over both dictionaries: rows forth[0] of a with forth[1] of b, and back likewise."""
        return polar(linalg.matmul(a[forth[0]].T, b[forth[1]]) + linalg.matmul(a[back[0]].T, b[back[1]]))

    def step(state):
        i, weights, keep, best, last, objectives, keeps, _ = state
        cosines = _unit(a @ weights) @ b.T
        objective = (cosines.max(1).mean() + cosines.max(0).mean()) / 2
        grew = objective > best + 1e-6
        last = jnp.where(grew, i, last)
        stalled = i - last > patience
        done = stalled & (keep >= 1)
        objectives, keeps = objectives.at[i].set(objective), keeps.at[i].set(keep)
        keep = jnp.where(stalled, jnp.minimum(2 * keep, 1), keep)
        last = jnp.where(stalled, i, last)
        scores = _adjusted(cosines)
        for_forth, for_back = jax.random.split(jax.random.fold_in(key, i))

        def chosen(key, axis):
            return jnp.where(jax.random.uniform(key, scores.shape) < keep, scores, -jnp.inf).argmax(axis)

        forth = jnp.arange(len(a)), chosen(for_forth, 1)
        back = chosen(for_back, 0), jnp.arange(len(b))
        new = jnp.where(done, weights, rotation(forth, back))
        return i + 1, new, keep, jnp.maximum(best, objective), last, objectives, keeps, done

    weights = rotation((first, alike.argmax(1)), (alike.argmax(0), first))
    nothing = jnp.full(most, jnp.nan, x.dtype)
    state = 0, weights, jnp.asarray(keep, x.dtype), jnp.asarray(-jnp.inf, x.dtype), 0, nothing, nothing, False
    steps, weights, _, _, _, objectives, keeps, _ = lax.while_loop(lambda s: ~s[-1] & (s[0] < most), step, state)
    history = {"objective": objectives, "keep": keeps, "steps": steps}
    return weights, mean_x, mean_y, objectives[steps - 1], history
