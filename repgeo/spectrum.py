"""How many directions are in use? Effective ranks, each read off one spectrum that says how it was made.

A spectrum of an embedding matrix exists in two forms, of the matrix as it is and of the matrix minus its column
means, and the number of directions differs between them by any factor when the mean is large. So `spectrum` has no
default, and a measure that is handed a matrix takes the form in which its source defines it.
"""

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.moments import Moments, spread

_ALL_ZERO = "every singular value is 0, so no direction is in use"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Spectrum:
    """Singular values of a matrix, descending, and what they are of; a pytree, so it vmaps.

    values (r,) with r <= p, in units of the features: their squares, over n - 1 if centred, are variances. n () rows
    and p features; centered: whether the column means were subtracted first.
    """

    values: Array
    n: Array
    p: int = field(metadata={"static": True})
    centered: bool = field(metadata={"static": True})


def spectrum(x: Array, *, center: bool) -> Spectrum:
    """Singular values of x (n, p), of its centred columns with `center=True` and as it is with `center=False`.

    n >= 2; min(n, p) values, as computed: below s[0] max(n, p) eps they are rounding. There is no default because
    both are in use under the same names of measures, and a mean that is large beside the spread becomes one dominant
    direction. O(n p min(n, p)). Raises as `checks.matrix`: equal rows are an error only for `center=True`.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[3.0, 2.0], [3.0, -2.0]])
    >>> [[f"{s:.2f}" for s in spectrum(x, center=c).values] for c in (False, True)]
    [['4.24', '2.83'], ['2.83', '0.00']]
    """
    center = _flag(center)
    x = checks.matrix(x, "x", may_be_constant=not center)
    return Spectrum(_singular_values(x, center), jnp.asarray(len(x), x.dtype), x.shape[1], center)


def spectrum_from(m: Moments, *, center: bool) -> Spectrum:
    """`spectrum` of the x side of accumulated moments, so of a stream or of shards: p values.

    Moments square the condition number: values below s[0] sqrt(p eps) (6e-3 of the largest in float32, 2e-7 in
    float64, for p = 300) cannot be told from rounding and are 0. Errors as `moments.spread`.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x = jnp.array([[3.0, 2.0], [3.0, -2.0]])
    >>> [f"{s:.2f}" for s in spectrum_from(moments(x, x), center=False).values]
    ['4.24', '2.83']
    """
    center = _flag(center)
    m = spread(m)
    return Spectrum(_roots(m, center), m.n, len(m.xx), center)


def rankme(x: Array | Spectrum, *, eps: float = 1e-7) -> Array:
    """RankMe: exp of the Shannon entropy of p = s / sum(s) + eps over the uncentred singular values s; from 1 up.

    x is a matrix (n, p), n >= 2, or `spectrum(x, center=False)`. As in the paper, columns are not centred, p is not
    renormalised after eps is added, and eps = 1e-7; so the value may pass min(n, p) by a hair, and grows with every
    direction that holds nothing. Compare values of one n and one implementation only: other code under this name
    centres, squares, or adds another eps. ValueError for a centred spectrum (`effective_rank` takes both) and for a
    matrix of zeros; under a trace the latter gives NaN. Source: Garrido et al. 2023, sec. 3.

    >>> import jax.numpy as jnp
    >>> print(f"{rankme(jnp.diag(jnp.array([2.0, 2.0, 0.0]))):.3f}")
    2.000
    """
    eps = checks.real(eps, "eps", low=0)
    s = _spectrum_of(x, center=False)
    if s.centered:
        raise ValueError("x: RankMe is of an uncentred spectrum; got a centred one, so use effective_rank")
    return checks.defined(_rankme(s.values, eps), _ALL_ZERO)


def effective_rank(x: Array | Spectrum, *, on: str = "singular") -> Array:
    """Effective rank: exp of the Shannon entropy of the spectrum as shares of its sum, in [1, rank].

    x is a matrix (n, p), n >= 2, taken as it is, or a `Spectrum`, taken as it was made. `on` says shares of what:
    "singular" (singular values, as the source) or "variance" (their squares: with a centred spectrum the eigenvalues
    of the covariance), which never gives more. Unchanged by rotation and scale. Errors and traces as `rankme`; a
    direction that holds nothing has gradient 0.
    Source: Roy and Vetterli 2007.

    >>> import jax.numpy as jnp
    >>> x = jnp.diag(jnp.array([3.0, 1.0, 0.0]))
    >>> print(f"{effective_rank(x):.3f} {effective_rank(x, on='variance'):.3f}")
    1.755 1.384
    """
    checks.choice(on, "on", ("singular", "variance"))
    s = _spectrum_of(x, center=False)
    return checks.defined(_effective_rank(s.values, on), _ALL_ZERO)


