"""The ledger at one glance: a bar for each notebook, as an SVG file that stands on any ground."""

from pathlib import Path

from repgeo.book.headers import header
from repgeo.book.words import text
from repgeo.claims import VERDICTS, read, totals

# The light palette of book.css: an image in a README cannot follow the reader's scheme.
COLOURS = dict(zip(VERDICTS, ("#17694b", "#855400", "#a03427", "#4b5590", "#5d6168"), strict=True))
PAPER, INK, QUIET = "#fcfbf8", "#22252a", "#5d6168"
LEFT, WIDE, ROW, TOP = 330, 470, 26, 74
LETTERS = 40


def verdicts(notebooks: Path) -> str:
    """SVG text: one row for each notebook with a ledger, its claims as a bar in parts, verdict by verdict."""
    rows = []
    for path in sorted(notebooks.glob("*.ipynb")):
        head = header(path)
        ledger = notebooks / "claims" / f"{head.number}.json"
        if ledger.exists():
            rows.append((head.number, head.title, totals([read(ledger)])))
    sums = {verdict: sum(counts[verdict] for _, _, counts in rows) for verdict in VERDICTS}
    unit = WIDE / max([sum(counts.values()) for _, _, counts in rows], default=1)
    high = TOP + ROW * len(rows) + 14
    said = ", ".join(f"{count} {verdict}" for verdict, count in sums.items())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + 30} {high}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13"><title>{text(f"Of {sum(sums.values())} claims: {said}")}'
        f'</title><rect width="100%" height="100%" fill="{PAPER}"/>',
        f'<text x="16" y="28" font-size="16" font-weight="600" fill="{INK}">{sum(sums.values())} claims of papers, '
        "measured again beside a control</text>",
    ]
    x = 16
    for verdict, count in sums.items():
        words = f"{count} {verdict}"
        parts.append(f'<rect x="{x}" y="42" width="12" height="12" rx="2" fill="{COLOURS[verdict]}"/>')
        parts.append(f'<text x="{x + 18}" y="53" fill="{INK}">{words}</text>')
        x += 44 + 8 * len(words)
    for place, (number, title, counts) in enumerate(rows):
        parts.append(_row(TOP + ROW * place, number, title, counts, unit))
    return "\n".join([*parts, "</svg>\n"])


def _row(y: int, number: str, title: str, counts: dict[str, int], unit: float) -> str:
    short = title if len(title) <= LETTERS else f"{title[: LETTERS - 1].rsplit(' ', 1)[0]} …"
    drawn = (
        f'<text x="16" y="{y + 15}" fill="{QUIET}">{text(number)}</text>'
        f'<text x="42" y="{y + 15}" font-size="12" fill="{INK}">{text(short)}</text>'
    )
    x = float(LEFT)
    for verdict, count in counts.items():
        if count:
            drawn += (
                f'<rect x="{x:.1f}" y="{y}" width="{unit * count - 1:.1f}" height="{ROW - 5}" '
                f'fill="{COLOURS[verdict]}">'
                f"<title>{count} {verdict}</title></rect>"
                f'<text x="{x + (unit * count - 1) / 2:.1f}" y="{y + 15}" font-size="11" text-anchor="middle" '
                f'fill="{PAPER}">{count}</text>'
            )
        x += unit * count
    return drawn
