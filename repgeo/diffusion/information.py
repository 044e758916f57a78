"""What does a representation say of a label? Diffusion spectral information: entropy that knowing the label removes."""

import math
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.diffusion.entropy import duration, entropy_bits, magnitudes, walk_named
from repgeo.diffusion.operator import gaussian, normalised, symmetric_walk, width


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiffusionInformation:
    """Diffusion spectral mutual information in bits, with its parts and what it depends on; a pytree.

    bits (), and error (), the standard error that drawing the subsets leaves in it. Per class, in the order of the
    sorted labels: sizes (c,), within (c,) the entropy of its rows, among (c,) the mean entropy of as many random rows.
    sigma and t as they were used; n rows, the operator by name.
    """

    bits: Array
    error: Array
    sizes: Array
    within: Array
    among: Array
    sigma: Array
    t: Array
    n: int = field(metadata={"static": True})
    operator: str = field(metadata={"static": True})

    @property
    def log2_n(self) -> float:
        """log2 of the number of rows."""
        return math.log2(self.n)

    @property
    def share(self) -> Array:
        """The value over log2 n."""
        return self.bits / self.log2_n


def dsmi(
    x: Array,
    y: Array,
    *,
    sigma: Array | float,
    t: Array | float = 1.0,
    key: Array,
    subsets: int = 5,
    operator: str = "official",
) -> DiffusionInformation:
    """Diffusion spectral mutual information in bits of x (n, p) with categories y (n,): entropy that a class lacks.

    The sum over classes of their share of rows times the difference between the entropy of random rows and that of
    the class, both at the size of the class: entropy grows with the number of rows, and a class compared with all rows
    would seem informative whatever it is. `subsets` random draws a class, from `key`; each class draws its own. It may
    be negative: for labels that say nothing it is 0 up to `error`. Bounded by the entropy at the class sizes, and so
    by far less than that of y where classes are small. A class of one row has no entropy and adds 0.

    y: integers, booleans or strings; a quantity goes through `equal_count_labels`, an input without labels through
    `spectral_labels`. `sigma`, `t`, `operator` as `dse`, one scale for all classes. x may be traced, y not. Costs
    c (1 + subsets) decompositions at the size of the largest class, which smaller ones are padded to. ValueError as
    `dse`, and for fewer than two classes.
    Source: Liao et al. 2023; five subsets as there.

    >>> import jax, jax.numpy as jnp
    >>> y = jnp.arange(200) % 4
    >>> x = 100.0 * jax.nn.one_hot(y, 4) + jax.random.normal(jax.random.key(0), (200, 4)) / 10
    >>> print(f"{dsmi(x, y, sigma=1.0, key=jax.random.key(1)).bits:.1f} of 2 bits")
    2.0 of 2 bits
    """
    x = checks.matrix(x, "x", may_be_constant=True)
    codes, count = categories(y, len(x))
    sigma, t, alpha = width(sigma, x), duration(t, x), walk_named(operator)
    subsets = checks.count(subsets, "subsets", low=1, high=2**20)
    sizes = np.bincount(codes, minlength=count)
    order = np.argsort(codes, kind="stable")
    most = int(sizes.max())
    own = np.zeros((count, most), np.int32)
    for c, rows in enumerate(np.split(order, np.cumsum(sizes)[:-1])):
        own[c, : len(rows)] = rows
    sizes = jnp.asarray(sizes, x.dtype)
    within, among, spread = _parts(x, jnp.asarray(own), sizes, sigma, t, key, alpha, subsets)
    share = sizes / len(x)
    error = jnp.sqrt(jnp.sum(share**2 * spread / subsets)) if subsets > 1 else jnp.full((), jnp.nan)
    return DiffusionInformation(
        jnp.sum(share * (among - within)), error, sizes, within, among, sigma, t, len(x), operator
    )


def equal_count_labels(y: Array, *, bins: int) -> Array:
    """Categories (n,) of a quantity y (n,): which of `bins` groups of equal count, from low to high, each belongs to.

    Equal values share a group, so groups of a quantity with ties may differ in size or be empty. 2 <= bins <= n.
    ValueError for a NaN, an infinity or a y that is constant.

    >>> equal_count_labels([0.1, 9.0, 0.3, 0.2], bins=2).tolist()
    [0, 1, 1, 0]
    """
    y = checks.floats(y, "y")
    if y.ndim != 1:
        raise ValueError(f"y: expected one number a row, shape (n,); got shape {y.shape}")
    checks.matrix(y[:, None], "y")
    bins = checks.count(bins, "bins", low=2, high=len(y), why="a group needs a row")
    return jnp.searchsorted(jnp.sort(y), y) * bins // len(y)


