"""Dimension around each sample: from the distances to its neighbours, or from the directions that they span."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.neighbors import Neighborhoods, neighborhoods, within

_FORMS = {"levina-bickel": 1, "unbiased": 2, "amsaleg": 0}  # what is taken from k
_RULES = ("fukunaga-olsen", "share", "participation")
_EQUALLY_FAR = "the k nearest places of a row are equally far, which no dimension explains; try a larger k"


def lid_mle(x: Array | Neighborhoods, *, k: int = 20, form: str = "levina-bickel") -> Array:
    """Local intrinsic dimension (n,) of each row by maximum likelihood: (k - 1) / sum_j ln(r_k / r_j), j < k.

    x (n, p) or its neighbourhoods, 2 <= k <= n - 1. `form` changes the numerator: "levina-bickel" k - 1 (their eq. 8),
    "unbiased" k - 2 (k >= 3; without bias where the density is flat), "amsaleg" k (their mean counts r_k itself). All
    assume a flat density among k neighbours; each value has a relative error of about 1 / sqrt(k). Copies of a row
    share their value, and it is never 0 or infinite: with copies counted as neighbours at distance 0 the logarithm
    would be infinite and the dimension 0. Cost as `neighborhoods`; differentiable while no neighbour changes.
    ValueError as `neighborhoods`, and where the k neighbours of a row are equally far; NaN there under a trace.
    Source: Levina and Bickel 2004; Amsaleg et al. 2015. Averages: `mean_lid`.

    >>> import jax
    >>> found = lid_mle(jax.random.uniform(jax.random.key(1), (2000, 2)), k=50, form="unbiased")
    >>> print(f"{found.mean():.2f} +- {found.std():.2f}")
    1.95 +- 0.29
    """
    checks.choice(form, "form", tuple(_FORMS))
    return checks.defined(_lid(x, k, form), _EQUALLY_FAR)


def lid_moments(x: Array | Neighborhoods, *, k: int = 20) -> Array:
    """Local intrinsic dimension (n,) of each row by moments: m / (r_k - m), m the mean of the k - 1 nearer distances.

    Arguments, copies, cost and errors as `lid_mle`. Where the density is flat r_j / r_k has mean d / (d + 1), which
    is solved for d; without logarithms, so one very near neighbour moves it less than the likelihood. Code that counts
    r_k itself into the mean gives v + (v + 1) / (k - 1) for our v. Source: Amsaleg et al. 2018; the form with the
    nearer distances alone is that of Huang et al. 2024.

    >>> import jax
    >>> found = lid_moments(jax.random.uniform(jax.random.key(1), (2000, 2)), k=50)
    >>> print(f"{found.mean():.2f} +- {found.std():.2f}")
    1.97 +- 0.31
    """
    near = _at_least(x, 2, k)
    return checks.defined(_moments(near.distances), _EQUALLY_FAR)


def mean_lid(
    x: Array | Neighborhoods, *, k: int = 20, form: str = "levina-bickel", average: str = "harmonic"
) -> Array:
    """Average over places of `lid_mle`: one intrinsic dimension of the sample.

    `average`: "harmonic" (the likelihood's own: places that share one dimension pool their logarithms; MacKay and
    Ghahramani 2005), "mean" (Levina and Bickel 2004; above the harmonic one by a factor of about 1 + 1 / k),
    "median", or "geometric" (what LDReg averages, as logarithms: Huang et al. 2024). Copies of a row count once.
    Other arguments, cost and errors as `lid_mle`. Differentiable, so that it can be a penalty.

    >>> import jax
    >>> x = jax.random.uniform(jax.random.key(1), (2000, 2))
    >>> [f"{mean_lid(x, average=a):.2f}" for a in ("harmonic", "geometric", "mean", "median")]
    ['1.98', '2.04', '2.09', '2.03']
    """
    checks.choice(form, "form", tuple(_FORMS))
    checks.choice(average, "average", ("harmonic", "mean", "median", "geometric"))
    near = _at_least(x, 3 if form == "unbiased" else 2, k)
    return checks.defined(_averaged(_mle(near.distances, _FORMS[form]), near.first, average), _EQUALLY_FAR)


def local_pca(x: Array, *, k: int = 20, rule: str = "fukunaga-olsen", threshold: float | None = None) -> Array:
    """Number of directions (n,) that each row and its k nearest places span, by principal components.

    x (n, p), 1 <= k <= n - 1; l are the eigenvalues of the covariance of those k + 1 rows, at most min(k, p) of them.
    `rule`: "fukunaga-olsen" counts l > threshold l_1 (.05); "share" counts the leading ones that it takes to hold
    the share `threshold` of the variance (.95); "participation" gives (sum l)^2 / sum l^2, not an integer. Counts
    grow with k as curvature comes in, cannot pass k, and take noise above the threshold for directions.
    Cost as `neighborhoods`, and O(n min(k, p)^2 max(k, p)). Only "participation" has a gradient. Errors as
    `neighborhoods`. Source: Fukunaga and Olsen 1971.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> flat = jax.random.normal(jax.random.key(0), (200, 2))
    >>> local_pca(jnp.concatenate([flat, 0.01 * flat[:, :1] ** 2], 1))[:5].tolist()
    [2.0, 2.0, 2.0, 2.0, 2.0]
    """
    checks.choice(rule, "rule", _RULES)
    if rule == "participation" and threshold is not None:
        raise ValueError(f'threshold: rule "participation" has none; got {threshold}')
    if threshold is None:
        threshold = 0.95 if rule == "share" else 0.05
    threshold = checks.real(threshold, "threshold", low=0, high=1, open_low=True)
    x = checks.matrix(x, "x")
    near = neighborhoods(x, k=k)
    return checks.defined(_local_pca(x, near, threshold, rule), "neighbours that do not exist")


def _lid(x, k, form):
    near = _at_least(x, 3 if form == "unbiased" else 2, k)
    return _mle(near.distances, _FORMS[form])


def _at_least(x, low, k):
    checks.count(k, "k", low=low, high=2**31 - 1, why="the estimator's least")
    return within(x, k=k)


@partial(jax.jit, static_argnums=1)
def _mle(distances, less):
    k = distances.shape[1]
    total = jnp.sum(log_ratio(distances[:, -1:], distances[:, :-1]), 1)
    return (k - less) / jnp.where(total > 0, total, jnp.nan)


@jax.jit
def _moments(distances):
    nearer = distances[:, :-1]
    gap = jnp.mean(distances[:, -1:] - nearer, 1)
    return jnp.mean(nearer, 1) / jnp.where(gap > 0, gap, jnp.nan)


@partial(jax.jit, static_argnums=2)
def _averaged(values, first, average):
    if average == "median":
        return median_over(values, first)
    if average == "harmonic":
        return 1 / jnp.mean(1 / values, where=first)
    return jnp.mean(values, where=first) if average == "mean" else jnp.exp(jnp.mean(jnp.log(values), where=first))


def log_ratio(far: Array, near: Array) -> Array:
    """ln(far / near), exactly 0 where they are equal: a quotient may be rounded, and would pass for a dimension."""
    return jnp.log1p((far - near) / near)


def median_over(values: Array, first: Array) -> Array:
    """Median of values (n,) over the rows in `first` (n,), NaN if one of them is."""
    n = first.sum()
    ordered = jnp.sort(jnp.where(first, values, jnp.inf))
    return jnp.where(jnp.isnan(values).any(where=first), jnp.nan, (ordered[(n - 1) // 2] + ordered[n // 2]) / 2)


@partial(jax.jit, static_argnames="rule")
def _local_pca(x, near, threshold, rule):
    x = linalg.center(x / linalg.scale_of(x))
    k = near.rows.shape[1]

    def around(at):
        i, rows = at
        cloud = jnp.concatenate([jnp.zeros_like(x[:1]), x[rows] - x[i][None]])
        cloud = cloud / lax.stop_gradient(jnp.abs(cloud).max())
        cloud = cloud - cloud.mean(0, keepdims=True)
        small = cloud.T if cloud.shape[1] < cloud.shape[0] else cloud
        gram = linalg.matmul(small, small.T)
        if rule == "participation":
            return jnp.trace(gram) ** 2 / jnp.sum(gram * gram)
        values = jnp.maximum(jnp.linalg.eigvalsh(gram)[::-1], 0)
        if rule == "share":
            held = jnp.cumsum(values) / jnp.sum(values)
            return 1 + jnp.sum(held < threshold * (1 - 4 * jnp.finfo(values.dtype).eps))
        return jnp.sum(values > threshold * values[0])

    step = int(max(1, min(len(x), 2**22 // ((k + 1) * x.shape[1]))))
    found = lax.map(around, (jnp.arange(len(x)), near.rows), batch_size=step)
    return jnp.where(jnp.isfinite(near.distances[:, -1]), found.astype(x.dtype), jnp.nan)
