"""The front page and the frame around a notebook's page, as HTML text."""

import html
import math
import re

from repgeo.book.headers import Header
from repgeo.book.strip import strip
from repgeo.claims import VERDICTS, Claim, totals
from repgeo.papers import PAPERS, cite

MARKS = dict(zip(VERDICTS, "●◐○≡…", strict=True))
MEANINGS = {
    "reproduced": "the bar holds, the control does not, on comparable data",
    "partly": "the direction holds; size or setting differ, and a note says how",
    "not here": "it does not hold in our setting, or the control does as well",
    "identity": "true by algebra, shown to rounding; no evidence",
    "open": "cannot be tested with the data at hand",
}


def index(entries: list, speeds: dict) -> str:
    """Front page: what this is, totals of the verdicts, the curriculum, every claim, speeds if measured."""
    ledgers = [entry.ledger for entry in entries if entry.ledger]
    parts = [
        "<header class='cover'><p class='name'>repgeo</p>",
        "<h1>What papers say about the geometry of representations, measured again</h1>",
        "<p class='lead'>Each notebook takes one question, runs the papers’ measures on real and on planted "
        "data beside a control, and writes down what came out. A verdict is computed from the number, its "
        "interval, its control and a bar fixed beforehand.</p></header>",
        _tiles(totals(ledgers)),
        "<section aria-labelledby='curriculum'><h2 id='curriculum'>Notebooks</h2>",
        _curriculum(entries),
        "</section><section aria-labelledby='claims'><h2 id='claims'>Claims</h2>",
        "<p class='key'>In a strip, the shaded part is the bar, the dot is what was measured, the line through it "
        "its interval, and the diamond the control.</p>"
        if ledgers
        else "",
        "".join(_claims(entry) for entry in entries) or "<p>No notebook has been executed yet.</p>",
        "</section>",
    ]
    if speeds:
        parts += ["<section aria-labelledby='speed'><h2 id='speed'>Speed</h2>", _speeds(speeds), "</section>"]
    return "\n".join(parts)


def article(entry, body: str, *, before: Header | None, after: Header | None) -> str:
    """A notebook's page: the way back, its sections, the notebook itself, the neighbours."""
    sections = re.findall(r'<h2 id="([^"]+)"[^>]*>(.*?)</h2>', body, flags=re.DOTALL)
    listed = "".join(f'<li><a href="#{key}">{text}</a></li>' for key, text in sections)
    contents = f"<details class='contents'><summary>On this page</summary><ol>{listed}</ol></details>"
    notices = "".join(f"<p class='notice'>This notebook {html.escape(n)}</p>" for n in entry.notices)
    links = [
        f'<a rel="{rel}" href="{head.stem}.html"><span>{word}</span> {_text(head.title)}</a>'
        for rel, word, head in (("prev", "Before", before), ("next", "Next", after))
        if head
    ]
    facts = [f"Notebook {_text(entry.head.number)}"]
    facts += [f"{entry.head.minutes} minutes to read"] if entry.head.minutes else []
    facts += [f"ran in {_seconds(entry.seconds)}"] if entry.seconds is not None else []
    return "\n".join(
        [
            "<nav class='top' aria-label='Book'><a href='index.html'>← All notebooks</a>"
            f"<span>{' · '.join(facts)}</span></nav>",
            contents if sections else "",
            notices,
            f"<article class='notebook'>{body}</article>",
            f"<nav class='around' aria-label='Neighbouring notebooks'>{''.join(links)}</nav>" if links else "",
        ]
    )


def badge(verdict: str, count: int | None = None) -> str:
    """The verdict as a mark, a word and a colour, so that none of them is needed alone."""
    kind = verdict.replace(" ", "-")
    number = "" if count is None else f"{count} "
    mark = f'<span aria-hidden="true">{MARKS[verdict]}</span>'
    return f'<span class="verdict {kind}">{mark} {number}{verdict}</span>'


def _tiles(counts: dict[str, int]) -> str:
    tiles = "".join(
        f'<div class="tile {verdict.replace(" ", "-")}"><dt><span aria-hidden="true">{MARKS[verdict]}</span> '
        f"{verdict}</dt><dd><b>{counts[verdict]}</b> {MEANINGS[verdict]}</dd></div>"
        for verdict in VERDICTS
    )
    return f"<dl class='tiles' aria-label='Verdicts over all claims'>{tiles}</dl>"


def _curriculum(entries: list) -> str:
    rows = []
    for entry in entries:
        head, counts = entry.head, totals([entry.ledger]) if entry.ledger else {}
        title = _text(head.title)
        linked = f'<a href="{head.stem}.html">{title}</a>' if entry.executed else title
        notices = "".join(f"<p class='notice'>This notebook {html.escape(n)}</p>" for n in entry.notices)
        badges = " ".join(badge(verdict, count) for verdict, count in counts.items() if count)
        facts = [*(f"{head.minutes} min to read" for _ in range(head.minutes is not None))]
        facts += [f"{_seconds(entry.seconds)} to run"] if entry.seconds is not None else []
        rows.append(
            f'<li><span class="number">{_text(head.number)}</span><div><h3>{linked}</h3>'
            f"<p class='papers'>{_text('; '.join(head.papers))}</p>"
            f"<p class='facts'>{' · '.join(facts)}</p><p class='badges'>{badges}</p>{notices}</div></li>"
        )
    return f"<ol class='curriculum'>{''.join(rows)}</ol>"


