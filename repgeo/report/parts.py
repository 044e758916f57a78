"""What a section of the page is made of, and the rows that sections look at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


@dataclass(frozen=True)
class Table:
    """A table with its caption; the first cell of each row is the row's head."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A PNG with what it shows in words."""

    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Part:
    """What a section says: paragraphs, tables and figures in order, and its numbers for the JSON file."""

    shown: tuple[str | Table | Figure, ...]
    numbers: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A section of the page: its anchor, its title, what computes it, and about how long that takes in seconds."""

    name: str
    title: str
    run: Callable[["Data"], Part]
    weight: float


@dataclass(frozen=True)
class Data:
    """The matrices by name, one or two of them, paired row by row; labels (n,) or None; a seed."""

    matrices: dict[str, np.ndarray]
    labels: np.ndarray | None
    classes: tuple[str, ...]
    seed: int

    @cached_property
    def n(self) -> int:
        """Rows of each matrix."""
        return len(next(iter(self.matrices.values())))

    @cached_property
    def order(self) -> np.ndarray:
        """The rows in random order: samples are its beginnings, so that all sections look at the same rows."""
        return np.random.default_rng(self.seed).permutation(self.n)

    def some(self, most: int) -> dict[str, Array]:
        """At most so many random rows of each matrix, paired still; all rows, in their order, where there are no more.

        >>> data = Data({"A": np.eye(4, dtype=np.float32)}, None, (), 0)
        >>> data.some(3)["A"].shape, data.some(9)["A"].shape
        ((3, 4), (4, 4))
        """
        if most >= self.n:
            return {name: jnp.asarray(a) for name, a in self.matrices.items()}
        return {name: jnp.asarray(a[self.order[:most]]) for name, a in self.matrices.items()}

    def halves(self, fit: int, judged: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers to fit on and others to judge on: the last of the order, a quarter of all at most."""
        judged = min(judged, self.n // 4)
        return self.order[: min(fit, self.n - judged)], self.order[self.n - judged :]

    def key(self, number: int) -> Array:
        """A key of its own for each use."""
        return jax.random.fold_in(jax.random.key(self.seed), number)


def said(value, digits: int = 3) -> str:
    """A number in a few digits, an interval of two, or a dash for what is not there.

    >>> said(0.12345), said(1234.56), said((0.1, 0.25)), said(float("nan")), said(1e-7), said(12)
    ('0.123', '1,235', '0.1 to 0.25', '–', '1e-07', '12')
    """
    if value is None:
        return "–"
    if isinstance(value, tuple):
        return " to ".join(said(v, digits) for v in value)
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    value = float(value)
    if not np.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def tried(measure: Callable[[], object]) -> tuple[float | None, str]:
    """The number that a measure gives, or None and why it gives none."""
    try:
        return float(measure()), ""
    except (ValueError, TypeError, ArithmeticError) as error:
        return None, str(error).strip().splitlines()[0]


def beside(
    caption: str, head: str, measures: dict[str, Callable[[Array], object]], matrices: dict[str, Array]
) -> tuple[Table, list[str], dict]:
    """A table of each measure (rows) of each matrix (columns), why some are missing, and the numbers by matrix."""
    found = {name: {m: tried(lambda f=f, a=a: f(a)) for m, f in measures.items()} for name, a in matrices.items()}
    rows = tuple((m, *(said(found[name][m][0]) for name in matrices)) for m in measures)
    why = [f"{m} of {name}: {found[name][m][1]}." for name in matrices for m in measures if found[name][m][1]]
    numbers = {name: {m: value for m, (value, _) in of.items()} for name, of in found.items()}
    return Table(caption, (head, *matrices), rows), why, numbers
