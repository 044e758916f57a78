"""Erasers in closed form, from the second moments of features and a concept: after them no linear probe reads it."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.erasure.concept import moments_of, moments_of_checked, paired
from repgeo.erasure.eraser import Eraser, about
from repgeo.moments import Moments, spread


def leace(x: Array, y: Array, *, labels: str, rank: int | None = None) -> Eraser:
    """LEACE: of all affine maps after which no linear probe beats a constant, the one that moves x (n, p) least.

    y and `labels` as in `as_concept`. P Sxz = 0 exactly, so all class means coincide, on the rows it was fitted on:
    elsewhere neither that nor the least edit is promised, and a probe that is not linear may still read everything.
    The projection is oblique, I - Sxz (Sxz^T S^-1 Sxz)^+ Sxz^T S^-1, about the mean of x. Equivariant under invertible
    linear maps of x, unchanged by those of the concept. A direction is removed where its canonical correlation with
    the concept exceeds rounding, 10 sqrt(p) eps, which no rare class does not; removing nothing warns. `rank` keeps
    only so many directions, the most correlated. With n <= p, or columns that depend on each other, S is
    regularised by about as much: still exact, but which of the equal edits is taken then depends on rounding.
    O(n p^2 + p^3); computed in float64 from float32 moments unless traced. For a stream `leace_from`.
    Raises as `checks.paired` and `as_concept`; ValueError for one class or a constant y, rank > min(p, q).
    Source: Belrose et al. 2023.

    >>> import jax.numpy as jnp
    >>> x, y = jnp.array([[0.0, 1.0], [0.0, 3.0], [1.0, 2.0], [1.0, 6.0]]), [0, 0, 1, 1]
    >>> e = leace(x, y, labels="categorical")
    >>> int(e.rank), e.transform(x).round(4).tolist()
    (1, [[0.5, 2.0], [0.5, 4.0], [0.5, 1.0], [0.5, 5.0]])
    """
    return leace_from(moments_of(x, y, labels), rank=rank)


def leace_from(m: Moments, *, rank: int | None = None) -> Eraser:
    """`leace` from accumulated moments of x and of the concept as `as_concept` gives it: a stream, shards.

    O(p^2 + p q) of memory, whatever n. Errors as `moments.spread`.

    >>> import jax.numpy as jnp
    >>> from repgeo.erasure import as_concept
    >>> from repgeo.moments import moments
    >>> x, z = jnp.arange(12.0).reshape(6, 2) ** 2, as_concept([0, 1] * 3, labels="categorical")
    >>> m = moments(x[:2], z[:2]) + moments(x[2:], z[2:])
    >>> bool(jnp.allclose(leace_from(m).transform(x)[::2].mean(0), leace_from(m).transform(x)[1::2].mean(0), atol=1e-4))
    True
    """
    return _fitted(_leace, m, "leace", rank)


def mean_projection(x: Array, y: Array, *, labels: str) -> Eraser:
    """The orthogonal projection without the directions between class means: also guards against linear probes.

    P Sxz = 0 as in `leace`, with a symmetric P about the mean of x that no covariance among features enters: for two
    classes it drops the difference of their means, for a continuous y the covariances. It moves the rows it was fitted
    on more than `leace` does, and need not elsewhere. Not invariant to the scale of a feature. Errors and warning as
    `leace`. Source: Shao et al. 2023 at full rank; where the game of Ravfogel et al. 2022 ends, too.

    >>> import jax.numpy as jnp
    >>> x, y = jnp.array([[0.0, 1.0], [0.0, 3.0], [1.0, 2.0], [1.0, 6.0]]), [0, 0, 1, 1]
    >>> e = mean_projection(x, y, labels="categorical")
    >>> [f"{value:.2f}" for half in (x[:2], x[2:]) for value in e.transform(half).mean(0)]
    ['0.50', '3.00', '0.50', '3.00']
    """
    return mean_projection_from(moments_of(x, y, labels))


def mean_projection_from(m: Moments) -> Eraser:
    """`mean_projection` from accumulated moments of x and of the concept as `as_concept` gives it.

    >>> import jax.numpy as jnp
    >>> from repgeo.erasure import as_concept
    >>> from repgeo.moments import moments
    >>> x, z = jnp.array([[0.0, 1.0], [2.0, 1.5]]), as_concept([0, 1], labels="categorical")
    >>> mean_projection_from(moments(x, z)).transform(x).round(3).tolist()
    [[1.0, 1.25], [1.0, 1.25]]
    """
    return _fitted(_mean_projection, m, "mean_projection", None)


def sal(x: Array, y: Array, *, labels: str, rank: int, center: bool = True) -> Eraser:
    """SAL: the orthogonal projection without the `rank` leading left singular vectors of the covariance with y.

    With rank c - 1 it is `mean_projection`. `center=False` is what the authors' code runs: cross-moments about 0, of
    which the first direction is mostly the mean of x, so that rank 1 erases nothing of a binary concept. There the
    origin stays, with `center=True` the mean of x. Rank beyond that of the covariance removes nothing more: `rank` of
    the result says so. Not invariant to the scale of a feature. Errors as `leace`; ValueError unless
    1 <= rank <= min(p, q). Source: Shao et al. 2023.

    >>> import jax.numpy as jnp
    >>> x, y = jnp.array([[9.0, 1.0], [9.0, 3.0], [9.0, 4.0], [9.0, 6.0]]), [0, 0, 1, 1]
    >>> [f"{abs(sal(x, y, labels='categorical', rank=1, center=c).left[1, 0]):.1f}" for c in (True, False)]
    ['1.0', '0.4']
    """
    return sal_from(moments_of(x, y, labels), rank=rank, center=center)


def sal_from(m: Moments, *, rank: int, center: bool = True) -> Eraser:
    """`sal` from accumulated moments of x and of the concept as `as_concept` gives it.

    >>> import jax.numpy as jnp
    >>> from repgeo.erasure import as_concept
    >>> from repgeo.moments import moments
    >>> x, z = jnp.array([[0.0, 1.0], [2.0, 1.0]]), as_concept([0, 1], labels="categorical")
    >>> sal_from(moments(x, z), rank=1).transform(x).round(3).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return _fitted(partial(_sal, center=bool(center)), m, "sal", rank, required=True)