def _claims(entry) -> str:
    if not entry.ledger:
        return ""
    heads = ("Claim", "Reported", "Measured", "Control", "Verdict")
    rows = "".join(_row(claim) for claim in entry.ledger)
    title = f"{_text(entry.head.number)} · {_text(entry.head.title)}"
    linked = f'<a href="{entry.head.stem}.html">{title}</a>' if entry.executed else title
    columns = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in heads)
    return (
        f'<h3 id="claims-{_text(entry.head.number)}">{linked}</h3>'
        f'<table class="ledger" role="table"><caption>{len(entry.ledger)} claims of notebook '
        f"{_text(entry.head.number)}</caption><thead role='rowgroup'><tr role='row'>{columns}</tr></thead>"
        f"<tbody role='rowgroup'>{rows}</tbody></table>"
    )


def _row(claim: Claim) -> str:
    reported = claim.reported if isinstance(claim.reported, str) else number(claim.reported)
    paper = _text(cite(claim.paper))
    arxiv = PAPERS[claim.paper].arxiv
    if arxiv:
        paper = f'<a href="https://arxiv.org/abs/{_text(arxiv)}">{paper}</a>'
    control = "–" if claim.control_value is None else f"<b>{number(claim.control_value)}</b>"
    cells = {
        "Reported": f"{_text(reported)} <small>{_text(claim.where)}</small>",
        "Measured": _measured(claim),
        "Control": f"{control} <small>{_text(claim.control)}</small>",
        "Verdict": badge(claim.verdict) + (f" <small>{_text(claim.note)}</small>" if claim.note else ""),
    }
    body = "".join(f'<td role="cell" data-label="{name}">{cell}</td>' for name, cell in cells.items())
    return (
        f'<tr role="row" id="claim-{claim.id}"><th scope="row" role="rowheader">'
        f'<span class="id">{claim.id}</span> '
        f"{_text(claim.says)} <small>{paper}</small></th>{body}</tr>"
    )


def _measured(claim: Claim) -> str:
    if claim.measured is None:
        return "not measured"
    ends = f" <small>[{', '.join(map(number, claim.interval))}]</small>" if claim.interval else ""
    low, high = claim.bar
    bar = f"≤ {number(high)}" if math.isinf(low) else f"≥ {number(low)}"
    if math.isfinite(low) and math.isfinite(high):
        bar = f"{number(low)} to {number(high)}"
    return f"<b>{number(claim.measured)}</b>{ends} <small>holds if {bar}</small>{strip(claim)}"


def _speeds(speeds: dict) -> str:
    """A table of the rows, after a sentence on the machine and what was measured of memory."""
    heads = ("Task", "Against", "Ours, ms", "Theirs, ms", "Ours / theirs", "Bar", "Mode")
    keys = ("name", "peer", "ours_ms", "theirs_ms", "ratio", "bar", "mode")
    lines = ""
    for row in speeds["rows"]:
        cells = [row.get(key) for key in keys]
        texts = [number(c) if isinstance(c, int | float) else _text(str("–" if c is None else c)) for c in cells]
        within = isinstance(row.get("bar"), int | float) and row["ratio"] <= row["bar"]
        texts[5] = ("≤ " + texts[5] + (" ✓" if within else " ✗")) if row.get("bar") is not None else "–"
        lines += f'<tr><th scope="row">{texts[0]}</th>' + "".join(f"<td>{text}</td>" for text in texts[1:]) + "</tr>"
    columns = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        "<p>Medians of alternating runs in one process, after warm-up; a ratio below 1 means that "
        "repgeo is faster. wall2 is wall time on all cores, cpu1 the processor time of one thread. "
        f"Measured on {_text(speeds['machine'])}. {_memory(speeds.get('memory', []))}</p>"
        f"<div class='scroll' tabindex='0'><table class='speeds'><thead><tr>{columns}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _memory(rows: list[dict]) -> str:
    return " ".join(
        f"{_text(row['name'][:1].upper() + row['name'][1:])}: {number(row['value'])} (bar ≤ {number(row['bar'])} "
        f"{'✓' if row['value'] <= row['bar'] else '✗'})."
        for row in rows
    )


def number(value: float) -> str:
    """Three significant digits, with a real minus sign and powers of ten written out."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.2g}".split("e") if "e" in f"{value:.2g}" else f"{value:.1e}".split("e")
    return f"{mantissa}·10<sup>{int(exponent)}</sup>".replace("-", "−")


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value < 100 else f"{value / 60:.0f} min"


def _text(value: str) -> str:
    return html.escape(value)
