"""The instructor's page: a Markdown text in which headings, claims and lengths are filled in from the notebooks."""

import re
from pathlib import Path

import nbformat

from repgeo.book.words import seconds, text

LENGTHS = "<!-- lengths -->"
WORDS_A_MINUTE, LINES_A_MINUTE, FIGURE_MINUTES = 200, 30, 1.5


def filled(source: str, entries: list) -> tuple[str, list[str]]:
    """Markdown with a heading "## 01" become title and link, "[01.3]" a link to that claim, and the table of lengths.

    With it what could not be filled in, one sentence each: a notebook or a claim that does not exist.
    """
    heads = {entry.head.number: entry.head for entry in entries}
    claims = {claim.id for entry in entries for claim in entry.ledger or ()}
    said = []

    def heading(found: re.Match) -> str:
        head = heads.get(found[1])
        if head is None:
            said.append(f"no notebook {found[1]}")
            return found[0]
        return f"## [{head.number} · {head.title}]({head.stem}.html)"

    def claim(found: re.Match) -> str:
        if found[1] not in claims:
            said.append(f"no claim {found[1]}")
            return found[0]
        return f"[claim {found[1]}](index.html#claim-{found[1]})"

    source = re.sub(r"^## (\d\d)$", heading, source, flags=re.MULTILINE)
    source = re.sub(r"\[(\d\d\.\d+)\](?!\()", claim, source)
    return source.replace(LENGTHS, lengths(entries)), said


def lengths(entries: list) -> str:
    """HTML table of what each executed notebook holds and how long that takes: counted, beside what it states."""
    heads = ("Notebook", "Words", "Code lines", "Figures", "Exercises, min", "Counted, min", "Stated, min", "Runs in")
    rows = ""
    for entry in entries:
        if entry.executed is None:
            continue
        words, lines, figures, exercises = counted(entry.executed)
        minutes = words / WORDS_A_MINUTE + lines / LINES_A_MINUTE + FIGURE_MINUTES * figures + exercises
        ran = "–" if entry.seconds is None else seconds(entry.seconds)
        cells = (words, lines, figures, exercises, f"{minutes:.0f}", entry.head.minutes or "–", ran)
        named = f"{entry.head.number} · {entry.head.title}"
        rows += f'<tr><th scope="row">{text(named)}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    columns = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return f"<table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>"


def counted(path: Path) -> tuple[int, int, int, int]:
    """Words of prose outside folded text, lines of code but for checks, figures, and minutes the exercises state."""
    cells = nbformat.read(path, as_version=4).cells
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    tasks = [source for source in prose if re.match(r"###\s+Exercise \d", source)]
    read = re.sub(r"<details>.*?</details>", "", "\n".join(prose), flags=re.DOTALL)
    code = [c.source for c in cells if c.cell_type == "code" and "check" not in c.metadata.get("tags", ())]
    lines = sum(bool(line.strip()) for source in code for line in source.splitlines())
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    figures = sum("image/png" in output.get("data", {}) for output in outputs)
    minutes = sum(int(re.search(r"(\d+)\s*min", task)[1]) for task in tasks if re.search(r"\d+\s*min", task))
    return len(read.split()), lines, figures, minutes
