"""Erasure by the concept itself: where y may be read at use, the least edit is what a regression on y leaves."""

from dataclasses import dataclass

import jax
from jax import Array

from repgeo import checks, linalg
from repgeo.erasure.concept import moments_of
from repgeo.erasure.linear import in_double, whitener
from repgeo.moments import Moments, spread


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OracleEraser:
    """The map (x, z) -> x - coefficients (z - mean): it needs the concept at use. coefficients (p, q), mean (q,)."""

    coefficients: Array
    mean: Array

    def transform(self, x: Array, z: Array) -> Array:
        """The rows of x (n, p) without what z (n, q), the concept as `as_concept` gives it, predicts linearly."""
        x, z = checks.paired(x, z, at_least=1, may_be_constant=True, names=("x", "z"))
        if (x.shape[1], z.shape[1]) != self.coefficients.shape:
            raise ValueError(f"x and z: expected widths {self.coefficients.shape}; got {x.shape[1]} and {z.shape[1]}")
        return x - linalg.matmul(z - self.mean[None], self.coefficients.T)


def oracle_leace(x: Array, y: Array, *, labels: str) -> OracleEraser:
    """The least edit of all after which x is uncorrelated with y, when y may be read: residuals of a regression on y.

    y and `labels` as in `as_concept`, and so is what `transform` is handed. For classes: each loses its mean's
    distance from the mean of all. It moves x less than `leace`, but acts on labels, not on x: what it leaves says
    nothing of x without them. Errors as `leace`. Source: Belrose et al. 2023.

    >>> import jax.numpy as jnp
    >>> from repgeo.erasure import as_concept
    >>> x, y = jnp.array([[0.0], [2.0], [6.0], [8.0]]), [0, 0, 1, 1]
    >>> oracle_leace(x, y, labels="categorical").transform(x, as_concept(y, labels="categorical")).ravel().tolist()
    [3.0, 5.0, 3.0, 5.0]
    """
    return oracle_leace_from(moments_of(x, y, labels))


def oracle_leace_from(m: Moments) -> OracleEraser:
    """`oracle_leace` from accumulated moments of x and of the concept as `as_concept` gives it.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> x, z = jnp.array([[0.0], [2.0]]), jnp.array([[1.0], [5.0]])
    >>> oracle_leace_from(moments(x, z)).transform(x, z).tolist()
    [[1.0], [1.0]]
    """
    m = spread(m)
    (coefficients,) = in_double(_oracle, m)
    return OracleEraser(coefficients, m.mean_y)


def _oracle(m, *, eps):
    white = whitener(m.yy, eps)
    return (linalg.matmul(linalg.matmul(m.xy, white), white.T),)
