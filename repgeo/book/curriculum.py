"""The notebooks as a map of what comes before what, and as a list that says the same in words."""

import textwrap

from repgeo.book.headers import Header
from repgeo.book.words import text

WIDE, HIGH, GAP, ROW, EDGE = 190, 92, 14, 138, 4  # of a box, between boxes, from row to row, round the map
LETTERS = 22  # that fit on a line of a box
MOST = 5  # boxes side by side: more would be drawn too small to read


def before(heads: list[Header]) -> dict[str, tuple[str, ...]]:
    """For each notebook's stem the stems that must be read right before it: no step that others imply already.

    A notebook that nobody has, or that would come before itself, is left out.
    """
    stems = {head.number: head.stem for head in heads}
    needs = {h.stem: tuple(stems[n] for n in h.needs if n in stems and stems[n] != h.stem) for h in heads}
    return {
        stem: tuple(n for n in own if not any(n in _all_before(needs, other) for other in own if other != n))
        for stem, own in needs.items()
    }


def depths(needs: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """For each stem the length of the longest way to it; ValueError where notebooks need each other in a circle."""
    found: dict[str, int] = {}

    def depth(stem: str, way: tuple[str, ...]) -> int:
        if stem in way:
            raise ValueError(f"notebooks need each other in a circle: {' -> '.join((*way, stem))}")
        if stem not in found:
            found[stem] = max((1 + depth(n, (*way, stem)) for n in needs[stem]), default=0)
        return found[stem]

    for stem in needs:
        depth(stem, ())
    return found


def drawn(heads: list[Header], linked: set[str]) -> str:
    """The map as inline SVG text: a box for each notebook, a line from each to what it is needed for.

    Boxes of the stems in `linked` are links. Empty without notebooks.
    """
    if not heads:
        return ""
    needs = before(heads)
    rows, places = [part for row in _rows(needs) for part in _parts(row)], {}
    wide = max(map(len, rows)) * (WIDE + GAP) - GAP
    for y, row in enumerate(rows):
        start = (wide - len(row) * (WIDE + GAP) + GAP) / 2
        places |= {stem: (round(start + x * (WIDE + GAP)), y * ROW) for x, stem in enumerate(row)}
    gaps = [[places[stem][0] + side for stem in row for side in (-GAP / 2, WIDE + GAP / 2)] for row in rows]
    lines = "".join(_line(places[n], places[stem], gaps) for stem, own in needs.items() for n in own)
    boxes = "".join(_box(head, places[head.stem], head.stem in linked) for head in heads)
    size = (wide + 2 * EDGE, (len(rows) - 1) * ROW + HIGH + 2 * EDGE)
    return (
        f"<svg class='map' role='group' aria-label='Map of the notebooks: a line leads down from each to those that "
        f"need it. The list below says the same in words.' viewBox='{-EDGE} {-EDGE} {size[0]} {size[1]}' "
        f"width='{size[0]}' height='{size[1]}'>{lines}{boxes}</svg>"
    )


def in_words(head: Header, heads: list[Header]) -> str:
    """What comes right before a notebook, as words: "after 00 and 02", or that nothing does."""
    numbers = {h.stem: h.number for h in heads}
    own = sorted(numbers[stem] for stem in before(heads)[head.stem])
    return f"after {' and '.join(own)}" if own else "needs no other"


def _all_before(needs: dict[str, tuple[str, ...]], stem: str) -> set[str]:
    found, todo = set(), list(needs[stem])
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += needs[one]
    return found


def _rows(needs: dict[str, tuple[str, ...]]) -> list[list[str]]:
    """Stems by depth; within a row those come left whose predecessors are left, so that few lines cross."""
    depth, rows, places = depths(needs), [], {}
    for y in range(max(depth.values()) + 1):
        row = [stem for stem in needs if depth[stem] == y]
        row.sort(key=lambda stem: (sum(places[n] for n in needs[stem]) / max(len(needs[stem]), 1), stem))
        places |= {stem: (x + 0.5) / len(row) for x, stem in enumerate(row)}
        rows.append(row)
    return rows


def _parts(row: list[str]) -> list[list[str]]:
    """A row of the map, in as many rows of about the same length as it takes."""
    number = -(-len(row) // MOST)
    return [row[place::number] for place in range(number)]


def _line(start: tuple[int, int], end: tuple[int, int], gaps: list[list[float]]) -> str:
    """A line from box to box; rows between them are passed through that of their `gaps` which is nearest to its end."""
    (x, y), u = (start[0] + WIDE // 2, start[1] + HIGH), end[0] + WIDE // 2
    drawn = f"M{x} {y}"
    for row in range(start[1] // ROW + 1, end[1] // ROW + 1):
        top, first = row * ROW, x
        last = row == end[1] // ROW
        x = u if last else min(gaps[row], key=lambda gap: (abs(gap - u), abs(gap - first)))
        bend = min((top - y) // 2, 40)
        drawn += f"C{first} {y + bend} {x} {top - bend} {x} {top}" + ("" if last else f"V{top + HIGH}")
        y = top + HIGH
    return f"<path class='way' d='{drawn}'/>"


def _box(head: Header, place: tuple[int, int], linked: bool) -> str:
    x, y = place
    lines = textwrap.wrap(head.title, LETTERS)
    lines = lines if len(lines) <= 3 else [*lines[:2], f"{lines[2]} …"]
    title = "".join(f"<text x='{x + 10}' y='{y + 41 + 17 * i}'>{text(line)}</text>" for i, line in enumerate(lines))
    number = text(head.number)
    minutes = f"<text class='small' x='{x + WIDE - 10}' y='{y + 20}' text-anchor='end'>{head.minutes} min</text>"
    body = (
        f"<rect x='{x}' y='{y}' width='{WIDE}' height='{HIGH}' rx='6'/>"
        f"<text class='small' x='{x + 10}' y='{y + 20}'>{number}</text>{minutes if head.minutes else ''}{title}"
    )
    return f"<a href='{head.stem}.html'>{body}</a>" if linked else f"<g class='away'>{body}</g>"
