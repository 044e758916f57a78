"""Similarity of two representations beyond what a third, most often the input, gives to both."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks, linalg
from repgeo.similarity.kernels import double_center, u_center
from repgeo.similarity.record import Record, Split, invariant, measure

_EXPLAINED = "the confound explains the similarity structure of an argument entirely, so nothing is left to compare"


@measure(
    Record("similarity", (-1, 1), True, invariant("shift", "scale", "rotation"), "cui2022", at_least=3),
    split=Split(lambda x, **options: _prepare(x, **options), lambda a, b: _compare(a, b)),
)
def cka_deconfounded(x: Array, y: Array, *, confound: Array, degree: int = 1, debiased: bool = False) -> Array:
    """Linear CKA of what is left of two similarity matrices when a third is regressed out of both, in [-1, 1].

    x (n, p), y (n, q), `confound` (n, d): the input, say, whose structure even random networks share. The centred
    Gram matrix of each side is regressed on that of the confound, entry by entry, and the residuals are aligned
    (Cui et al. 2022). At `degree` 1, as in the paper, that is the partial correlation (r_xy - r_xz r_yz) / sqrt((1 -
    r_xz^2) (1 - r_yz^2)) with CKA for r, near 0 for random linear maps of the confound. What random rectifiers share
    is no straight line of it: higher degrees regress on elementwise powers of its Gram matrix too, and 2 leaves
    nothing of that where the rows of the confound are equally long, about half where their lengths vary.
    `debiased=True` (n >= 4) uses U-centred matrices, so pairs i != j alone: noise of their own in x and y lifts the
    default, as it lifts `cka`.

    Residuals have negative eigenvalues. They are kept: cutting them off, as is sometimes done so that a residual is
    a kernel again, leaves two unrelated residuals well above 0. A shift, scaling or rotation of any argument changes
    nothing. Unrelated rows of x or y in a permutation test lose their tie to the confound as well, so such a p-value
    does not test what is left alone. O(n^2 (p + q + d degree)) time, O(n^2 degree) memory.
    Raises as `checks.paired`, and ValueError where the confound explains all of x or y; NaN there under a trace.

    >>> import jax
    >>> z, u, v = jax.random.normal(jax.random.key(0), (3, 60, 2))
    >>> x, y = jax.numpy.hstack([2 * z, u]), jax.numpy.hstack([2 * z, v])
    >>> far = cka_deconfounded(x, y, confound=z, debiased=True)
    >>> print(f"{cka_deconfounded(x, x, confound=z):.2f} {abs(far):.2f}")
    1.00 0.01
    """
    at_least = 4 if debiased else 3
    x, y = checks.paired(x, y, at_least=at_least)
    confound = checks.matrix(confound, "confound", at_least=at_least)
    if len(confound) != len(x):
        raise ValueError(f"confound: expected one row per sample, n = {len(x)}; got shape {confound.shape}")
    degree = checks.count(degree, "degree", low=1, high=5, why="powers of a Gram matrix")
    options = {"confound": confound, "degree": degree, "debiased": debiased}
    return checks.defined(_compare(_prepare(x, **options), _prepare(y, **options)), _EXPLAINED)


@partial(jax.jit, static_argnames=("degree", "debiased"))
def _prepare(x, confound, degree=1, debiased=False):
    """The residual Gram matrix, of unit norm: the measure is then one inner product."""
    centring = u_center if debiased else double_center
    shared = _gram(jnp.asarray(confound, x.dtype))
    basis = []
    for power in range(1, degree + 1):
        direction, norm = _without(centring(shared**power), basis)
        basis.append(jnp.where(norm > 0, direction, 0))  # a power that adds nothing to the lower ones
    left, norm = _without(centring(_gram(x)), basis)
    return jnp.where(norm > 0, left, jnp.nan)


def _gram(x):
    x = linalg.center(x)
    x = x / linalg.scale_of(x)
    k = linalg.matmul(x, x.T)
    return k / linalg.scale_of(k)


def _without(k, basis):
    """(`k` less its projection on orthonormal `basis`, at unit norm; that norm, 0 where only rounding is left)."""
    whole = linalg.frobenius(k)
    k = k / jnp.where(whole > 0, whole, 1)
    for _ in range(2):  # once leaves the rounding of the first projection
        for b in basis:
            k = k - jnp.sum(k * b) * b
    norm = linalg.frobenius(k)
    norm = jnp.where(norm > len(k) * jnp.finfo(k.dtype).eps, norm, 0)
    return k / jnp.where(norm > 0, norm, 1), norm * (whole > 0)


@jax.jit
def _compare(a, b):
    return jnp.sum(a * b)
