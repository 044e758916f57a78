"""Which row is which, from distances within each space: Gromov-Wasserstein, and local CKA from a few known pairs."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.neighbors import nonzero_rows


def gromov_wasserstein_match(x: Array, y: Array, *, epsilon: float = 3e-4, most: int = 100) -> tuple[Array, Array]:
    """The row (n,) of y (m, q) that each row of x (n, p) sends most mass to, and the coupling (n, m), summing to 1.

    Entropic Gromov-Wasserstein between the cosine distances within each side, each over its mean, with uniform mass;
    `epsilon` > 0 is the entropy's weight in those units, `most` the outer steps; at 5e-3 a rotated copy of 200 sentence
    embeddings is blurred beyond recognition (notebook 06). It starts from the independent coupling and is
    deterministic. An honest baseline and a weak one: distances of real encoders agree in the large and not from row to
    row. O(n m (n + m)) a step. Needs ott-jax.
    Raises as `checks.matrix`; ValueError for rows of 0. Source: Peyré et al. 2016; Mémoli 2011 for the distance.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (8, 3)) ** 3
    >>> match, coupling = gromov_wasserstein_match(x, x[::-1], epsilon=1e-2)
    >>> match.shape, f"{coupling.sum():.2f}"
    ((8,), '1.00')
    """
    from ott.geometry.geometry import Geometry
    from ott.problems.quadratic.quadratic_problem import QuadraticProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn
    from ott.solvers.quadratic.gromov_wasserstein import GromovWasserstein

    x, y = checks.matrix(x, "x"), checks.matrix(y, "y")
    nonzero_rows(x, "x"), nonzero_rows(y, "y")
    epsilon = checks.real(epsilon, "epsilon", low=0, open_low=True)
    most = checks.count(most, "most", low=1, high=2**20)
    solve = GromovWasserstein(Sinkhorn(max_iterations=2000), epsilon=epsilon, max_iterations=most)
    distances = [_cosine_distances(a) for a in (x, y)]
    with jax.numpy_rank_promotion("allow"):  # which ott-jax relies on
        coupling = solve(QuadraticProblem(*(Geometry(cost_matrix=d) for d in distances))).matrix
    return coupling.argmax(1), coupling


@jax.jit
def _cosine_distances(a):
    a = a / linalg.scale_of(a, axis=1)  # squares could overflow or underflow
    a = a / jnp.linalg.norm(a, axis=1, keepdims=True)
    distances = 1 - linalg.matmul(a, a.T)
    return distances / distances.mean()


def local_cka(x: Array, y: Array, base_x: Array, base_y: Array) -> Array:
    """Linear CKA (n, m), in [0, 1], of known pairs base_x (k, p), base_y (k, q) with one more pair, x_i and y_j.

    How well row i of x (n, p) and row j of y (m, q) fit what the k pairs say, for all i and j: row against row it is
    a similarity, and its best assignment a match. One product of (n, k) and (k, m) makes all of them: O(n m k).
    Raises as `checks.paired` of the base, `checks.matrix` of the rest; ValueError for different widths.
    Source: the local CKA metric of Maniparambil et al. 2024, used by Hadgi et al. 2025.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (20, 4))
    >>> local_cka(x[10:], 2 * x[10:, ::-1], x[:10], 2 * x[:10, ::-1]).argmax(1).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    x, y = checks.matrix(x, "x", at_least=1), checks.matrix(y, "y", at_least=1)
    base_x, base_y = checks.paired(base_x, base_y)
    for name, a, base in (("x", x, base_x), ("y", y, base_y)):
        if a.shape[1] != base.shape[1]:
            raise ValueError(f"{name} and base_{name}: expected one width; got {a.shape[1]} and {base.shape[1]}")
    (x, base_x), (y, base_y) = _in_units(x, base_x), _in_units(y, base_y)
    return _local_cka(x, y, base_x, base_y)


def local_cka_match(x: Array, y: Array, base_x: Array, base_y: Array) -> tuple[Array, Array]:
    """The row (n,) of y (m, q) that each row of x (n, p) is assigned, one to one, and its `local_cka`, (n,).

    The assignment of largest sum, found on the host in O(n^2 m): needs n <= m. Errors as `local_cka`.

    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (20, 4))
    >>> local_cka_match(x[10:], x[:9:-1], x[:10], x[:10])[0].tolist()
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed here alone

    alike = np.asarray(local_cka(x, y, base_x, base_y))
    if alike.shape[0] > alike.shape[1]:
        raise ValueError(f"x: expected at most as many rows as y; got {alike.shape[0]} and {alike.shape[1]}")
    _, columns = linear_sum_assignment(alike, maximize=True)
    return jnp.asarray(columns), jnp.asarray(alike[np.arange(len(columns)), columns])


@jax.jit
def _local_cka(x, y, base_x, base_y):
    """With the base centred, all row sums but the last are the border's: of tr(K H L H) three products remain."""
    kept = 1 - 1 / (len(base_x) + 1)
    (border_x, corner_x, a), (border_y, corner_y, b) = _bordered(x, base_x), _bordered(y, base_y)

    def own(border, corner, base):
        return jnp.sum(linalg.matmul(base.T, base) ** 2) + 2 * kept * jnp.sum(border**2, 1) + (kept * corner) ** 2

    borders = 2 * kept * linalg.matmul(border_x, border_y.T)
    joint = jnp.sum(linalg.matmul(a.T, b) ** 2) + borders + kept**2 * jnp.outer(corner_x, corner_y)
    return joint / jnp.sqrt(jnp.outer(own(border_x, corner_x, a), own(border_y, corner_y, b)))


def _in_units(x, base):
    """Both over a power of two near the spread of the base, whose fourth powers could overflow or be lost."""
    unit = linalg.scale_of(linalg.center(base))
    return x / unit, base / unit


def _bordered(x, base):
    """What each row of x (n, p) adds to the Gram matrix of the base (k, p): (n, k), (n,); and the base, centred."""
    mean = base.mean(0)[None]
    x, base = x - mean, base - mean
    return linalg.matmul(x, base.T), jnp.sum(x * x, 1), base
