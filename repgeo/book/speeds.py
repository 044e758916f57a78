"""What was timed, side by side with what others compute: a page with a figure and a table for each room."""

import math
import re
from dataclasses import dataclass

from repgeo.book.words import number, text

WIDTH, HEIGHT, EDGE = 300, 20, 8
MODES = {"wall2": "wall time on all cores", "cpu1": "processor time of one thread"}
HELD, MISSED, NONE = "held", "missed", "no bar"


def verdict(row: dict) -> str:
    """Whether the row's ratio is within its bar: "held", "missed", or "no bar" where none was stated."""
    if not isinstance(row.get("bar"), int | float):
        return NONE
    return HELD if row["ratio"] <= row["bar"] else MISSED


def speeds(measured: dict) -> str:
    """The page: machine and method, totals, one figure of all ratios, then for each room the rows with their bars."""
    rows, memory = measured["rows"], measured.get("memory", [])
    places = {key: at for at, key in reversed(list(enumerate((row["name"], row["peer"]) for row in rows)))}
    rows = sorted(rows, key=lambda row: places[row["name"], row["peer"]])  # both modes of a task side by side
    rooms = list(dict.fromkeys(row.get("room", "all") for row in rows))
    of = {room: [row for row in rows if row.get("room", "all") == room] for room in rooms}
    at = _axis(rows)
    return "\n".join(
        [
            "<nav class='top' aria-label='Book'><a href='index.html'>← All notebooks</a></nav>",
            "<h1>How fast is it, beside what others compute?</h1>",
            f"<p class='lead'>{summary(measured)}</p>",
            f"<p>Measured on {text(measured['machine'])}. Medians of alternating runs in one process, after warm-up: "
            "first one side, then the other, so that a machine that slows down slows both. A ratio below 1 means that "
            "repgeo is faster; a bar is the largest ratio that was accepted before the code was written. "
            f"{' '.join(f'<b>{mode}</b> is {words}.' for mode, words in MODES.items())} In wall time both sides have "
            "all cores; in repgeo's calls BLAS has one thread, as it has in every notebook and command.</p>",
            _overview(of, at),
            "<p class='key'>One mark for each task and peer, on a scale of ratios. ● within its bar, ○ beyond it, "
            "◇ without a bar. Left of the line at 1 repgeo is faster, right of it the peer.</p>",
            _missed([*rows, *memory]),
            *(_room(room, of[room], at) for room in rooms),
            _ceilings(measured.get("ceilings", {}), rows),
            _memory(memory),
        ]
    )


def summary(measured: dict) -> str:
    """Two sentences: in how many rows repgeo is faster than somebody else's code, and how many bars hold."""
    rows = measured["rows"]
    verdicts, others = [verdict(row) for row in rows], [row for row in rows if not _own(row)]
    faster, bars = sum(row["ratio"] < 1 for row in others), len(rows) - verdicts.count(NONE)
    own = f"; {len(rows) - len(others)} more compare it with itself" if len(others) < len(rows) else ""
    return (
        f"repgeo is faster than its peer in {faster} of {len(others)} timings{own}. Of {bars} bars "
        f"that were set beforehand {verdicts.count(HELD)} hold and {verdicts.count(MISSED)} do not."
    )


def _own(row: dict) -> bool:
    """Whether the other side of the row is repgeo as well: once instead of many times, say."""
    return bool(re.search(r"\bours?\b", row["peer"]))


@dataclass(frozen=True)
class Axis:
    """A log scale from 10**low to 10**high, on which all figures of the page draw."""

    low: int
    high: int

    def __call__(self, value: float) -> float:
        """Place of `value` in the drawing."""
        return round(EDGE + (math.log10(value) - self.low) / (self.high - self.low) * (WIDTH - 2 * EDGE), 1)


def _axis(rows: list[dict]) -> Axis:
    """The axis whose ends are the powers of ten around all ratios and bars."""
    values = [row["ratio"] for row in rows] + [row["bar"] for row in rows if verdict(row) != NONE] + [0.1, 10]
    return Axis(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))))


