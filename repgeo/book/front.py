"""The front page and the frame around a notebook's page, as HTML text."""

import math
import re
from pathlib import Path

from repgeo.book import curriculum
from repgeo.book.headers import Header
from repgeo.book.speeds import summary
from repgeo.book.strip import strip
from repgeo.book.words import number, seconds, text
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


def index(entries: list, measured: dict, *, teaching: bool = False) -> str:
    """Front page: what this is, the ways on, totals of the verdicts, the curriculum, every claim."""
    ledgers = [entry.ledger for entry in entries if entry.ledger]
    heads = [entry.head for entry in entries]
    linked = {entry.head.stem for entry in entries if entry.executed}
    parts = [
        "<header class='cover'><p class='name'>repgeo</p>",
        "<h1>What papers say about the geometry of representations, measured again</h1>",
        "<p class='lead'>Each notebook takes one question, runs the papers’ measures on real and on planted "
        "data beside a control, and writes down what came out. A verdict is computed from the number, its "
        "interval, its control and a bar fixed beforehand.</p></header>",
        _ways(entries, measured, teaching),
        _tiles(totals(ledgers)),
        "<section aria-labelledby='curriculum'><h2 id='curriculum'>Notebooks</h2>",
        "<p class='key'>A line leads down from a notebook to those that need it.</p>" if heads else "",
        f"<div class='scroll' tabindex='0' role='group' aria-label='Map'>{curriculum.drawn(heads, linked)}</div>",
        _curriculum(entries),
        "</section><section aria-labelledby='claims'><h2 id='claims'>Claims</h2>",
        "<p class='key'>In a strip, the shaded part is the bar, the dot is what was measured, the line through it "
        "its interval, and the diamond the control.</p>"
        if ledgers
        else "",
        _filter(ledgers),
        "".join(_claims(entry) for entry in entries) or "<p>No notebook has been executed yet.</p>",
        "</section>",
    ]
    if measured:
        parts += [
            "<section aria-labelledby='speed'><h2 id='speed'>Speed</h2>",
            f"<p>{summary(measured)} <a href='speeds.html'>Every timing, with its bar</a></p></section>",
        ]
    return "\n".join(parts)


def script() -> str:
    """What the front page runs: the filter of its claims, which needs nothing from elsewhere."""
    return (Path(__file__).resolve().parent / "filter.html").read_text(encoding="utf-8")


def _ways(entries: list, measured: dict, teaching: bool) -> str:
    """Links to what a visitor may have come for."""
    guides = [entry.head.stem for entry in entries if entry.executed and "which_measure" in entry.head.stem]
    ways = [("#curriculum", "Notebooks"), ("#claims", "Every claim")]
    ways += [(f"{stem}.html", "Which measure should I use?") for stem in guides]
    ways += [("speeds.html", "Speeds, side by side")] if measured else []
    ways += [("teaching.html", "For instructors")] if teaching else []
    links = "".join(f'<a href="{to}">{words}</a>' for to, words in ways)
    return f"<nav class='ways' aria-label='Ways on'>{links}</nav>"


def _filter(ledgers: list) -> str:
    """A form that `script` shows and reads: one paper, one verdict, or all."""
    claims = [claim for ledger in ledgers for claim in ledger]
    if not claims:
        return ""
    papers = sorted({claim.paper for claim in claims}, key=lambda key: cite(key).lower())
    counts = totals(ledgers)
    choices = {
        "paper": "".join(f'<option value="{text(key)}">{text(cite(key))}</option>' for key in papers),
        "verdict": "".join(f'<option value="{name}">{name} ({counts[name]})</option>' for name in VERDICTS),
    }
    fields = "".join(
        f"<label for='by-{name}'>{name.capitalize()}</label><select id='by-{name}' name='{name}'>"
        f"<option value=''>all</option>{options}</select>"
        for name, options in choices.items()
    )
    return f"<form id='filter' hidden>{fields}<button type='reset'>Show all</button><output id='shown'></output></form>"


