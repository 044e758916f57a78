"""What an eraser is: an affine map that takes a few directions out, and the erasers that need no labels."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg

_ROWS = 500  # of a block

@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Eraser:
    """The map x -> x - left right (x - bias) + shift: low-rank, a pytree, so it vmaps, and works under jit.

    left (p, k), right (k, p), bias (p,), shift (p,), which is 0 unless erasers with different biases were composed.
    What is removed is the span of `left`; a projector, P^2 = P, where right left = I. Fitted under a trace,
    whose shapes are fixed, a direction that turned out to be nothing is a column of zeros: `rank` leaves those out.
    """

    left: Array
    right: Array
    bias: Array
    shift: Array

    def transform(self, x: Array) -> Array:
        """The rows of x (n, p), erased; one row (p,) is allowed too. O(n p k). ValueError for another width.

        >>> import jax.numpy as jnp
        >>> project_out(jnp.array([[0.0, 2.0]])).transform(jnp.array([[3.0, 4.0]])).tolist()
        [[3.0, 0.0]]
        """
        x = checks.floats(x, "x")
        p = self.bias.shape[-1]
        if self.bias.ndim != 1:
            raise ValueError(f"eraser: expected one; got a batch, with bias of shape {self.bias.shape}: use vmap")
        if x.ndim not in (1, 2) or x.shape[-1] != p:
            raise ValueError(f"x: expected rows of {p} features, as the eraser was fitted on; got shape {x.shape}")
        if x.ndim == 1:
            return self.transform(x[None])[0]
        return _transform(self, checks.matrix(x, "x", at_least=1, may_be_constant=True))

    @property
    def projector(self) -> Array:
        """The linear part I - left right as a matrix (p, p), which acts on columns: x - bias as a column goes to it."""
        return jnp.eye(len(self.left), dtype=self.left.dtype) - linalg.matmul(self.left, self.right)

    @property
    def rank(self) -> Array:
        """How many directions are removed, (): the columns of `left` that are not 0."""
        return _columns(self.left)

    def compose(self, then: "Eraser") -> "Eraser":
        """This eraser followed by `then`, as one: of k columns each it keeps 2 k. Not a projector in general.

        >>> import jax.numpy as jnp
        >>> first, second = project_out(jnp.array([[1.0, 0.0]])), project_out(jnp.array([[1.0, 1.0]]))
        >>> both = first.compose(second)
        >>> x = jnp.array([[3.0, 4.0]])
        >>> bool(jnp.allclose(both.transform(x), second.transform(first.transform(x))))
        True
        """
        if not isinstance(then, Eraser):
            raise TypeError(f"then: expected an Eraser; got {type(then).__name__}")
        if self.bias.shape != then.bias.shape:
            raise ValueError(f"then: expected an eraser of {self.bias.shape[0]} features; got {then.bias.shape[0]}")
        after = then.right - linalg.matmul(linalg.matmul(then.right, self.left), self.right)
        lag = self.bias + self.shift - then.bias
        moved = linalg.matmul(then.left, linalg.matmul(then.right, lag))
        return Eraser(
            jnp.concatenate([self.left, then.left], 1),
            jnp.concatenate([self.right, after], 0),
            self.bias,
            self.shift + then.shift - moved,
        )


@jax.jit
def _transform(e, x):
    dtype = jnp.result_type(x, e.left)
    x, left, right, bias, shift = (a.astype(dtype) for a in (x, e.left, e.right, e.bias, e.shift))

    def erased(rows):
        return rows + shift[None] - linalg.matmul(linalg.matmul(rows - bias[None], right.T), left.T)

    def by_blocks(x):  # on a CPU a block of centred rows stays in cache, where the whole would be written and read
        return lax.map(lambda row: erased(row[None])[0], x, batch_size=_ROWS)

    return erased(x) if len(x) <= 2 * _ROWS else lax.platform_dependent(x, cpu=by_blocks, default=erased)


@jax.jit
def _columns(left):
    return jnp.sum((left != 0).any(0))


def about(bias: Array, left: Array, right: Array) -> Eraser:
    """The eraser that leaves the point `bias` (p,) where it is."""
    return Eraser(left, right, bias, jnp.zeros_like(bias))


def project_out(directions: Array, *, bias: Array | None = None) -> Eraser:
    """The orthogonal projection that removes the span of `directions` (k, p), one a row; they need not be orthogonal.

    `bias` (p,), where the eraser changes nothing, is the origin unless given: take the mean of the data to keep it.
    Its rank is that of the directions: a singular value below s[0] max(k, p) eps is none, and its column is 0.
    O(k^2 p) for k <= p. Raises as `checks.matrix`; ValueError when all directions are 0 or `bias` has not p entries.

    >>> import jax.numpy as jnp
    >>> e = project_out(jnp.array([[1.0, 1.0], [2.0, 2.0]]))
    >>> int(e.rank), e.transform(jnp.array([[3.0, 1.0]])).round(4).tolist()
    (1, [[1.0, -1.0]])
    """
    directions = checks.matrix(directions, "directions", at_least=1, may_be_constant=True)
    if checks.is_concrete(directions) and not np.any(np.asarray(directions)):
        raise ValueError("directions: expected at least one that is not 0; got zeros only")
    p = directions.shape[1]
    bias = jnp.zeros(p, directions.dtype) if bias is None else checks.floats(bias, "bias").astype(directions.dtype)
    if bias.shape != (p,):
        raise ValueError(f"bias: expected shape ({p},), one entry a feature; got {bias.shape}")
    left = _row_space(directions)
    return about(bias, left, left.T)


def hard_debias(a: Array, b: Array, *, rank: int = 1) -> Eraser:
    """The projection without the leading directions in which the two words of a pair differ, as in hard debiasing.

    a (m, p), b (m, p): row i of each is one pair, such as the vectors of "she" and "he". Each pair is centred, and the
    `rank` <= min(2 m, p) leading principal directions of all of them are removed; the origin stays. Row lengths matter:
    the source takes unit vectors. It removes what the pairs show, not what predicts a label. Raises as
    `checks.paired`; ValueError when the pairs span fewer than `rank` directions. Source: Bolukbasi et al. 2016,
    section 6, step 1 with "neutralize"; "equalize" is `equalize`.

    >>> import jax.numpy as jnp
    >>> a, b = jnp.array([[1.0, 5.0], [2.0, 0.0]]), jnp.array([[-1.0, 5.0], [0.0, 0.0]])
    >>> hard_debias(a, b).transform(jnp.array([[3.0, 4.0]])).tolist()
    [[0.0, 4.0]]
    """
    a, b = checks.paired(a, b, at_least=1, may_be_constant=True, names=("a", "b"))
    if a.shape != b.shape:
        raise ValueError(f"a and b: expected one width; got shapes {a.shape} and {b.shape}")
    rank = checks.count(rank, "rank", low=1, high=min(a.shape), why="pairs and features")
    left = _leading_rows((a - b) / 2, rank)  # a pair centred is a half difference and its negative: one direction
    return about(jnp.zeros(a.shape[1], a.dtype), _all_there(left, rank, "pairs"), left.T)


def equalize(a: Array, b: Array, eraser: Eraser) -> tuple[Array, Array]:
    """The pairs a (m, p), b (m, p) moved to differ only in the removed direction, and to the same length: two (m, p).

    After it every word without that direction is equally near both words of a pair. For a rank-1 `eraser` and unit
    rows, as in the source; each pair keeps its side. Raises as `checks.paired`; ValueError for an eraser that removes
    more than one direction. Source: Bolukbasi et al. 2016, "equalize".

    >>> import jax.numpy as jnp
    >>> a, b = jnp.array([[0.6, 0.8]]), jnp.array([[-1.0, 0.0]])
    >>> a, b = equalize(a, b, project_out(jnp.array([[1.0, 0.0]])))
    >>> [f"{value:.3f}" for value in (*a[0], *b[0])]
    ['0.917', '0.400', '-0.917', '0.400']
    """
    a, b = checks.paired(a, b, at_least=1, may_be_constant=True, names=("a", "b"))
    if not isinstance(eraser, Eraser):
        raise TypeError(f"eraser: expected an Eraser; got {type(eraser).__name__}")
    if eraser.left.shape[1] != 1:
        raise ValueError(f"eraser: expected one that removes 1 direction; got {eraser.left.shape[1]} columns")
    middle = eraser.transform((a + b) / 2)
    reach = linalg.safe_sqrt(1 - jnp.sum(middle**2, 1, keepdims=True))
    side = jnp.sign(linalg.matmul(a - b, eraser.right.T))
    step = side * reach * eraser.left.T / jnp.linalg.norm(eraser.left)
    return middle + step, middle - step


def difference_subspace(preferred: Array, other: Array, *, rank: int) -> Array:
    """The leading directions (rank, p) in which `other` differs from `preferred`, rows of length 1, the mean left out.

    preferred (m, p), other (m, p): row i of both is one prompt in two versions. The differences lose their component
    along the dominant direction of `preferred` (which is mostly the mean of all embeddings and carries no preference)
    before they are decomposed; hand the result to `project_out`. Signs follow the largest entry. O(m p min(m, p)).
    Raises as `checks.paired`; ValueError unless 1 <= rank <= min(m, p - 1), or when fewer directions exist.
    Source: Uppaal et al. 2025, ProFS, also known as DeTox, whose subspaces have rank 2 to 10.

    >>> import jax.numpy as jnp
    >>> preferred = jnp.array([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
    >>> other = jnp.array([[11.0, 1.0, 0.0], [12.0, 2.0, 0.0]])
    >>> abs(difference_subspace(preferred, other, rank=1)).round(3).tolist()
    [[0.0, 1.0, 0.0]]
    """
    preferred, other = checks.paired(
        preferred, other, at_least=1, may_be_constant=True, names=("preferred", "other")
    )
    if preferred.shape != other.shape:
        raise ValueError(f"preferred and other: expected one width; got shapes {preferred.shape} and {other.shape}")
    most = min(len(other), other.shape[1] - 1)
    rank = checks.count(rank, "rank", low=1, high=most, why="pairs, and features without the mean")
    top = _leading_rows(preferred, 1)
    differences = (preferred - other) / 2
    differences = differences - linalg.matmul(linalg.matmul(differences, top), top.T)
    left = _leading_rows(differences, rank, floor=linalg.frobenius(preferred - other))
    rows = _all_there(left, rank, "differences without the mean").T
    largest = jnp.take_along_axis(rows, jnp.abs(rows).argmax(1, keepdims=True), 1)
    return rows * jnp.sign(largest)


@jax.jit
def _row_space(a):
    left, _ = linalg.basis(a.T)
    return left


def _leading_rows(a: Array, rank: int, floor: Array | float = 0.0) -> Array:
    """The first right singular vectors of a as columns (p, rank), 0 where the singular value is only rounding."""
    _, s, vt = jnp.linalg.svd(a, full_matrices=False)
    real = linalg.rank_mask(s, a.shape) & (s > floor * max(a.shape) * jnp.finfo(a.dtype).eps)
    return (vt * real[:, None])[:rank].T


def _all_there(left: Array, rank: int, of: str) -> Array:
    if checks.is_concrete(left):
        found = int((np.asarray(left) != 0).any(0).sum())
        if found < rank:
            raise ValueError(f"rank: expected at most {found}, as many directions as the {of} span; got {rank}")
    return left