def participation_ratio(x: Array | Spectrum) -> Array:
    """Participation ratio (sum l)^2 / sum l^2 of the eigenvalues l of the covariance, in [1, rank].

    x is a matrix (n, p), n >= 2, centred here, or a `Spectrum`, taken as it was made. Counts the directions of a flat
    spectrum, and is ruled by the leading ones otherwise. Biased downwards in a small sample: it cannot reach n.
    Unchanged by rotation, scale and (of a matrix) shift. Errors and traces as `rankme`. Source: Gao et al. 2017.

    >>> import jax.numpy as jnp
    >>> print(f"{participation_ratio(jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])):.3f}")
    2.000
    """
    s = _spectrum_of(x, center=True)
    return checks.defined(_participation_ratio(s.values), _ALL_ZERO)


def stable_rank(x: Array | Spectrum) -> Array:
    """Stable rank ||x||_F^2 / ||x||_2^2: total over largest squared singular value, in [1, rank].

    x is a matrix (n, p), n >= 2, taken as it is, or a `Spectrum`, taken as it was made. A large mean brings it to 1
    whatever the rest does: of a centred spectrum it is the inverse share of the first principal component. Unchanged
    by rotation and scale, and hardly moved by small singular values. Errors and traces as `rankme`.
    Source: Rudelson and Vershynin 2007, who call it the numerical rank.

    >>> import jax.numpy as jnp
    >>> print(f"{stable_rank(jnp.diag(jnp.array([2.0, 1.0, 1.0]))):.3f}")
    1.500
    """
    s = _spectrum_of(x, center=False)
    return checks.defined(_stable_rank(s.values), _ALL_ZERO)


def _flag(center) -> bool:
    if not isinstance(center, bool | np.bool_):
        raise TypeError(f"center: expected True or False; got {type(center).__name__} {center!r}")
    return bool(center)


def _spectrum_of(x, *, center: bool) -> Spectrum:
    """`x` if it is a spectrum, else its spectrum in the form that the caller's source defines."""
    if not isinstance(x, Spectrum):
        return spectrum(x, center=center)
    if x.values.ndim != 1:
        raise ValueError(f"x: expected one spectrum; got a batch, with values of shape {x.values.shape}: use vmap")
    return x


@partial(jax.jit, static_argnames="center")
def _singular_values(x, center):
    return linalg.singular_values(linalg.center(x) if center else x)


@partial(jax.jit, static_argnames="center")
def _roots(m, center):
    mean = m.mean_x + m.rest_x
    values, _ = linalg.descending_eigh(m.xx if center else m.xx + m.n * jnp.outer(mean, mean))
    real = values > values[0] * len(values) * jnp.finfo(values.dtype).eps
    return linalg.safe_sqrt(jnp.where(real, values, 0))


def _exp_entropy(p: Array) -> Array:
    """Exp of -sum p ln p, where 0 ln 0 is 0 and so is its gradient."""
    zero = p <= 0
    return jnp.exp(-jnp.sum(jnp.where(zero, 0, p * jnp.log(jnp.where(zero, 1, p)))))


def _relative(s: Array) -> Array:
    """The spectrum over its largest value: sums and squares then neither overflow nor underflow; NaN if all are 0."""
    return s / jnp.where(s[0] > 0, s[0], jnp.nan)


@jax.jit
def _rankme(s, eps):
    s = _relative(s)
    return _exp_entropy(s / jnp.sum(s) + eps)


@partial(jax.jit, static_argnames="on")
def _effective_rank(s, on):
    s = _relative(s)
    weights = s if on == "singular" else s**2
    return _exp_entropy(weights / jnp.sum(weights))


@jax.jit
def _participation_ratio(s):
    share = _relative(s) ** 2
    return jnp.sum(share) ** 2 / jnp.sum(share**2)


@jax.jit
def _stable_rank(s):
    return jnp.sum(_relative(s) ** 2)