def spectral_labels(x: Array, *, clusters: int, sigma: Array | float, key: Array, operator: str = "official") -> Array:
    """Categories (n,) of the rows of x (n, p): k-means on rows of the leading `clusters` eigenvectors of the walk.

    Rows of eigenvectors are brought to length 1 (Ng, Jordan and Weiss 2001); the best of five starts of k-means++ by
    its sum of squares, drawn from `key`. With `dsmi` it measures how much of the neighbourhoods of an input survives
    in a representation of it. Depends on sigma: a width that leaves rows isolated finds those. O(n^3). x must be
    concrete, 2 <= clusters < n; other errors as `dse`, and where every start leaves a cluster empty.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.array([[0.0], [0.1], [9.0], [9.1]])
    >>> found = spectral_labels(x, clusters=2, sigma=1.0, key=jax.random.key(0))
    >>> bool(found[0] == found[1]), bool(found[2] == found[3]), bool(found[0] == found[2])
    (True, True, False)
    """
    from scipy.cluster.vq import ClusterError, kmeans2  # here, as scipy takes a while to load

    x = checks.matrix(x, "x")
    sigma, alpha = width(sigma, x), walk_named(operator)
    clusters = checks.count(clusters, "clusters", low=2, high=len(x) - 1)
    points = np.asarray(_leading(x, sigma, alpha, clusters), np.float64)
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    best, labels = math.inf, None
    for _ in range(5):
        try:
            centres, found = kmeans2(points, clusters, iter=100, minit="++", missing="raise", seed=random)
        except ClusterError:
            continue
        cost = np.sum((points - centres[found]) ** 2)
        if cost < best:
            best, labels = cost, found
    if labels is None:
        raise ValueError(f"x: k-means left a cluster empty in every start, for {clusters} clusters of {len(x)} rows")
    return jnp.asarray(labels)


def categories(y, n: int) -> tuple[np.ndarray, int]:
    """Codes (n,) of categories from 0, and how many there are, or an error."""
    if not checks.is_concrete(y):
        raise TypeError("y: expected labels that are known, as they decide shapes; got a traced array")
    y = np.asarray(y)
    if y.shape != (n,):
        raise ValueError(f"y: expected one category for each of {n} rows; got shape {y.shape}")
    if y.dtype.kind not in "iubUS" and not (y.dtype.kind == "f" and np.array_equal(y, np.round(y))):
        raise TypeError(f"y: expected categories (a quantity goes through equal_count_labels); got dtype {y.dtype}")
    names, codes = np.unique(y, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"y: expected at least 2 classes; got {len(names)}")
    return codes, len(names)


@partial(jax.jit, static_argnames="subsets")
def _parts(x, own, sizes, sigma, t, key, alpha, subsets):
    count, most = own.shape

    def bits(rows, size):
        kept = jnp.arange(most) < size
        widths = sigma if sigma.ndim == 0 else sigma[rows]
        a, _ = normalised(gaussian(x[rows], widths) * (kept[:, None] & kept[None]), alpha)
        values = magnitudes(linalg.eigenvalues(a), sigma.ndim == 0)
        return entropy_bits(-jnp.sort(-values), t, kept)  # the eigenvalues of the padding are 0 and come last

    def of_class(args):
        rows, size, key = args
        draws = jax.vmap(lambda k: jax.random.permutation(k, len(x))[:most])(jax.random.split(key, subsets))
        among = lax.map(lambda drawn: bits(drawn, size), draws)
        return bits(rows, size), among.mean(), among.var() * subsets / max(subsets - 1, 1)

    return lax.map(of_class, (own, sizes, jax.random.split(key, count)))


@partial(jax.jit, static_argnames="clusters")
def _leading(x, sigma, alpha, clusters):
    a, _ = symmetric_walk(x, sigma, alpha)
    rows = jnp.linalg.eigh(a)[1][:, -clusters:]
    length = jnp.linalg.norm(rows, axis=1, keepdims=True)
    return rows / jnp.where(length > 0, length, 1)