def _overview(of: dict[str, list[dict]], at: Axis) -> str:
    """All ratios at one glance, a line for each room; marks that would cover each other are stacked."""
    left, step, top, parts = 110, 5, 22, []
    y = top
    for room, rows in of.items():
        stacks: dict[int, int] = {}
        marks = []
        for row in sorted(rows, key=lambda row: row["ratio"]):
            place = round(at(row["ratio"]) / 9)
            stacks[place] = stacks.get(place, -1) + 1
            marks.append((9 * place, stacks[place], verdict(row)))
        tall = 12 + 2 * step * (max(stacks.values()) + 1)
        parts.append(f"<text x='0' y='{y + tall - 8}'>{text(room)}</text>")
        parts.append(f"<path class='axis' d='M{left} {y + tall}H{left + WIDTH}'/>")
        parts += [_mark(left + x, y + tall - 9 - 2 * step * level, kind) for x, level, kind in marks]
        y += tall + 6
    grid = "".join(
        f"<path class='{'even' if tick == 1 else 'axis'}' d='M{left + at(tick)} {top - 4}V{y}'/>"
        f"<text class='small' x='{left + at(tick)}' y='{top - 9}' text-anchor='middle'>{tick:g}</text>"
        for tick in (10.0**power for power in range(at.low, at.high + 1))
    )
    said = "; ".join(
        f"{room}: {sum(row['ratio'] < 1 for row in rows)} of {len(rows)} ratios below 1" for room, rows in of.items()
    )
    return (
        f"<figure class='scroll' tabindex='0' role='group' aria-label='Ratios by room'><svg class='ratios' role='img' "
        f"aria-label='{text(f'Ratio of our time to theirs, on a log scale. {said}.')}' "
        f"viewBox='0 0 {left + WIDTH + EDGE} {y + 4}'>{grid}{''.join(parts)}</svg></figure>"
    )


def _missed(rows: list[dict]) -> str:
    named = [
        f"<li>{text(row['name'])}{text(' beside ' + row['peer'] + ', ' + row['mode']) if 'peer' in row else ''}: "
        f"{_apart(_value(row), row['bar'])}, bar ≤ {number(row['bar'])}</li>"
        for row in rows
        if verdict({"ratio": _value(row), **row}) == MISSED
    ]
    if not named:
        return "<h2 id='missed'>Bars that do not hold</h2><p>None.</p>"
    return f"<h2 id='missed'>Bars that do not hold</h2><ul class='missed'>{''.join(named)}</ul>"


def _apart(value: float, bar: float | None) -> str:
    """The value in three digits, or in as many as tell it from its bar."""
    if bar is None or value == bar or number(value) != number(bar):
        return number(value)
    return next(said for digits in range(4, 18) if float(said := f"{value:.{digits}g}") != bar)


def _value(row: dict) -> float:
    return row["ratio"] if "ratio" in row else row["value"]


def _room(room: str, rows: list[dict], at: Axis) -> str:
    lines = "".join(_row(row, at) for row in rows)
    heads = ("Task", "Against", "Ours, ms", "Theirs, ms", "Ratio", "Bar", "On a log scale")
    columns = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f"<h2 id='{text(room)}'>{text(room[:1].upper() + room[1:])}</h2>"
        f"<div class='scroll' tabindex='0' role='group' aria-label='Timings of {text(room)}'><table class='speeds'>"
        f"<caption>{len(rows)} timings of {text(room)}</caption>"
        f"<thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _row(row: dict, at: Axis) -> str:
    kind = verdict(row)
    bar = "–" if kind == NONE else f"≤ {number(row['bar'])} {'✓' if kind == HELD else '✗'} {kind}"
    mode = f" <small>{text(row['mode'])}</small>" if row.get("mode") else ""
    return (
        f"<tr class='{kind.replace(' ', '-')}'><th scope='row'>{_task(row)}{mode}</th>"
        f"<td>{text(row['peer'])}</td>"
        f"<td class='n'>{number(row['ours_ms'])}</td><td class='n'>{number(row['theirs_ms'])}</td>"
        f"<td class='n'><b>{_apart(row['ratio'], row.get('bar'))}</b></td><td class='bar'>{bar}</td>"
        f"<td>{_strip(row, at)}</td></tr>"
    )


