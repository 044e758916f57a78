"""How far a number is from chance: scores beside those that unrelated layers of the same shapes would give."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks
from repgeo.chance.pairings import Measure, bare, plain, recorded, scores, shuffles


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Null:
    """Scores beside the scores that unrelated pairs give: `score` s, `null` (rounds, *s), `p` s and `z` s.

    s is () for two matrices and (l1, l2) for two lists of layers. `p` is the share of pairings, the real one
    included, that are at least as extreme, so never below 1 / (rounds + 1). `z` is the distance from the null's
    mean in its standard deviations (infinite when the null does not vary and the score differs).
    """

    score: Array
    null: Array
    p: Array
    z: Array

    @property
    def mean(self) -> Array:
        """Mean s of the null: what the measure gives to unrelated layers of these shapes."""
        return self.null.mean(0)

    def quantile(self, q: float | tuple[float, ...]) -> Array:
        """Value (s) below which the share `q` of the null lies; an array (len(q), *s) for several `q` in [0, 1]."""
        return jnp.quantile(self.null, jnp.asarray(q), axis=0)

    def adjusted(self, best: float = 1.0) -> Array:
        """(score - mean) / (best - mean), shape s: 0 on average for unrelated layers, 1 at `best`, below 0 if worse.

        The same scale for every measure, width and number of samples; its form is that of the adjusted Rand index,
        its use here ours. `best` is the measure's value for equal layers: 1 for most similarities, 0 for distances.
        How far from 0 luck reaches depends on n, p and q still: that is what `p` and `z` say. Raises TypeError or
        ValueError for a `best` that is not a finite number; NaN or infinite where the null's mean is `best`.

        >>> one = Null(score=jnp.asarray(0.9), null=jnp.asarray([0.7, 0.9]), p=jnp.asarray(0.5), z=jnp.asarray(1.0))
        >>> print(f"{one.adjusted():.2f} {one.adjusted(best=0.6):.2f}")
        0.50 -0.50
        """
        best = checks.real(best, "best", low=-float("inf"))
        return (self.score - self.mean) / (best - self.mean)


def calibrated(measure: Measure, x, y, *, key: Array, rounds: int = 200, alternative: str | None = None,
               batch: int = 8, **options: Any) -> Null:
    """Scores of all pairs of layers of x and y among their scores after the rows of y are shuffled, as a `Null`.

    x and y are matrices (n, p) and (n, q), or sequences of l1 and l2 such layers whose widths may differ: then the
    score, the null's mean and quantiles, p and z are (l1, l2); a matrix beside a sequence has no axis. Rows are
    exchangeable samples, and every shuffle moves the rows of all layers of y together. `options` go to the measure;
    `alternative` says which side counts as extreme: "greater" (the default, and for records of kind "similarity")
    or "less" (records of kind "distance" or "metric"). Each p-value is exact for any sample size (Phipson and Smyth
    2010: the real pairing counts as one of rounds + 1) and stands for its own pair: of l1 l2 pairs without
    relation, 5 % fall below 0.05. Measures whose null lies far from 0, as that of `cka` does when p or q nears n,
    become comparable across widths through `z`, the quantiles and `Null.adjusted`.

    Cost: measures of `similarity` prepare each layer once, and one compiled program shuffles what was prepared: a
    Gram measure then takes n^2 / 2 multiplications a pair and round, and memory for the n x n matrices of all layers.
    Others are evaluated on each pair and shuffle, by one compiled program for each pair of shapes, `batch` shuffles
    at a time; a measure whose record says `traceable=False` runs in a loop. Give options as keywords rather than in
    a fresh lambda, which would be compiled anew at each call.

    Raises as `checks.matrix`, naming the layer; ValueError without layers, for unequal numbers of samples, for
    fewer than 1 round, and when the measure is undefined (NaN) on a pair or on a shuffle of it. Under a trace an
    undefined pairing counts against the score.

    >>> x = jax.random.normal(jax.random.key(0), (40, 3))
    >>> overlap = lambda a, b: jnp.sum((a.T @ b) ** 2)
    >>> found = calibrated(overlap, [x, x[::-1]], [x, x**2, x[:, :2]], key=jax.random.key(1), rounds=99)
    >>> found.score.shape, found.mean.shape, found.quantile((0.05, 0.95)).shape
    ((2, 3), (2, 3), (2, 2, 3))
    >>> print(f"{found.p[0, 0]:.2f}")
    0.01
    """
    xs, ys, of_two = _sides(x, y)
    rounds = checks.count(rounds, "rounds", low=1, high=1_000_000)
    kind = recorded(measure, "kind", "similarity")
    side = "greater" if kind == "similarity" else "less"
    side = checks.choice(side if alternative is None else alternative, "alternative", ("greater", "less"))
    # The real pairing goes through the same program, so that a tie is a tie to the last bit.
    rows = shuffles(key, rounds=rounds, n=len(ys[0]))
    values = scores(measure, xs, ys, rows, both=False, batch=batch, options=options)
    return _judged(of_two(_all_defined(values, of_two)), side=side)


def permutation_test(measure: Measure, x, y, *, key: Array, rounds: int = 200, alternative: str | None = None,
                     batch: int = 8, **options: Any) -> Null:
    """Score of `(x, y)` among its scores after the rows of `y` are shuffled: `calibrated` for one pair.

    x is (n, p), y is (n, q); arguments, p-value and errors as `calibrated`, and as `checks.paired`.

    >>> x = jax.random.normal(jax.random.key(0), (40, 3))
    >>> overlap = lambda a, b: jnp.sum((a.T @ b) ** 2)
    >>> test = permutation_test(overlap, x, x, key=jax.random.key(1), rounds=99)
    >>> round(float(test.p), 3)
    0.01
    """
    x, y = checks.paired(x, y)
    return calibrated(measure, x, y, key=key, rounds=rounds, alternative=alternative, batch=batch, **options)


def chi_square_test(measure: Measure, x, y, **options: Any) -> tuple[Array, Array]:
    """(score, p) of a debiased correlation without a single shuffle: p = P(chi2_1 > n score + 1).

    x and y as in `calibrated`, and so are the shapes of both results. Under independence n score tends to a
    weighted sum of centred chi-square variables with one degree of freedom, whose upper tail beyond the 5 % point
    lies under that of a single one. So it is conservative by as much as the variance is spread over directions, and
    with one direction a little too liberal until n is large: of 20 000 independent pairs of n = 30 normal rows,
    `cka_debiased` rejected 5.6 % at the 5 % level with p = q = 1 and 3.4 % with p = q = 10. Where p is near the
    level, let `calibrated` decide. One evaluation a pair. Source: Shen, Panda and Vogelstein 2022.

    Raises ValueError for a measure whose record does not name it a debiased correlation with these options
    (`cka_debiased`, and `cka_rbf` or `distance_correlation` in their debiased form are), and as `calibrated`.

    >>> from repgeo import cka_debiased
    >>> x = jax.random.normal(jax.random.key(0), (40, 3))
    >>> score, p = chi_square_test(cka_debiased, x, x + 1)
    >>> bool(p < 1e-8)
    True
    """
    measure, options = plain(measure, options)
    needed = recorded(measure, "chi_square", None)
    if needed is None or any(options.get(name) != value for name, value in needed):
        name = getattr(bare(measure), "__name__", "this measure")
        wanted = "".join(f" with {option}={value}" for option, value in needed or ())
        advice = f"expected {name}{wanted}" if wanted else "expected a debiased correlation such as cka_debiased"
        raise ValueError(f"measure: n times {name} is not chi-square under independence; {advice}, or use calibrated")
    xs, ys, of_two = _sides(x, y)
    n = len(ys[0])
    values = scores(measure, xs, ys, jnp.arange(n)[None], both=False, batch=1, options=options)
    score = of_two(_all_defined(values, of_two))[0]
    return score, jax.scipy.special.erfc(jnp.sqrt(jnp.maximum(n * score + 1, 0) / 2))  # the tail of chi2_1


def _sides(x, y):
    """The layers of both sides in one dtype, and what takes the axes of single matrices from (rounds, l1, l2)."""
    single = tuple(axis for axis, z in ((1, x), (2, y)) if not _is_sequence(z))
    if len(single) == 2:
        xs, ys = ([z] for z in checks.paired(x, y))
    else:
        xs, ys = _layers(x, "x"), _layers(y, "y")
        lengths = sorted({len(z) for z in [*xs, *ys]})
        if len(lengths) > 1:
            raise ValueError(f"layers: expected one number of samples; got {lengths}")
    dtype = jnp.result_type(*xs, *ys)
    return [z.astype(dtype) for z in xs], [z.astype(dtype) for z in ys], partial(jnp.squeeze, axis=single)


def _is_sequence(z) -> bool:
    """Whether `z` holds layers: an array with three axes, or a sequence of anything but rows of numbers."""
    if hasattr(z, "ndim"):
        return z.ndim == 3
    if not isinstance(z, Sequence):
        return False
    depth = getattr(z[0], "ndim", None) if len(z) else 2
    if depth is None:
        depth = 2 if isinstance(z[0], Sequence) and len(z[0]) and isinstance(z[0][0], Sequence) else 1
    return depth > 1


def _layers(z, name: str) -> list[Array]:
    if not _is_sequence(z):
        return [checks.matrix(z, name)]
    if not len(z):
        raise ValueError(f"{name}: expected a matrix (n, p) or a sequence of them; got an empty sequence")
    return [checks.matrix(layer, f"{name}[{i}]") for i, layer in enumerate(z)]


def _all_defined(values: Array, of_two: partial) -> Array:
    """`values` (rounds, l1, l2) unless concrete and not finite somewhere: then a ValueError that names the pair."""
    single, where = of_two.keywords["axis"], "this pair"
    if checks.is_concrete(values) and len(single) < 2:
        bad = np.argwhere(~np.isfinite(values).all(0))
        i, j = bad[0] if len(bad) else (0, 0)
        where = f"{'x' if 1 in single else f'x[{i}]'} and {'y' if 2 in single else f'y[{j}]'}"
    return checks.defined(values, f"the measure is not finite on {where} or on a shuffled one")


@partial(jax.jit, static_argnames="side")
def _judged(values: Array, *, side: str) -> Null:
    score, null = values[0], values[1:]
    beaten = null < score[None] if side == "greater" else null > score[None]  # NaN beats no one: it counts against us
    p = (1 + jnp.sum(~beaten, 0)) / len(values)
    gap = score - null.mean(0)
    return Null(score, null, p, jnp.where(gap == 0, 0.0, gap / null.std(0)))
