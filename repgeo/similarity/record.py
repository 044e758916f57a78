"""What a measure promises: the record that each one carries, and its split into work per layer and work per pair."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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
    """

    kind: Literal["similarity", "distance", "metric"]
    range: tuple[float, float]
    symmetric: bool
    invariant: frozenset[str]
    paper: str
    at_least: int = 2
    traceable: bool = True
    duplicates_safe: bool = False


@dataclass(frozen=True)
class Split:
    """A measure as compare(prepare(x), prepare(y)), so that a grid of layers prepares each layer once.

    `prepare` takes a matrix and the measure's options and returns a pytree; where the last axis of a leaf grows with
    the width of the layer, zeros may be appended to it without changing what `compare` returns.
    """

    prepare: Callable[..., Any]
    compare: Callable[..., Any]


def measure(record: Record, *, split: Split | None = None, square: Callable | None = None):
    """Attach the record to a measure, and what lets `grid` avoid repeated work: a split, or (`square`) a function
    of a list of layers that returns all pairs at once.
    """

    def attach(function):
        function.record, function.split, function.square = record, split, square
        return function

    return attach


def invariant(*changes: str) -> frozenset[str]:
    """The named changes, each one of `CHANGES`; order always counts among them, and rotation brings permutation."""
    unknown = set(changes) - set(CHANGES)
    if unknown:
        raise ValueError(f"changes: expected names among {CHANGES}; got {sorted(unknown)}")
    implied = {"linear": {"rotation", "permutation"}, "rotation": {"permutation"}}
    return frozenset({"order", *changes}.union(*(implied.get(c, set()) for c in changes)))
