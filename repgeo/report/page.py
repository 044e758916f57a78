"""The page: one HTML file with its style and figures inside, and nothing to load."""

import base64
import html
from pathlib import Path
from string import Template

from repgeo.report.parts import Figure, Part, Section, Table

HERE = Path(__file__).resolve().parent
BOOK = HERE.parent / "book"  # whose head and style these pages share


def page(
    title: str,
    heading: str,
    files: Table,
    notes: list[str],
    done: list[tuple[Section, Part | None, list[str]]],
    *,
    version: str,
    seed: int,
) -> str:
    """The whole page; `done` has each section, what it found or None, and what is to be said about it."""
    links = "".join(
        f'<li><a href="#{s.name}">{html.escape(s.title)}</a>{"" if part else " (could not run)"}</li>\n'
        for s, part, _ in done
    )
    content = [
        f"<h1>{html.escape(heading)}</h1>",
        *(f"<p>{html.escape(note)}</p>" for note in notes),
        _table(files),
        f'<nav class="contents" aria-label="Sections"><ol>\n{links}</ol></nav>',
        *(_section(*one) for one in done),
    ]
    style = "".join(path.read_text(encoding="utf-8") for path in (BOOK / "book.css", HERE / "report.css"))
    footer = f" {html.escape(version)} · every number here was computed from the files named above, with seed {seed}."
    return Template((BOOK / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title), style=style, kind="own", content="\n".join(content), footer=footer, script=""
    )


def _section(section: Section, part: Part | None, said: list[str]) -> str:
    inside = [f'<section id="{section.name}">', f"<h2>{html.escape(section.title)}</h2>"]
    for item in part.shown if part else ():
        inside.append({str: _paragraph, Table: _table, Figure: _figure}[type(item)](item))
    inside += [f'<p class="notice">{html.escape(line)}</p>' for line in said]
    return "\n".join([*inside, "</section>"])


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in table.head)
    rows = "".join(
        f'<tr><th scope="row">{_cell(first)}</th>' + "".join(f"<td>{_cell(cell)}</td>" for cell in cells) + "</tr>\n"
        for first, *cells in table.rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(table.caption.split(".")[0])}">'
        f"<table><caption>{html.escape(table.caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}"
        f"</tbody></table></div>"
    )


def _cell(text: str) -> str:
    """A cell as HTML; a second line of it is set smaller."""
    first, _, second = text.partition("\n")
    return html.escape(first) + (f"<small>{html.escape(second)}</small>" if second else "")


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.png).decode()
    return (
        f'<figure><img alt="{html.escape(figure.alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(figure.caption)}</figcaption></figure>"
    )