def splince(x: Array, y: Array, task: Array, *, labels: str, task_labels: str) -> Eraser:
    """SPLINCE: the map after which no linear probe reads y, and the covariance with `task` is what it was.

    y and task are given as in `as_concept`, each with its kind. P Sxz = 0 and P Sxt = Sxt: `leace` would move Sxt
    where the two are correlated. It moves x more than `leace` does, and equals it where they are not. Errors as
    `leace`; ValueError when concept and task share a direction, as two names of one thing do: to erase one is to
    erase the other. Source: Holstege et al. 2025.

    >>> import jax.numpy as jnp
    >>> x, y, task = jnp.array([[0.0, 1.0], [0.0, 3.0], [1.0, 2.0], [1.0, 6.0]]), [0, 0, 1, 1], [0, 1, 0, 1]
    >>> e = splince(x, y, task, labels="categorical", task_labels="categorical")
    >>> float((e.transform(x)[1] - e.transform(x)[0])[1].round(3))
    2.0
    """
    x, z = paired(x, y, "y", labels)
    x, t = paired(x, task, "task", task_labels)
    return splince_from(moments_of_checked(x, jnp.concatenate([z, t.astype(z.dtype)], 1)), concept=z.shape[1])


def splince_from(m: Moments, *, concept: int) -> Eraser:
    """`splince` from accumulated moments whose y side is the concept in the first `concept` columns, then the task.

    >>> import jax.numpy as jnp
    >>> from repgeo.erasure import as_concept
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[0.0, 1.0], [0.0, 3.0], [1.0, 2.0], [1.0, 6.0]])
    >>> z, task = (as_concept(y, labels="categorical") for y in ([0, 0, 1, 1], [0, 1, 0, 1]))
    >>> int(splince_from(moments(x, jnp.concatenate([z, task], 1)), concept=2).rank)
    1
    """
    m = spread(m)
    concept = checks.count(concept, "concept", low=1, high=m.xy.shape[1] - 1, why="columns before those of the task")
    left, right, top, apart = in_double(partial(_splince, concept=concept), m)
    if checks.is_concrete(apart) and not float(apart) > 1e-4:
        raise ValueError("task: expected one that the concept leaves room for; got one whose linear trace in x lies "
                         "within the concept's, so that erasing the one erases the other")
    return _warned(about(m.mean_x, left, right), top, "splince")


def _fitted(kernel, m, name, rank, required=False) -> Eraser:
    m = spread(m)
    if required or rank is not None:
        rank = checks.count(rank, "rank", low=1, high=min(m.xy.shape), why="features, and columns of the concept")
    left, right, top = in_double(partial(kernel, rank=rank), m)
    at_origin = isinstance(kernel, partial) and not kernel.keywords["center"]
    return _warned(about(jnp.zeros_like(m.mean_x) if at_origin else m.mean_x, left, right), top, name)


def _warned(e: Eraser, top: Array, name: str) -> Eraser:
    if checks.is_concrete(e.left):
        checks.defined(e.left, "the covariance of x cannot be inverted in this precision")
        if not np.any(np.asarray(e.left)):
            warnings.warn(
                f"{name} removed nothing: the largest canonical correlation of x and the concept is {float(top):.1e}, "
                "which is rounding",
                stacklevel=4,
            )
        left, right = np.asarray(e.left), np.asarray(e.right)
        real = (left != 0).any(0)
        if not real.all():
            e = Eraser(jnp.asarray(left[:, real]), jnp.asarray(right[real]), e.bias, e.shift)
    return e


def in_double(kernel, m: Moments):
    """kernel(m, eps), in float64 where the moments are float32 numbers: the cut stays that of their precision."""
    eps = float(jnp.finfo(m.xx.dtype).eps)
    return linalg.in_double(_run, m, kernel=_key(kernel), eps=eps)


