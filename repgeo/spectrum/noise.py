"""Which directions are more than noise? Eigenvalues of the covariance against the edge that pure noise would have."""

import math

import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks, linalg
from repgeo.spectrum.decompose import Spectrum, centred_spectrum_of

_GRID = 4_000  # steps of the quadrature of the Marchenko-Pastur law: its median is then good to 1e-7
_TOO_FEW = "noise cannot be told apart: the middle eigenvalue is 0, as where fewer than half of the directions vary"


def marchenko_pastur_edge(n: int, p: int, *, variance: float = 1.0) -> float:
    """The largest eigenvalue of the covariance of pure noise, n rows of p features: variance (1 + sqrt(p / n))^2.

    The limit for large n and p; a finite sample passes it about one time in six, by order n^(-2/3). In units of
    `variance`, that of each feature, which must be the same for all. `spikes` estimates it.
    Source: Marchenko and Pastur 1967.

    >>> marchenko_pastur_edge(400, 100, variance=2.0)
    4.5
    """
    n = checks.count(n, "n", low=1, high=2**63)
    p = checks.count(p, "p", low=1, high=2**63)
    return checks.real(variance, "variance", low=0) * (1 + math.sqrt(p / n)) ** 2


def noise_variance(x: Array | Spectrum) -> Array:
    """Variance per feature of the noise under a few strong directions: the middle eigenvalue over that of pure noise.

    x is a matrix (n, p), n >= 3, centred here, or `spectrum(x, center=True)`; ValueError for an uncentred one. In
    squared units of x, unchanged by rotation and shift. The median eigenvalue of the covariance, divided by the median
    of the Marchenko-Pastur law of that shape; of the directions that vary where p >= n. Right as long as spikes are
    few against min(n, p) and the noise is equal in all features: a spectrum that decays has no such level. ValueError
    where the middle eigenvalue is 0; 0 under a trace. Source: Gavish and Donoho 2014.

    >>> import jax
    >>> x = 3 * jax.random.normal(jax.random.key(0), (500, 100))
    >>> print(f"{noise_variance(x):.1f}")
    9.1
    """
    s = centred_spectrum_of(x, "the noise level")
    value = _noise_variance(s)
    if checks.is_concrete(value) and not value > 0:
        raise ValueError(f"undefined for these inputs: {_TOO_FEW}")
    return checks.defined(value, f"the variance is larger than {s.values.dtype} holds; divide x by a number first")


def spikes(x: Array | Spectrum, *, variance: float | None = None, margin: float = 0.0) -> Array:
    """Number of directions whose variance passes the edge of noise, an integer from 0 to the rank.

    x is a matrix (n, p), n >= 3, centred here, or `spectrum(x, center=True)`; ValueError for an uncentred one.
    `variance` of the noise per feature is `noise_variance(x)` unless given. `margin` lifts the edge by that many of
    Johnstone's (2001) units, in which the largest eigenvalue of noise fluctuates: 0 is the bare edge, which pure noise
    passes about one time in six, 0.98 one in 20 and 2.02 one in 100. A direction of variance below
    variance (1 + sqrt(p / n)) cannot be seen, whatever the method. Unchanged by rotation, scale and shift.
    Errors as `noise_variance`. Source: the edge of Marchenko and Pastur 1967, as in EigenShield, Darabi et al. 2025.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (500, 50)).at[:, :3].multiply(4)
    >>> int(spikes(x))
    3
    """
    return jnp.sum(_above_edge(centred_spectrum_of(x, "the number of spikes"), variance, margin))


def spike_projector(x: Array, *, variance: float | None = None, margin: float = 0.0) -> Array:
    """The orthogonal projector (p, p) onto the directions that `spikes` counts: (x - mean) @ it is x without noise.

    x (n, p), n >= 3; `variance` and `margin` as in `spikes`. Symmetric, its trace the number of spikes: a matrix of
    zeros where there is none. Without gradient where eigenvalues repeat. Errors as `spikes`. Source: the projection
    step of EigenShield (Darabi et al. 2025), without its second selection by labels.

    >>> import jax, jax.numpy as jnp
    >>> x = jax.random.normal(jax.random.key(0), (500, 50)).at[:, :3].multiply(4)
    >>> print(f"{jnp.trace(spike_projector(x)):.2f}")
    3.00
    """
    x = checks.matrix(x, "x", at_least=3)
    values, vectors = _right_vectors(x)
    kept = _above_edge(Spectrum(values, jnp.asarray(len(x), x.dtype), x.shape[1], True), variance, margin)
    return linalg.matmul((vectors * kept[:, None]).T, vectors)


def _above_edge(s: Spectrum, variance, margin) -> Array:
    """Which squared singular values, n - 1 times the eigenvalues of the covariance, pass the edge of noise.

    In units of the largest, whose square could overflow or underflow.
    """
    scale = linalg.scale_of(s.values)
    s = Spectrum(s.values / scale, s.n, s.p, True)
    if variance is None:
        variance = noise_variance(s)
    else:
        variance = (jnp.sqrt(checks.real(variance, "variance", low=0)) / scale) ** 2
    margin = checks.real(margin, "margin", low=-100)
    n, p = jnp.sqrt(s.n - 1), jnp.sqrt(jnp.asarray(s.p, s.values.dtype))
    fluctuation = (n + p) * (1 / n + 1 / p) ** (1 / 3)
    return s.values**2 > variance * ((n + p) ** 2 + margin * fluctuation)


@jax.jit
def _right_vectors(x):
    _, values, vectors = jnp.linalg.svd(linalg.center(x), full_matrices=False)
    return values, vectors


@jax.jit
def _noise_variance(s):
    n = s.n - 1  # degrees of freedom
    small, large = jnp.minimum(n, s.p), jnp.maximum(n, s.p)
    place = (small - 1) / 2  # of the median among the values that are not 0 by count alone
    below, above = jnp.floor(place).astype(int), jnp.ceil(place).astype(int)
    middle = (s.values[below] ** 2 + s.values[above] ** 2) / 2
    rounding = s.values[0] * jnp.maximum(s.n, s.p) * jnp.finfo(s.values.dtype).eps
    middle = jnp.where(s.values[above] > rounding, middle, 0)
    return middle / (large * _median(small / large))


def _median(ratio: Array) -> Array:
    """Median of the Marchenko-Pastur law of variance 1 for 0 < ratio <= 1."""
    angle = jnp.linspace(0, jnp.pi, _GRID + 1, dtype=ratio.dtype)
    middles = (angle[1:] + angle[:-1]) / 2

    def eigenvalue(t):
        return 1 + ratio - 2 * jnp.sqrt(ratio) * jnp.cos(t)

    mass = jnp.cumsum(jnp.sin(middles) ** 2 / eigenvalue(middles))  # the density, as one of the angle
    mass = jnp.concatenate([jnp.zeros(1, mass.dtype), mass / mass[-1]])
    return eigenvalue(jnp.interp(0.5, mass, angle))
