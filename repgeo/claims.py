"""The ledger: what a paper says, what a notebook measured, and whether the two agree.

A verdict is computed from the measured value, its interval, the control and the bar. Nobody types it in.
"""
import html
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from repgeo.papers import cite

VERDICTS = ("reproduced", "partly", "not here", "identity", "open")
_MARKS = dict(zip(VERDICTS, "●◐○≡…", strict=True))  # beside the word, so that colour is never needed
_COLUMNS = ("id", "paper", "claim", "reported", "ours", "control", "verdict")
_RANGES = ("interval", "bar")
_DIGITS = 6  # numbers are kept to this many digits: enough to compare, too few for last-ulp noise to show


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper with the number that decides it; `verdict` follows from the rest.

    | the measured value is | and | verdict |
    |---|---|---|
    | None | | open |
    | in the bar | the claim is an `identity` (true by algebra, so no evidence) | identity |
    | in the bar | control outside, whole interval inside, `comparable` setting | reproduced |
    | in the bar | control outside, but interval missing or leaving the bar, or not comparable | partly |
    | in the bar | the control is in the bar too, so the number shows nothing | not here |
    | outside the bar | | not here |

    `id` is "NN.k" (notebook, claim); `paper` a key of `repgeo.papers`; `says` our paraphrase; `reported` the
    paper's number with its unit; `where` the table or section; `interval` a pair around `measured`; `control`
    what was done to break the effect and `control_value` what it gave; `bar` the closed range that counts as
    holding, fixed before measuring, infinite on one side at most. Numbers are kept to six significant digits.

    Raises ValueError on an id of another form, empty text, NaN, a bar or interval upside down, a bar that
    excludes nothing, an interval without its value, a measured claim without a control (identities need
    none), and on "partly" without a `note` that says how.

    >>> Claim("01.1", "kornblith2019", "CKA finds the same layer in another net", "99.3 %", "Table 2",
    ...       measured=0.97, interval=(0.95, 0.99), control="chance", control_value=0.1, bar=(0.9, 1)).verdict
    'reproduced'
    """

    id: str
    paper: str
    says: str
    reported: str | float
    where: str
    measured: float | None = None
    interval: tuple[float, float] | None = None
    control: str = ""
    control_value: float | None = None
    bar: tuple[float, float] = (-math.inf, math.inf)
    comparable: bool = True
    identity: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.id, str) and re.fullmatch(r"\d\d\.\d+", self.id)):
            raise ValueError(f"id: expected 'NN.k' (notebook, claim) such as '04.2', got {self.id!r}")
        keep = {
            "reported": self.reported if isinstance(self.reported, str) else self._number("reported"),
            "measured": self._number("measured"),
            "control_value": self._number("control_value"),
            "interval": None if self.interval is None else self._pair("interval"),
            "bar": self._pair("bar"),
        }
        for name, value in keep.items():
            object.__setattr__(self, name, value)
        for name in ("paper", "says", "where"):
            text = getattr(self, name)
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"claim {self.id}: {name} must be non-empty text, got {text!r}")
        if self.measured is None:
            if self.interval is not None:
                raise ValueError(f"claim {self.id}: interval {self.interval} given, but measured is None")
            return
        if self.bar == (-math.inf, math.inf):
            raise ValueError(f"claim {self.id}: bar must exclude something, got (-inf, inf)")
        if self.interval is not None and not _within(self.measured, self.interval):
            raise ValueError(f"claim {self.id}: interval {self.interval} does not contain "
                             f"measured {self.measured}")
        if not self.identity and (self.control_value is None or not self.control):
            raise ValueError(f"claim {self.id}: a measured claim needs a control and its control_value, "
                             f"got {self.control!r} and {self.control_value}")
        if self.verdict == "partly" and not self.note.strip():
            raise ValueError(f"claim {self.id} comes out 'partly': note must say how it differs, got ''")

    @property
    def verdict(self) -> str:
        """One of VERDICTS, by the table above."""
        if self.measured is None:
            return "open"
        if not _within(self.measured, self.bar):
            return "not here"
        if self.identity:
            return "identity"
        if _within(self.control_value, self.bar):
            return "not here"
        whole = self.interval is not None and all(_within(end, self.bar) for end in self.interval)
        return "reproduced" if whole and self.comparable else "partly"

    def _number(self, name: str) -> float | None:
        value = getattr(self, name)
        if value is None:
            return None
        number = _rounded(value, f"claim {self.id}: {name}")
        if math.isinf(number):
            raise ValueError(f"claim {self.id}: {name} must be finite, got {number}")
        return number

    def _pair(self, name: str) -> tuple[float, float]:
        value = getattr(self, name)
        try:
            low, high = value
        except (TypeError, ValueError):
            raise ValueError(f"claim {self.id}: {name} must be a pair (low, high), got {value!r}") from None
        low, high = (_rounded(end, f"claim {self.id}: {name}") for end in (low, high))
        if low > high:
            raise ValueError(f"claim {self.id}: {name} must have low <= high, got ({low}, {high})")
        return low, high


@dataclass(frozen=True)
class Ledger:
    """The claims of one notebook in the order they were made; shows itself as a table in a notebook.

    Raises ValueError on a repeated id and on a claim of another notebook.

    >>> len(Ledger(1, ()))
    0
    """

    number: int
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for claim in self.claims:
            if not claim.id.startswith(f"{self.number:02d}."):
                raise ValueError(f"claim {claim.id} is not of notebook {self.number:02d}")
            if claim.id in seen:
                raise ValueError(f"claim {claim.id} is there twice")
            seen.add(claim.id)

    def __iter__(self) -> Iterator[Claim]:
        return iter(self.claims)

    def __len__(self) -> int:
        return len(self.claims)

    def _repr_markdown_(self) -> str:
        rows = [_COLUMNS, ("---",) * len(_COLUMNS)]
        rows += [[cell.replace("|", r"\|").replace("\n", " ") for cell in _cells(c)] for c in self.claims]
        return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", self._caption()])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
        body = []
        for claim in self.claims:
            first, *rest, last = (html.escape(cell) for cell in _cells(claim))
            kind = claim.verdict.replace(" ", "-")
            body.append(f'<tr class="verdict-{kind}"><th scope="row">{first}</th>'
                        + "".join(f"<td>{cell}</td>" for cell in rest) + f"<td>{last}</td></tr>")
        return (f'<table class="claims"><caption>{html.escape(self._caption())}</caption>\n'
                f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody></table>")

    def _caption(self) -> str:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in totals([self]).items() if count)
        return f"Claims of notebook {self.number:02d}: {counts or 'none'}."


def settle(number: int, claims: Iterable[Claim], *, folder: str | os.PathLike | None = None) -> Ledger:
    """Ledger of notebook `number`, written as NN.json into `folder` (or $REPGEO_LEDGER, or ./claims).

    The file is replaced in one step, so that a broken run leaves the old one whole. Raises ValueError on
    repeated ids, on a claim of another notebook and on a paper that the bibliography does not know; then
    nothing is written.

    >>> import tempfile
    >>> claim = Claim("00.1", "steck2024", "cosine is arbitrary", "text", "sec. 2", None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [c.verdict for c in settle(0, [claim], folder=folder)]
    ['open']
    """
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 99:
        raise ValueError(f"number: expected an integer from 0 to 99, got {number!r}")
    ledger = Ledger(number, tuple(claims))
    for claim in ledger:
        cite(claim.paper)
    content = {"notebook": f"{number:02d}", "claims": [_record(claim) for claim in ledger]}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path = Path(folder or os.environ.get("REPGEO_LEDGER") or "claims") / f"{number:02d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return ledger


def read(path: str | os.PathLike) -> Ledger:
    """Ledger kept at `path` by `settle`; verdicts are computed anew.

    Raises FileNotFoundError, and ValueError on a file that is no ledger or whose written verdict is not the
    one its own numbers give (a verdict edited by hand).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = settle(3, [], folder=folder)
    ...     read(f"{folder}/03.json") == ledger
    True
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        rows, number = content["claims"], int(content["notebook"])
        verdicts = [row.pop("verdict") for row in rows]
        claims = tuple(Claim(**row | {name: _parsed(row[name]) for name in _RANGES}) for row in rows)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: not a ledger written by settle ({error!r})") from error
    for claim, verdict in zip(claims, verdicts, strict=True):
        if claim.verdict != verdict:
            raise ValueError(f"{path}: claim {claim.id} is recorded as {verdict!r}, "
                             f"but its numbers say {claim.verdict!r}")
    return Ledger(number, claims)


def drift(fresh: Ledger, recorded: Ledger, *, tolerance: float = 0.05) -> list[str]:
    """One sentence for each claim of `recorded` that `fresh` no longer supports; empty when all stand.

    Named are claims that vanished, appeared, changed verdict or bar, or whose measured value left the
    recorded interval (ends inclusive, with 1e-5 of their size for rounding). Without an interval the value
    may move by `tolerance` of its recorded size. An identity is judged by its bar alone: how far below
    1e-6 a rounding error lies depends on the processor.

    >>> old = Claim("02.1", "raghu2017", "few directions", "25", "fig. 2", 25, None, "random", 90, (0, 60),
    ...             note="one net")
    >>> drift(Ledger(2, ()), Ledger(2, (old,)))
    ['claim 02.1 (few directions) vanished; it was partly.']
    """
    before, after = {c.id: c for c in recorded}, {c.id: c for c in fresh}
    sentences = [_moved(after[key], old, tolerance) if key in after
                 else f"claim {key} ({old.says}) vanished; it was {old.verdict}."
                 for key, old in before.items()]
    sentences += [f"claim {key} ({new.says}) is new and {new.verdict}: commit its ledger."
                  for key, new in after.items() if key not in before]
    return [sentence for sentence in sentences if sentence]


def totals(ledgers: Iterable[Ledger]) -> dict[str, int]:
    """How many claims have each verdict over all `ledgers`; every verdict is a key, zero included.

    >>> totals([Ledger(0, ())])
    {'reproduced': 0, 'partly': 0, 'not here': 0, 'identity': 0, 'open': 0}
    """
    counts = dict.fromkeys(VERDICTS, 0)
    for ledger in ledgers:
        for claim in ledger:
            counts[claim.verdict] += 1
    return counts


def _moved(new: Claim, old: Claim, tolerance: float) -> str:
    named = f"claim {new.id} ({new.says})"
    if new.verdict != old.verdict:
        return (f"{named} was {old.verdict} and is {new.verdict}: measured {_ours(new)}, "
                f"bar {_words(new.bar)}, control {_control(new)}.")
    if new.bar != old.bar:
        return (f"{named} had the bar {_words(old.bar)} and has {_words(new.bar)}: "
                "a bar is fixed before measuring.")
    if new.measured is None or new.identity:
        return ""
    if old.interval is None:
        (low, high), slack = (old.measured, old.measured), tolerance * abs(old.measured)
        what = f"within {tolerance:.0%} of {old.measured:.4g}"
    else:
        (low, high), slack = old.interval, 1e-5 * max(map(abs, old.interval))
        what = f"in the recorded interval {_brackets(old.interval)}"
    stands = low - slack <= new.measured <= high + slack
    return "" if stands else f"{named} measured {new.measured:.4g}, which is not {what}."


def _within(value: float, ends: tuple[float, float]) -> bool:
    return ends[0] <= value <= ends[1]


def _rounded(value: float, name: str) -> float:
    if isinstance(value, (bool, str)):
        raise ValueError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    if math.isnan(number):
        raise ValueError(f"{name} must be a number, got nan")
    return float(f"{number:.{_DIGITS}g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def _record(claim: Claim) -> dict:
    row = {field.name: getattr(claim, field.name) for field in fields(claim)}
    for name in _RANGES:  # strict JSON has no infinity
        if row[name] is not None:
            row[name] = [end if math.isfinite(end) else str(end) for end in row[name]]
    return row | {"verdict": claim.verdict}


def _parsed(ends: list | None) -> tuple[float, ...] | None:
    return None if ends is None else tuple(float(end) for end in ends)


def _cells(claim: Claim) -> tuple[str, ...]:
    reported = claim.reported if isinstance(claim.reported, str) else _short(claim.reported)
    verdict = f"{_MARKS[claim.verdict]} {claim.verdict}" + (f": {claim.note}" if claim.note else "")
    ours = _ours(claim) if claim.measured is None else f"{_ours(claim)}; holds if {_words(claim.bar)}"
    return (claim.id, cite(claim.paper), claim.says, f"{reported} ({claim.where})", ours, _control(claim),
            verdict)


def _ours(claim: Claim) -> str:
    if claim.measured is None:
        return "not measured"
    return _short(claim.measured) + (f" {_brackets(claim.interval)}" if claim.interval else "")


def _control(claim: Claim) -> str:
    if claim.control_value is None:
        return claim.control or "–"
    return f"{claim.control}: {_short(claim.control_value)}"


def _brackets(ends: tuple[float, float]) -> str:
    return f"[{_short(ends[0])}, {_short(ends[1])}]"


def _words(bar: tuple[float, float]) -> str:
    low, high = bar
    if math.isinf(low):
        return f"≤ {_short(high)}"
    return f"≥ {_short(low)}" if math.isinf(high) else f"{_short(low)} to {_short(high)}"


def _short(value: float) -> str:
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
