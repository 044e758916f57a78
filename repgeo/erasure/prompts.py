"""Erasers for tokens and attributes: a filter that moves only the tokens near a concept, and an orthogonal code."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Filtered:
    """A prompt after `concept_filter`: tokens (n, p), which of them were moved (n,), and how far each stands (n,).

    `distances` is from the concept's complement to the prompt without that token, over the mean of the others: a token
    is moved where it exceeds 1 + alpha.
    """

    tokens: Array
    moved: Array
    distances: Array


def concept_filter(tokens: Array, concept: Array, *, alpha: float = 0.01) -> Filtered:
    """SAFREE's filter: tokens without which the prompt stands farther from a concept lose it, others stay as they are.

    tokens (n, p) are one prompt's embeddings, n >= 2, concept (m, p) those of what is unwanted, m < p. With P_C the
    projection onto the concept's rows, token i is left out, and the mean of the others measured by its length outside
    the concept, |(I - P_C) mean|: where that exceeds (1 + `alpha`) times the mean over the other tokens' turns, token
    i is what brought the prompt near. It becomes (I - P_C) P_T x_i, with P_T onto the span of the prompt, so that what
    replaces it stays a thing the prompt could say. Nothing is learnt. The trigger compares the tokens of one prompt:
    where all are related, none stands out. O(n p (n + m)). Errors as `checks.matrix`; ValueError for different widths,
    a concept of 0, m >= p or alpha < 0. Source: Yoon et al. 2024, sections 3.1 and 3.2; their filter of later
    denoising steps is no part of it.

    >>> import jax.numpy as jnp
    >>> tokens = jnp.array([[0.0, 3.0, 0.0], [0.0, 3.0, 1.0], [4.0, 0.5, 0.0]])
    >>> found = concept_filter(tokens, jnp.array([[1.0, 0.0, 0.0]]))
    >>> found.moved.tolist(), [f"{value:.1f}" for value in abs(found.tokens[2])]
    ([False, False, True], ['0.0', '0.5', '0.0'])
    """
    tokens = checks.matrix(tokens, "tokens")
    concept = checks.matrix(concept, "concept", at_least=1, may_be_constant=True)
    p = tokens.shape[1]
    if concept.shape[1] != p or len(concept) >= p:
        raise ValueError(f"concept: expected fewer than {p} rows of {p} features; got shape {concept.shape}")
    if checks.is_concrete(concept) and not np.any(np.asarray(concept)):
        raise ValueError("concept: expected at least one row that is not 0; got zeros only")
    alpha = checks.real(alpha, "alpha", low=0)
    return Filtered(*_filtered(tokens, concept.astype(tokens.dtype), alpha))


@jax.jit
def _filtered(tokens, concept, alpha):
    n = len(tokens)
    inside, _ = linalg.basis(concept.T)
    span, _ = linalg.basis(tokens.T)

    def outside(rows):
        return rows - linalg.matmul(linalg.matmul(rows, inside), inside.T)

    unit = tokens / linalg.scale_of(tokens)  # squares could overflow or underflow
    without = (unit.sum(0, keepdims=True) - unit) / (n - 1)
    lengths = jnp.linalg.norm(outside(without), axis=1)
    others = (lengths.sum() - lengths) / (n - 1)
    distances = lengths / jnp.where(others > 0, others, jnp.nan)
    moved = distances > 1 + alpha
    cleaned = outside(linalg.matmul(linalg.matmul(tokens, span), span.T))
    return jnp.where(moved[:, None], cleaned, tokens), moved, distances


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AttributeCode:
    """Orthonormal directions (q, p), one an attribute, and the centres (p,), (q,): attributes are read off and set."""

    directions: Array
    center_x: Array
    center_y: Array
    scale: Array

    def read(self, x: Array) -> Array:
        """The attributes (n, q) of the rows of x (n, p)."""
        x = checks.matrix(x, "x", at_least=1, may_be_constant=True)
        return linalg.matmul(x - self.center_x[None], self.directions.T) / self.scale + self.center_y[None]

    def write(self, x: Array, y: Array) -> Array:
        """The rows of x (n, p) moved within the span of the directions so that `read` gives y (n, q)."""
        x, y = checks.paired(x, y, at_least=1, may_be_constant=True)
        return x + self.scale * linalg.matmul(y - self.read(x), self.directions)


def matrix_subspace_projection(x: Array, y: Array) -> AttributeCode:
    """Orthonormal directions from which the attributes rebuild x best: what lies along them is read, set and removed.

    x (n, p), y (n, q) real attributes, q <= p. M, with M M^T = I, and a scale s minimise |x - mean - s (y - mean) M|,
    the half of the source's loss that rebuilds the code from attributes. That is a Procrustes problem: M is the
    orthogonal factor u v^T of the covariance, at once, where the source descends a gradient while an autoencoder makes
    x fit. On features as they are, attributes that go together or lie along small variance are read badly: compare
    `read` with y. `project_out(code.directions)` removes them. O(n p q). Errors as `checks.paired`; ValueError for
    q > p, and when the covariance has a rank below q. Source: Li et al. 2020.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [0.0, -1.0], [1.0, 3.0], [1.0, -3.0]])
    >>> code = matrix_subspace_projection(x, x[:, :1])
    >>> code.write(x, 1 - x[:, :1]).round(3)[:, 0].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    x, y = checks.paired(x, y)
    if y.shape[1] > x.shape[1]:
        raise ValueError(f"y: expected at most {x.shape[1]} attributes, as many as features; got {y.shape[1]}")
    code, full = _procrustes(x, y)
    if checks.is_concrete(full) and not full:
        raise ValueError(f"y: expected {y.shape[1]} attributes that x covaries with; got a covariance of lower rank")
    return code


@jax.jit
def _procrustes(x, y):
    a, b = linalg.center(x), linalg.center(y)
    u, s, vt = jnp.linalg.svd(linalg.matmul(b.T, a), full_matrices=False)
    directions = linalg.matmul(u, vt)
    total = jnp.sum(b**2)
    scale = jnp.sum(s) / jnp.where(total > 0, total, jnp.nan)
    full = linalg.rank_mask(s, (len(x), x.shape[1])).all() & (scale > 0)
    return AttributeCode(directions, x.mean(0), y.mean(0), scale), full
