"""How many directions are in use? Effective ranks: exponentials of entropies and ratios of sums of one spectrum."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks, linalg
from repgeo.spectrum.decompose import (
    ALL_ZERO,
    Spectrum,
    centred_spectrum_of,
    relative,
    singular_values,
    spectrum_of,
    unit_rows,
)


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
    s = spectrum_of(x, center=False)
    if s.centered:
        raise ValueError("x: RankMe is of an uncentred spectrum; got a centred one, so use effective_rank")
    return checks.defined(_rankme(s.values, eps), ALL_ZERO)


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
    s = spectrum_of(x, center=False)
    return checks.defined(_effective_rank(s.values, on), ALL_ZERO)


def participation_ratio(x: Array | Spectrum) -> Array:
    """Participation ratio (sum l)^2 / sum l^2 of the eigenvalues l of the covariance, in [1, rank].

    x is a matrix (n, p), n >= 2, centred here, or a `Spectrum`, taken as it was made. Counts the directions of a flat
    spectrum, and is ruled by the leading ones otherwise. Biased downwards in a small sample: it cannot reach n.
    Unchanged by rotation, scale and (of a matrix) shift. Of a matrix it is found from the trace and the norm of the
    Gram matrix, without a decomposition: squaring costs nothing where only the sum of squares is wanted. Errors and
    traces as `rankme`. Source: Gao et al. 2017.

    >>> import jax.numpy as jnp
    >>> print(f"{participation_ratio(jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])):.3f}")
    2.000
    """
    if isinstance(x, Spectrum):
        ratio = _participation_ratio(spectrum_of(x, center=True).values)
    else:
        ratio = _participation_ratio_of_rows(checks.matrix(x, "x"))
    return checks.defined(ratio, ALL_ZERO)


def participation_ratio_corrected(x: Array) -> Array:
    """Participation ratio of the population: unbiased estimates of (tr C)^2 over tr C^2 of its covariance C.

    x (n, p), n >= 4 different rows (ValueError below), centred here. Each estimate is a U-statistic over four distinct
    rows, so unbiased whatever the distribution; their ratio is not quite. Unlike `participation_ratio` it may pass n,
    and it is negative or wild where n is so small that the estimate of tr C^2 comes near 0: below about the root of
    the value it estimates. O(n p min(n, p)); no spectrum is needed, but the rows are. Rows must be distinct draws:
    never bootstrap it with replacement. Source: both estimates in Chen, Zhang and Zhong 2010, sec. 2; the second is
    the unbiased HSIC of Song et al. 2012, eq. 5, of x with itself.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (50, 200))
    >>> print(f"{participation_ratio(x):.0f} {participation_ratio_corrected(x):.0f}")
    39 199
    """
    x = checks.matrix(x, "x", at_least=4)
    return checks.defined(_corrected(x), "the unbiased estimate of the squared norm of the covariance is 0")


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
    s = spectrum_of(x, center=False)
    return checks.defined(_stable_rank(s.values), ALL_ZERO)


def nesum(x: Array | Spectrum) -> Array:
    """NESum: sum of the eigenvalues of the covariance over the largest, in [1, rank]: `stable_rank` after centring.

    x is a matrix (n, p), n >= 2, centred here, or `spectrum(x, center=True)`; ValueError for an uncentred one. It
    measures how far a representation is from whitened, and the leading direction alone rules it: the Renyi rank of
    infinite order. Unchanged by rotation, scale and shift. Errors and traces as `rankme`. Source: He and Ozay 2022.

    >>> import jax.numpy as jnp
    >>> print(f"{nesum(jnp.array([[2.0, 5.0], [-2.0, 5.0], [0.0, 6.0], [0.0, 4.0]])):.3f}")
    1.250
    """
    s = centred_spectrum_of(x, "NESum")
    return checks.defined(_stable_rank(s.values), ALL_ZERO)


def renyi_rank(x: Array | Spectrum, *, order: float) -> Array:
    """Renyi rank: (sum p^q)^(1 / (1 - q)) of the shares p of variance and q = `order`, in [1, rank].

    x is a matrix (n, p), n >= 2, centred here, or a `Spectrum`, taken as it was made. `order` > 0 is a plain number:
    1 gives `effective_rank(on="variance")`, 2 the participation ratio, inf the total over the largest; it falls as
    the order grows, and small orders count directions that hold rounding alone. Errors and traces as `rankme`.
    Source: the Renyi entropies, whose exponentials ecology calls Hill numbers.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> [f"{renyi_rank(x, order=q):.3f}" for q in (0.5, 1, 2, float("inf"))]
    ['1.800', '1.649', '1.471', '1.250']
    """
    order = _order(order)
    s = spectrum_of(x, center=True)
    return checks.defined(_renyi(s.values, order), ALL_ZERO)


def vendi_score(x: Array, *, order: float = 1.0) -> Array:
    """Vendi score with cosine similarity: the Renyi rank of the rows once each has unit length, not centred.

    x (n, p), n >= 2; in [1, min(n, p)], the effective number of different rows. `order` as `renyi_rank`: 1 is the
    score of its source; others are those of Pasarkar and Dieng 2023. It is the spectrum of the n x n matrix of
    cosines over n, which is found here at O(n p min(n, p)). Unchanged by rotation and by the length of any row.
    ValueError for a row of zeros, whose direction is undefined; NaN under a trace.
    Source: Friedman and Dieng 2023, def. 3.1.

    >>> import jax.numpy as jnp
    >>> print(f"{vendi_score(jnp.array([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0]])):.3f}")
    1.890
    """
    order = _order(order)
    x = unit_rows(checks.matrix(x, "x", may_be_constant=True), "x")
    return checks.defined(_renyi(singular_values(x, False), order), ALL_ZERO)


def _order(order) -> float:
    if not (isinstance(order, float) and order == float("inf")):
        order = checks.real(order, "order", low=0, open_low=True)
    return float(order)


def exp_entropy(p: Array) -> Array:
    """Exp of -sum p ln p, where 0 ln 0 is 0 and so is its gradient."""
    zero = p <= 0
    return jnp.exp(-jnp.sum(jnp.where(zero, 0, p * jnp.log(jnp.where(zero, 1, p)))))


@jax.jit
def _rankme(s, eps):
    s = relative(s)
    return exp_entropy(s / jnp.sum(s) + eps)


@partial(jax.jit, static_argnames="on")
def _effective_rank(s, on):
    s = relative(s)
    weights = s if on == "singular" else s**2
    return exp_entropy(weights / jnp.sum(weights))


@jax.jit
def _participation_ratio(s):
    share = relative(s) ** 2
    return jnp.sum(share) ** 2 / jnp.sum(share**2)


@jax.jit
def _participation_ratio_of_rows(x):
    x = linalg.center(x)
    x = x / linalg.scale_of(x)
    gram = _gram(x)
    square = jnp.sum(gram**2)
    return jnp.trace(gram) ** 2 / jnp.where(square > 0, square, jnp.nan)


def _gram(x: Array) -> Array:
    """The smaller of x^T x and x x^T, whose trace and norm are the same."""
    return linalg.matmul(x, x.T) if x.shape[0] < x.shape[1] else linalg.matmul(x.T, x)


@jax.jit
def _stable_rank(s):
    return jnp.sum(relative(s) ** 2)


@partial(jax.jit, static_argnames="order")
def _renyi(s, order):
    share = relative(s) ** 2
    share = share / jnp.sum(share)
    if order == 1:
        return exp_entropy(share)
    if order == float("inf"):
        return 1 / share[0]
    zero = share <= 0  # whose power has no gradient for an order below 1
    powers = jnp.where(zero, 0, jnp.where(zero, 1, share) ** order)
    return jnp.exp(jnp.log(jnp.sum(powers)) / (1 - order))


@jax.jit
def _corrected(x):
    n = float(len(x))  # whose fourth power passes any integer of JAX
    x = linalg.center(x)
    x = x / linalg.scale_of(x)
    norms = jnp.sum(x * x, 1)
    total = jnp.sum(norms)
    own = jnp.sum(norms**2)
    square = jnp.sum(_gram(x) ** 2)
    # Sums over distinct rows i, j, k, l of d_ij d_kl / 4, by inclusion and exclusion, and of Song's statistic.
    sums = (2 * n * total) ** 2 - 4 * (n**2 * own + 3 * n * total**2) + 2 * (2 * n * own + 2 * total**2 + 4 * square)
    trace_squared = sums / 4 / (n * (n - 1) * (n - 2) * (n - 3))
    of_squares = (square - n / (n - 2) * own + total**2 / ((n - 1) * (n - 2))) / (n * (n - 3))
    return trace_squared / of_squares
