"""What a notebook says about itself in its first cell, and the table of notebooks made from that."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from repgeo.claims import read, totals
from repgeo.papers import PAPERS, cite

START, END = "<!-- notebooks: start -->", "<!-- notebooks: end -->"


@dataclass(frozen=True)
class Header:
    """The first cell of a notebook: number and stem of its file, title, arXiv ids, minutes to read it.

    `needs` are the numbers of the notebooks that the paragraph "You need" names before its first semicolon or full
    stop, remarks in brackets left out.
    """

    number: str
    stem: str
    title: str
    arxiv: tuple[str, ...]
    minutes: int | None
    needs: tuple[str, ...] = ()

    @property
    def papers(self) -> tuple[str, ...]:
        """Authors and year where the bibliography knows the arXiv id, otherwise the id."""
        known = {paper.arxiv: cite(key).split(", arXiv")[0] for key, paper in PAPERS.items()}
        return tuple(known.get(key, f"arXiv:{key}") for key in self.arxiv)


def header(path: str | os.PathLike) -> Header:
    """Header of the notebook at `path`; a first cell without a title gives the file's stem as title.

    Raises ValueError on a file that is no notebook.
    """
    path = Path(path)
    try:
        cells = nbformat.read(path, as_version=4).cells
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError) as error:
        raise ValueError(f"{path}: not a notebook ({type(error).__name__})") from error
    first = cells[0].source if cells and cells[0].cell_type == "markdown" else ""
    title = re.search(r"^#\s+(.+?)\s*$", first, flags=re.MULTILINE)
    minutes = re.search(r"(\d+)\s*min", first)
    needed = re.search(r"^\*\*You need\*\*(.*)", first, flags=re.MULTILINE)
    needed = re.split(r"[;.]", re.sub(r"\(.*?\)", "", needed[1]))[0] if needed else ""
    return Header(
        number=path.stem.split("_")[0],
        stem=path.stem,
        title=re.sub(r"[`*$]", "", title[1]) if title else path.stem,
        arxiv=tuple(dict.fromkeys(re.findall(r"\b\d{4}\.\d{5}\b", first))),
        minutes=int(minutes[1]) if minutes else None,
        needs=tuple(dict.fromkeys(re.findall(r"\b\d\d\b", needed))),
    )


def table(notebooks: Path) -> str:
    """Markdown table of the notebooks in a folder: question, papers, verdicts of its ledger, minutes."""
    rows = ["| | question | papers | verdicts | minutes |", "|---|---|---|---|---|"]
    for path in sorted(notebooks.glob("*.ipynb")):
        head = header(path)
        ledger = notebooks / "claims" / f"{head.number}.json"
        counts = totals([read(ledger)]) if ledger.exists() else {}
        papers = head.papers if len(head.papers) <= 3 else (*head.papers[:2], f"{len(head.papers) - 2} more")
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        rows.append(
            f"| {head.number} | [{head.title}](notebooks/{path.name}) | {', '.join(papers)} "
            f"| {verdicts or '–'} | {head.minutes or '–'} |"
        )
    return "\n".join(rows)


def refreshed(readme: str, notebooks: Path) -> str:
    """Text of the README with the table between its two markers made anew; ValueError without markers."""
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"README.md: expected the markers {START} and {END}")
    return f"{before}{START}\n{table(notebooks)}\n{END}{after}"
