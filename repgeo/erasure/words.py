"""What word vectors still say about words: agreement with people's ratings of similarity, and association with WEAT."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.moments import UnitSum

_EXACT = 200_000  # partitions of the words that are gone through one by one


@dataclass(frozen=True)
class Association:
    """An effect size d, in standard deviations of the words' associations, and its one-sided p."""

    d: float
    p: float


def weat(x: Array, y: Array, a: Array, b: Array, *, key: Array | None = None, draws: int = 10_000) -> Association:
    """WEAT's effect size: how much nearer to `a` than to `b` the words x stand than the words y, and p by permutation.

    x (m, p), y (m, p) vectors of two sets of words, a and b (., p) of two sets of attributes. A word's association is
    its mean cosine with `a` less that with `b`; d is the difference of the means over x and y, divided by the standard
    deviation over both (about their mean, over 2 m), so that -2 <= d <= 2. p is the share of the partitions of the
    2 m words into halves whose difference is at least the one observed, itself among them: of all C(2 m, m) up to
    m = 9, else of `draws` random ones, which need a `key`. Eight words a side give d a standard error of about 0.5.
    Raises as `checks.matrix`; ValueError for x and y of different numbers, rows of 0, words that are all associated
    alike, or a missing key. Source: Caliskan et al. 2017.

    >>> import jax.numpy as jnp
    >>> found = weat(jnp.array([[1.0, 0.1], [1.0, 0.0]]), jnp.array([[0.0, 1.0], [0.1, 1.0]]), *jnp.eye(2)[:, None])
    >>> round(found.d, 2), round(found.p, 3)
    (2.0, 0.167)
    """
    x, y, a, b = (
        checks.matrix(v, name, at_least=1, may_be_constant=True) for name, v in zip("xyab", (x, y, a, b), strict=True)
    )
    if x.shape != y.shape or not x.shape[1] == a.shape[1] == b.shape[1]:
        raise ValueError(
            f"x and y: expected as many words, of the attributes' width; got shapes {x.shape}, {y.shape}, {a.shape} "
            f"and {b.shape}"
        )
    words = jnp.concatenate([x, y])
    pull = _unit(words, "x and y") @ (_unit(a, "a").mean(0) - _unit(b, "b").mean(0))
    return weat_from(pull[: len(x)], pull[len(x) :], key=key, draws=draws)


def attraction(words: Array, a: UnitSum, b: UnitSum) -> Array:
    """Mean cosine of each of the `words` (m, p) with the attributes a, less that with the attributes b; (m,), -2 to 2.

    The attributes are `moments.unit_sum`s, which add up over any number of rows, and words may come in any number of
    blocks: `weat_from` takes what they give. Raises as `checks.matrix`; ValueError for rows of 0 and other widths.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import unit_sum
    >>> attraction(jnp.array([[2.0, 0.0]]), unit_sum(jnp.eye(2)[:1]), unit_sum(jnp.eye(2)[1:])).tolist()
    [1.0]
    """
    words = checks.matrix(words, "words", at_least=1, may_be_constant=True)
    for name, s in (("a", a), ("b", b)):
        if not isinstance(s, UnitSum):
            raise TypeError(f"{name}: expected a UnitSum, as `unit_sum(x)` returns; got {type(s).__name__}")
        if s.total.shape != words.shape[1:]:
            raise ValueError(f"{name}: expected {words.shape[1]} features, as the words have; got {s.total.shape}")
    return _unit(words, "words") @ (a.total / a.n - b.total / b.n)


def weat_from(x: Array, y: Array, *, key: Array | None = None, draws: int = 10_000) -> Association:
    """`weat` from the `attraction` of the words of two sets, x (m,) and y (m,). Errors as there.

    >>> found = weat_from([1.0, 0.9], [-1.0, -0.9])
    >>> round(found.d, 2), round(found.p, 3)
    (2.0, 0.167)
    """
    x, y = (np.asarray(v, np.float64) for v in (x, y))
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ValueError(f"x and y: expected as many words, shape (m,); got shapes {x.shape} and {y.shape}")
    if not np.isfinite(pull := np.concatenate([x, y])).all():
        raise ValueError("x and y: expected finite values; got NaN or inf")
    m = len(x)
    spread = pull.std()
    if not spread > 1e-6:
        raise ValueError("x and y: expected words that are associated differently; got one association for all")
    observed = pull[:m].mean() - pull[m:].mean()
    if comb(2 * m, m) <= _EXACT:
        first = np.array([pull[list(half)].sum() for half in combinations(range(2 * m), m)])
    elif key is None:
        raise ValueError(f"key: expected one for random partitions of {2 * m} words; got None")
    else:
        draws = checks.count(draws, "draws", low=1, high=10**7)
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
        orders = random.permuted(np.tile(pull, (draws, 1)), axis=1)[:, :m].sum(1)
        first = np.append(orders, pull[:m].sum())
    differences = (2 * first - pull.sum()) / m
    slack = 1e-9 * spread  # sums of the same words in another order are as large
    return Association(float(observed / spread), float(np.mean(differences >= observed - slack)))


def similarity_agreement(x: Array, names: Sequence[str], pairs: Array, ratings: Array) -> float:
    """Spearman's correlation of people's `ratings` (m,) of pairs of words with the cosines of their vectors, -1 to 1.

    x (n, p) with the word of each row in `names` (n,), `pairs` (m, 2) words; pairs with a word that x has not are left
    out, as is usual, so that sets of words are compared on the pairs they share. Raises as `checks.matrix`; ValueError
    for names that repeat or are not n, and when fewer than 3 pairs are known or either side is constant over them.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]])
    >>> pairs = [("cat", "dog"), ("cat", "car"), ("dog", "car"), ("cat", "cup")]
    >>> round(similarity_agreement(x, ["cat", "dog", "car"], pairs, [9.0, 1.0, 2.0, 3.0]), 3)
    1.0
    """
    x = checks.matrix(x, "x")
    at = {str(name): row for row, name in enumerate(names)}
    if len(at) != len(x) or len(names) != len(x):
        raise ValueError(f"names: expected {len(x)} different words, one a row; got {len(names)}, {len(at)} of them")
    if len(pairs) != len(ratings):
        raise ValueError(f"pairs and ratings: expected one rating a pair; got {len(pairs)} and {len(ratings)}")
    known = [(at[str(u)], at[str(v)], float(r)) for (u, v), r in zip(pairs, ratings, strict=True)
             if str(u) in at and str(v) in at]
    if len(known) < 3:
        raise ValueError(f"pairs: expected at least 3 whose words have vectors; got {len(known)} of {len(pairs)}")
    left, right, rated = (np.array(column) for column in zip(*known, strict=True))
    cosines = np.asarray(jnp.sum(_unit(x[left], "x") * _unit(x[right], "x"), 1), np.float64)
    ranks = [_ranks(values) for values in (cosines, rated)]
    if not all(r.std() > 0 for r in ranks):
        raise ValueError("pairs: expected cosines and ratings that differ; got one that is constant")
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values):
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def _unit(rows, name):
    rows = rows / linalg.scale_of(rows, axis=1)  # squares can then neither over- nor underflow
    lengths = linalg.safe_sqrt(jnp.sum(rows**2, 1, keepdims=True))
    if checks.is_concrete(lengths) and not bool((lengths > 0).all()):
        raise ValueError(f"{name}: expected rows that are not 0, for their cosine; got a row of zeros")
    return rows / lengths