def _task(row: dict) -> str:
    """The row's name, whose numbers of four digits and more stay on one line."""
    return re.sub(r"(?<=\d) (?=\d{3})", "\N{NO-BREAK SPACE}", text(row["name"]))


def _strip(row: dict, at: Axis) -> str:
    """One ratio on the common axis, for the eye only: the shaded part is what the bar allows, the line is at 1."""
    middle, kind = HEIGHT / 2, verdict(row)
    wide = 0 if kind == NONE else at(row["bar"]) - EDGE
    allowed = f"<rect class='bar' x='{EDGE}' y='3' width='{wide:.1f}' height='14'/>" if wide else ""
    return (
        f"<svg class='ratio' aria-hidden='true' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'>"
        f"{allowed}<path class='axis' d='M{EDGE} {middle}H{WIDTH - EDGE}'/>"
        f"<path class='even' d='M{at(1)} 1V{HEIGHT - 1}'/>{_mark(at(row['ratio']), middle, kind)}</svg>"
    )


def _ceilings(tops: dict[str, dict], rows: list[dict]) -> str:
    """Each task beside the least that it takes here, with its first call and its memory; nothing without ceilings."""
    tasks = {(row["name"], row["mode"]): row for row in rows if "share" in row and row["mode"] in tops}
    if not tasks:
        return ""
    lines = "".join(
        f"<tr><th scope='row'>{_task(row)} <small>{text(mode)}; {text(row['floor'])}</small></th>"
        f"<td class='n'>{number(row['gflop'])}</td><td class='n'>{number(row['floor_ms'])}</td>"
        f"<td class='n'>{number(row['ours_ms'])}</td><td class='n'><b>{100 * row['share']:.0f} %</b></td>"
        f"<td class='n'>{number(row['first_ms'])}</td>"
        f"<td class='n'>{number(row['extra_mb']) if 'extra_mb' in row else '–'}</td></tr>"
        for (_, mode), row in tasks.items()
    )
    heads = ("Task, and what it takes at least", "GFLOP", "Least, ms", "Ours, ms", "Share", "First, ms", "Adds, MB")
    columns = "".join(f'<th scope="col">{name}</th>' for name in heads)
    seen = "; ".join(
        f"<b>{mode}</b> {top['float32'] / 1e9:.0f} and {top['float64'] / 1e9:.0f} GFLOP/s in float32 and float64, "
        f"{top['bytes'] / 1e9:.0f} GB/s"
        for mode, top in tops.items()
    )
    return (
        "<h2 id='ceilings'>How close to the machine?</h2>"
        "<p>What a task takes at least: its operations at the speed of the fastest square product, or its bytes at "
        f"that of a copy, whichever is longer; seen here were {seen}. The share is that least time over ours. An "
        "eigenproblem's operations cannot run at a product's speed, so a low share there says little. A first call "
        "compiles, with no cache on disk; memory is what the process grows by in a later call, results included.</p>"
        "<div class='scroll' tabindex='0' role='group' aria-label='Shares of the ceiling'><table class='speeds'>"
        f"<caption>{len(tasks)} tasks beside their least time</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _mark(x: float, y: float, kind: str) -> str:
    if kind == NONE:
        return f"<path class='mark none' d='M{x - 4} {y}l4-4 4 4-4 4z'/>"
    return f"<circle class='mark {kind}' cx='{x}' cy='{y}' r='3.8'/>"


def _memory(rows: list[dict]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr class='{kind}'><th scope='row'>{text(row['name'][:1].upper() + row['name'][1:])}</th>"
        f"<td class='n'><b>{_apart(row['value'], row.get('bar'))}</b></td><td class='bar'>≤ {number(row['bar'])} "
        f"{'✓' if kind == HELD else '✗'} {kind}</td></tr>"
        for row in rows
        for kind in (verdict({"ratio": row["value"], **row}),)
    )
    columns = "".join(f'<th scope="col">{name}</th>' for name in ("What", "Measured", "Bar"))
    return (
        "<h2 id='memory'>Memory</h2><div class='scroll' tabindex='0' role='group' aria-label='Memory'>"
        f"<table class='speeds'><caption>{len(rows)} figures of memory</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )
