"""How fast does the spectrum fall? Its power law, its ends, the dimensions that hold a share, its cost in bits."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks
from repgeo.spectrum.decompose import ALL_ZERO, Spectrum, centred_spectrum_of, relative, spectrum_of

_ZERO_INSIDE = "an eigenvalue within the range is 0"


def alpha_req(x: Array | Spectrum, *, between: tuple[int, int] = (10, 100)) -> Array:
    """alpha-ReQ: the exponent a of a power law l_i ~ i^-a through the eigenvalues of the covariance.

    x is a matrix (n, p), n >= 2, centred here, or `spectrum(x, center=True)`; ValueError for an uncentred one.
    Least squares of ln l_i on ln i with weight 1/i, over the eigenvalues number `between[0]` (counted from 0) up to
    but without `between[1]`, so over ranks i = 11 to 100 by default; ValueError where the spectrum has fewer values:
    nothing is cut to fit. About 1 where natural images end up in cortex; 0 for a flat spectrum. The range is part of
    the number. Needs eigenvalues above rounding inside it: ValueError when one is 0, NaN or inf under a trace.
    reptrix fits the same line but changes the caller's range, so its second call differs; google-research's code
    takes the index itself instead of its logarithm, which fits an exponential. Source: Agrawal et al. 2022.

    >>> import jax.numpy as jnp
    >>> s = Spectrum(jnp.arange(1.0, 101) ** -0.75, jnp.array(1000.0), 100, True)  # eigenvalues are squares
    >>> print(f"{alpha_req(s):.3f}")
    1.500
    """
    low, high = _range(between)
    s = centred_spectrum_of(x, "alpha-ReQ")
    if high > len(s.values):
        raise ValueError(f"between: expected at most {len(s.values)}, the number of eigenvalues; got {between}")
    return checks.defined(_slope(s.values, low, high), f"{_ZERO_INSIDE} {between}")


def condition(x: Array | Spectrum) -> Array:
    """Condition number s_max / s_min of the singular values, from 1 up; infinite for a rank-deficient matrix.

    x is a matrix (n, p), n >= 2, taken as it is, or a `Spectrum`, taken as it was made: centring a matrix of n <= p
    makes it rank-deficient. Unchanged by rotation and scale. ValueError where the smallest value is below rounding,
    s_max max(n, p) eps, so that the number would be noise; infinity under a trace, NaN for zeros.
    The graph-embedding metrics of google-research return its inverse, those of TF-GNN this form.
    Source: as a score of embeddings, Tsitsulin et al. 2023.

    >>> import jax.numpy as jnp
    >>> print(f"{condition(jnp.diag(jnp.array([4.0, 2.0, 1.0]))):.1f}")
    4.0
    """
    s = spectrum_of(x, center=False)
    return checks.defined(_condition(s), "the smallest singular value is 0 up to rounding")


def dims_for_variance(x: Array | Spectrum, *, share: float) -> Array:
    """The least number of principal directions that hold `share` of the variance, an integer from 1 to the rank.

    x is a matrix (n, p), n >= 2, centred here, or a `Spectrum`, taken as it was made; 0 < share <= 1. For share = 1
    the answer is the last direction that adds anything above rounding of the sum. Unchanged by rotation, scale and
    (of a matrix) shift; a step function, so without gradient. Errors as `rankme`; -1 under a trace of zeros.
    Convention: of the variance, so of squared singular values, as principal component analysis has it.

    >>> import jax.numpy as jnp
    >>> s = Spectrum(jnp.array([3.0, 2.0, 1.0]), jnp.array(9.0), 3, True)
    >>> [int(dims_for_variance(s, share=share)) for share in (0.5, 0.9, 1.0)]
    [1, 2, 3]
    """
    share = checks.real(share, "share", low=0, high=1, open_low=True)
    s = spectrum_of(x, center=True)
    checks.defined(relative(s.values)[0], ALL_ZERO)
    return _dims(s.values, share)


def coding_rate(x: Array | Spectrum, *, eps: float = 0.5) -> Array:
    """Rate of lossy coding: 1/2 log det (I + p / (n eps^2) x^T x), in nats; from 0 up.

    x is a matrix (n, p), n >= 2, taken as it is, or a `Spectrum`, taken as it was made; eps > 0 is the distortion that
    is allowed, in units of the features. The volume of the cloud: it grows with every direction above eps, and with
    scale, so rows are usually brought to unit length before. Unchanged by rotation. 0 for a matrix of zeros.
    Source: Yu et al. 2020 (there rows are features), with natural logarithms.

    >>> import jax.numpy as jnp
    >>> print(f"{coding_rate(jnp.eye(4), eps=1.0):.4f}")
    1.3863
    """
    eps = checks.real(eps, "eps", low=0, open_low=True)
    return checks.defined(_coding_rate(spectrum_of(x, center=False), eps), "eps is too small for this dtype")


def _range(between) -> tuple[int, int]:
    if not isinstance(between, tuple | list) or len(between) != 2:
        raise TypeError(f"between: expected two integers (first, last + 1), counted from 0; got {between!r}")
    low = checks.count(between[0], "between[0]", low=0, high=2**31)
    return low, checks.count(between[1], "between[1]", low=low + 2, high=2**31, why="two points make a line")


@partial(jax.jit, static_argnames=("low", "high"))
def _slope(s, low, high):
    rank = jnp.arange(low + 1, high + 1, dtype=s.dtype)
    weight = 1 / rank
    weight = weight / weight.sum()
    t, y = jnp.log(rank), 2 * jnp.log(relative(s)[low:high])
    t = t - jnp.sum(weight * t)
    return -jnp.sum(weight * t * y) / jnp.sum(weight * t * t)


@jax.jit
def _condition(s):
    values = relative(s.values)
    rounding = jnp.maximum(s.n, s.p) * jnp.finfo(values.dtype).eps
    return jnp.where(values[-1] > rounding, 1 / values[-1], values[-1] * 0 + jnp.inf)


@jax.jit
def _dims(s, share):
    total = jnp.cumsum(relative(s) ** 2)
    needed = jnp.sum(total < share * total[-1]) + 1
    return jnp.where(s[0] > 0, needed, -1)


@jax.jit
def _coding_rate(s, eps):
    return jnp.sum(jnp.log1p(s.values**2 * (s.p / (s.n * eps**2)))) / 2