def article(entry, body: str, *, before: Header | None, after: Header | None) -> str:
    """A notebook's page: the way back, its sections, the notebook itself, the neighbours."""
    sections = re.findall(r'<h2 id="([^"]+)"[^>]*>(.*?)</h2>', body, flags=re.DOTALL)
    listed = "".join(f'<li><a href="#{key}">{words}</a></li>' for key, words in sections)
    contents = f"<details class='contents'><summary>On this page</summary><ol>{listed}</ol></details>"
    notices = "".join(f"<p class='notice'>This notebook {text(n)}</p>" for n in entry.notices)
    links = [
        f'<a rel="{rel}" href="{head.stem}.html"><span>{word}</span> {text(head.title)}</a>'
        for rel, word, head in (("prev", "Before", before), ("next", "Next", after))
        if head
    ]
    facts = [f"Notebook {text(entry.head.number)}"]
    facts += [f"{entry.head.minutes} minutes to read"] if entry.head.minutes else []
    facts += [f"ran in {seconds(entry.seconds)}"] if entry.seconds is not None else []
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
    rows, heads = [], [entry.head for entry in entries]
    for entry in entries:
        head, counts = entry.head, totals([entry.ledger]) if entry.ledger else {}
        title = text(head.title)
        linked = f'<a href="{head.stem}.html">{title}</a>' if entry.executed else title
        notices = "".join(f"<p class='notice'>This notebook {text(n)}</p>" for n in entry.notices)
        badges = " ".join(badge(verdict, count) for verdict, count in counts.items() if count)
        facts = [*(f"{head.minutes} min to read" for _ in range(head.minutes is not None))]
        facts += [f"{seconds(entry.seconds)} to run"] if entry.seconds is not None else []
        facts += [curriculum.in_words(head, heads)]
        rows.append(
            f'<li><span class="number">{text(head.number)}</span><div><h3>{linked}</h3>'
            f"<p class='papers'>{text('; '.join(head.papers))}</p>"
            f"<p class='facts'>{' · '.join(facts)}</p><p class='badges'>{badges}</p>{notices}</div></li>"
        )
    return f"<ol class='curriculum'>{''.join(rows)}</ol>"


def _claims(entry) -> str:
    if not entry.ledger:
        return ""
    heads = ("Claim", "Reported", "Measured", "Control", "Verdict")
    rows = "".join(_row(claim) for claim in entry.ledger)
    title = f"{text(entry.head.number)} · {text(entry.head.title)}"
    linked = f'<a href="{entry.head.stem}.html">{title}</a>' if entry.executed else title
    columns = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in heads)
    return (
        f'<div class="ledger-of"><h3 id="claims-{text(entry.head.number)}">{linked}</h3>'
        f'<table class="ledger" role="table"><caption>{len(entry.ledger)} claims of notebook '
        f"{text(entry.head.number)}</caption><thead role='rowgroup'><tr role='row'>{columns}</tr></thead>"
        f"<tbody role='rowgroup'>{rows}</tbody></table></div>"
    )


def _row(claim: Claim) -> str:
    reported = claim.reported if isinstance(claim.reported, str) else number(claim.reported)
    paper = text(cite(claim.paper))
    arxiv = PAPERS[claim.paper].arxiv
    if arxiv:
        paper = f'<a href="https://arxiv.org/abs/{text(arxiv)}">{paper}</a>'
    control = "–" if claim.control_value is None else f"<b>{number(claim.control_value)}</b>"
    cells = {
        "Reported": f"{text(reported)} <small>{text(claim.where)}</small>",
        "Measured": _measured(claim),
        "Control": f"{control} <small>{text(claim.control)}</small>",
        "Verdict": badge(claim.verdict) + (f" <small>{text(claim.note)}</small>" if claim.note else ""),
    }
    body = "".join(f'<td role="cell" data-label="{name}">{cell}</td>' for name, cell in cells.items())
    return (
        f'<tr role="row" id="claim-{claim.id}" data-paper="{text(claim.paper)}" '
        f'data-verdict="{claim.verdict}"><th scope="row" role="rowheader">'
        f'<span class="id">{claim.id}</span> '
        f"{text(claim.says)} <small>{paper}</small></th>{body}</tr>"
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