def _key(kernel):
    """Equal partials as one hashable, so that they share a compiled program."""
    options = {}
    while isinstance(kernel, partial):
        options = kernel.keywords | options
        kernel = kernel.func
    return kernel, tuple(sorted(options.items()))


@partial(jax.jit, static_argnames=("kernel", "eps"))
def _run(m, *, kernel, eps):
    function, options = kernel
    return function(m, eps=eps, **dict(options))


def _parts(m, eps):
    """Scales of x (p,), Cholesky factor of its correlations (p, p), correlations (p, q) with the concept made white.

    Features are scaled first, so that nothing depends on their units; the floor under the spectrum is relative to 1.
    """
    p = len(m.xx)
    sd = linalg.safe_sqrt(jnp.diagonal(m.xx))
    sd = jnp.where(sd > 0, sd, 1)
    correlations = m.xx / sd[:, None] / sd[None]

    def factor(ridge):
        return jnp.linalg.cholesky(correlations + ridge * jnp.eye(p, dtype=m.xx.dtype))

    lower = factor(2 * p**0.5 * eps)
    lower = lax.cond(jnp.isfinite(lower[-1, -1]), lambda: lower, lambda: factor(50 * p**0.5 * eps))
    return sd, lower, linalg.matmul(m.xy / sd[:, None], whitener(m.yy, eps))


def whitener(yy, eps):
    """V (q, q) with V^T yy V = I on the range of yy; columns beyond it are 0, as one is for a sum of all classes."""
    sd = linalg.safe_sqrt(jnp.diagonal(yy))
    sd = jnp.where(sd > 0, sd, 1)
    values, vectors = linalg.descending_eigh(yy / sd[:, None] / sd[None])
    real = values > values[0] * 10 * len(yy) * eps
    root = jnp.where(real, jnp.where(real, values, 1) ** -0.5, 0)
    return vectors * root[None] / sd[:, None]


def _solved(lower, a, trans=0):
    return jax.scipy.linalg.solve_triangular(lower, a, lower=True, trans=trans)


def _correlated(white, rank, eps):
    """Directions (p, r) of whitened x that correlate with the concept, 0 where the correlation is rounding; the top."""
    u, s, _ = jnp.linalg.svd(white, full_matrices=False)
    real = (s > 10 * len(white) ** 0.5 * eps) & (jnp.arange(len(s)) < (len(s) if rank is None else rank))
    return u * real[None], s[0]


def _leace(m, *, eps, rank):
    sd, lower, xz = _parts(m, eps)
    u, top = _correlated(_solved(lower, xz), rank, eps)
    u = u[:, : rank or u.shape[1]]
    left = linalg.matmul(lower, u) * sd[:, None]
    return left, (_solved(lower, u, trans=1) / sd[:, None]).T, top


def _mean_projection(m, *, eps, rank):
    return _orthogonal(linalg.matmul(m.xy, whitener(m.yy, eps)), m, None, eps)


def _sal(m, *, eps, rank, center):
    cross = m.xy if center else m.xy + m.n * jnp.outer(m.mean_x, m.mean_y)
    return _orthogonal(cross, m, rank, eps, about_mean=center)


def _orthogonal(cross, m, rank, eps, about_mean=True):
    """The leading left singular vectors of `cross`, as left and right, and the largest correlation with the concept."""
    u, s, _ = jnp.linalg.svd(cross, full_matrices=False)
    sd = linalg.safe_sqrt(jnp.diagonal(m.xx))
    sd = jnp.where(sd > 0, sd, jnp.inf)
    top = jnp.linalg.norm(linalg.matmul(m.xy, whitener(m.yy, eps)) / sd[:, None], axis=1).max()
    some = (top > 10 * eps * len(m.xx) ** 0.5) if about_mean else True
    u = u * ((s > s[0] * max(cross.shape) * 4 * eps) & some)[None]
    u = u[:, : rank or u.shape[1]]
    return u, u.T, top


def _splince(m, *, eps, concept):
    sd, lower, xz = _parts(Moments(m.n, m.mean_x, m.mean_y[:concept], m.rest_x, m.rest_y[:concept], m.xx,
                                   m.xy[:, :concept], m.yy[:concept, :concept]), eps)
    xt = linalg.matmul(m.xy[:, concept:] / sd[:, None], whitener(m.yy[concept:, concept:], eps))
    u, top = _correlated(_solved(lower, xz), None, eps)
    t, _ = _correlated(_solved(lower, xt), None, eps)
    kept = u - linalg.matmul(t, linalg.matmul(t.T, u))  # of each direction what the task does not need
    gram = linalg.matmul(kept.T, kept)
    absent = jnp.diag((u == 0).all(0).astype(gram.dtype))
    least = jnp.linalg.eigvalsh(gram + absent)[0]
    right = _solved(lower, jnp.linalg.solve(gram + absent, kept.T).T, trans=1) / sd[:, None]
    return linalg.matmul(lower, u) * sd[:, None], right.T, top, linalg.safe_sqrt(least)
