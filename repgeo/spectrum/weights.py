"""How heavy is the tail of the spectrum of a weight matrix?"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks, linalg

_NO_TAIL = "the eigenvalues of the tail are all equal or 0, so that it has no slope"


def tail_exponent(w: Array, *, share: float = 0.5) -> Array:
    """Exponent a of the density l^-a of the largest eigenvalues of w^T w, by Hill's estimate; from 1 up.

    w (rows, columns), at least 2 x 2, either side up. Of the r = min(rows, columns) eigenvalues the floor(r `share`)
    largest are the tail and the next is where it starts: a = 1 + k / sum ln(l_i / l_start). Smaller is heavier;
    literature on trained networks reads 2 to 4 as well trained. It depends on the shape alone where there is nothing
    else, a random matrix included: compare layers of different shapes by `farms_exponent`. Unchanged by rotation,
    scale and transposition. ValueError when the start is rounding (rank below the tail) or nothing is above.
    Source: Hill 1975; with half of the eigenvalues, as PL_Alpha_Hill, Zhou et al. 2023.

    >>> import jax.numpy as jnp
    >>> print(f"{tail_exponent(jnp.diag(jnp.exp(jnp.arange(4.0)))):.3f}")
    1.333
    """
    w = checks.matrix(w, "w", may_be_constant=True)
    share = checks.real(share, "share", low=0, high=1, open_low=True)
    k = _tail(min(w.shape), share, f"w of shape {w.shape}")
    return checks.defined(_exponent(w, k), _NO_TAIL)


def farms_exponent(
    w: Array, *, side: int = 64, ratio: float = 1.0, step: int | None = None, share: float = 0.5
) -> Array:
    """FARMS: the `tail_exponent` of the pooled eigenvalues of submatrices that all have one shape; from 1 up.

    w (rows, columns), turned so that columns are the longer side. Windows of `side` rows and round(side `ratio`)
    columns slide by `step` (half of each side unless given) from the first corner; the eigenvalues of all are one
    sample, of which the `share` largest are the tail. Layers of any shape can so be compared at one `side` and `ratio`,
    the shape of a random matrix no longer being part of the answer; whole rows and columns at the far end that no
    window reaches are left out. Cost: one singular value decomposition a window, all at once. ValueError when a
    window does not fit. Unchanged by scale and transposition, not by rotation: the windows see the order of units.
    Source: Hu et al. 2025, whose code pools eigenvalues so; its window sizes are settings of each experiment.

    >>> import jax
    >>> key = jax.random.key(0)
    >>> shapes = [(128, 128), (128, 1024)]
    >>> [f"{tail_exponent(jax.random.normal(key, shape)):.1f}" for shape in shapes]
    ['2.1', '4.4']
    >>> [f"{farms_exponent(jax.random.normal(key, shape)):.1f}" for shape in shapes]
    ['2.1', '2.1']
    """
    w = checks.matrix(w, "w", may_be_constant=True)
    w = w.T if w.shape[0] > w.shape[1] else w
    side = checks.count(side, "side", low=2, high=w.shape[0], why="the shorter side of w")
    ratio = checks.real(ratio, "ratio", low=1)
    across = checks.count(round(side * ratio), "round(side ratio)", low=side, high=w.shape[1], why="the longer side")
    share = checks.real(share, "share", low=0, high=1, open_low=True)
    steps = (max(1, side // 2), max(1, across // 2))
    if step is not None:
        steps = (checks.count(step, "step", low=1, high=max(w.shape)),) * 2
    down, right = (range(0, most - size + 1, by) for most, size, by in zip(w.shape, (side, across), steps, strict=True))
    starts = tuple((i, j) for i in down for j in right)
    k = _tail(side * len(starts), share, f"{len(starts)} windows of {side} rows")
    return checks.defined(_pooled(w, starts, (side, across), k), _NO_TAIL)


def _tail(count: int, share: float, of: str) -> int:
    k = int(count * share)
    if not 1 <= k < count:
        raise ValueError(f"share: expected a tail of 1 to {count - 1} eigenvalues of {of}; got {share}, so {k}")
    return k


@partial(jax.jit, static_argnames="k")
def _exponent(w, k):
    return _hill(linalg.singular_values(w), k, w.shape)


@partial(jax.jit, static_argnames=("starts", "shape", "k"))
def _pooled(w, starts, shape, k):
    corners = jnp.asarray(starts)
    values = jax.vmap(lambda c: linalg.singular_values(jax.lax.dynamic_slice(w, (c[0], c[1]), shape)))(corners)
    return _hill(jnp.sort(values.ravel())[::-1], k, shape)


def _hill(s: Array, k: int, shape: tuple[int, int]) -> Array:
    """From singular values, descending, of which the first k are the tail; NaN where it has no slope."""
    start = jnp.where(linalg.rank_mask(s, shape)[k], s[k], jnp.nan)
    above = 2 * jnp.sum(jnp.log(s[:k] / start))
    return 1 + k / jnp.where(above > 0, above, jnp.nan)
