"""What a measure promises: the record that each one carries, and its split into work per layer and work per pair."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from jax import Array

from repgeo.similarity import shuffled

CHANGES = ("shift", "scale", "rotation", "permutation", "linear", "order")
"""Changes of one side that a measure may or may not notice.

shift: a constant row is added. scale: multiplied by a positive number. rotation: an orthogonal map of the features.
permutation: features reordered. linear: any invertible map of the features. order: the same reordering of the
samples on both sides.
"""


@dataclass(frozen=True)
class Record:
    """The promises of a measure with its default options; whatever is not in `invariant` is noticed.

    kind: a similarity grows with likeness; a distance shrinks; a metric also obeys the triangle inequality.
    range: of the value, infinities included. symmetric: measure(x, y) == measure(y, x).
    paper: key into `repgeo.papers.PAPERS`. at_least: the smallest number of samples.
    traceable: runs under `jit`, `vmap` and `grad`.
    duplicates_safe: rows drawn twice, as a bootstrap with replacement draws them, do not bias it.
    chi_square: the options under which it is a debiased correlation, so that `chance.chi_square_test` may judge it:
    () for whatever options, None for never.
    """

    kind: Literal["similarity", "distance", "metric"]
    range: tuple[float, float]
    symmetric: bool
    invariant: frozenset[str]
    paper: str
    at_least: int = 2
    traceable: bool = True
    duplicates_safe: bool = False
    chi_square: tuple[tuple[str, Any], ...] | None = None


@dataclass(frozen=True)
class Split:
    """A measure as compare(prepare(x), prepare(y)), so that a grid of layers prepares each layer once.

    `prepare` takes a matrix and the measure's options and returns a pytree; where the last axis of a leaf grows with
    the width of the layer, zeros may be appended to it without changing what `compare` returns.
    `reorder`, where there is one, takes the state of x and `rows`, a permutation, and returns the state of x[rows]
    for less than preparing it anew.
    """

    prepare: Callable[..., Any]
    compare: Callable[..., Any]
    reorder: Callable[[Any, Array], Any] | None = None


@dataclass(frozen=True)
class Gram:
    """A measure as the inner product of two symmetric matrices (n, n), one a layer, that follow its samples.

    `matrix` takes a layer and the measure's options; reordered samples must reorder its rows and columns and change
    nothing else. `value` makes the measure of inner products, of any shape, and the options.
    """

    matrix: Callable[..., Array]
    value: Callable[..., Array] = lambda products, **options: products


def measure(
    record: Record, *, split: Split | None = None, square: Callable | None = None, gram: Gram | None = None
):
    """Attach the record to a measure, and what lets others avoid repeated work.

    For `grid`: a split, or (`square`) a function of a list of layers that returns all pairs at once. For `chance`:
    `permuted(xs, ys, rows, **options)`, the values (r, l1, l2) of all pairs for each of the r permutations of the
    samples of ys, made of `gram` or of a split that can be reordered; None without either.
    """

    def attach(function):
        function.record, function.split, function.square = record, split, square
        function.permuted = None
        if gram:
            function.permuted = partial(shuffled.by_grams, gram)
        elif split and split.reorder:
            function.permuted = partial(shuffled.by_states, split)
        return function

    return attach


def invariant(*changes: str) -> frozenset[str]:
    """The named changes, each one of `CHANGES`; order always counts among them, and rotation brings permutation."""
    unknown = set(changes) - set(CHANGES)
    if unknown:
        raise ValueError(f"changes: expected names among {CHANGES}; got {sorted(unknown)}")
    implied = {"linear": {"rotation", "permutation"}, "rotation": {"permutation"}}
    return frozenset({"order", *changes}.union(*(implied.get(c, set()) for c in changes)))
