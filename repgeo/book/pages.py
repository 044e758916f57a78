"""Executed notebooks and their ledger as pages that open from the file system and load nothing else.

Mathematics becomes MathML and figures become part of the page; pandoc does both.
"""

import html
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from string import Template

import nbformat
import pypandoc

from repgeo.book import front, teaching
from repgeo.book.execute import write_whole
from repgeo.book.headers import Header, header
from repgeo.book.speeds import speeds as speed_page
from repgeo.claims import Ledger, read

HERE = Path(__file__).resolve().parent
_LOADS = re.compile(
    r"""<(?:script|link|iframe|object|embed)\b|@import|\burl\(\s*['"]?(?!data:)\w*:?//"""
    r"""|<(?:img|source|video|audio|image)\b[^>]*?\s(?:src|srcset|href)\s*=\s*(?:"(?!data:)|'(?!data:)|(?!["']|data:))""",
    flags=re.IGNORECASE,
)
_BETWEEN = "\n\n<!-- next output -->\n\n"


@dataclass(frozen=True)
class Entry:
    """One notebook in the book: its header, its executed copy and ledger where there are any, its notices."""

    head: Header
    executed: Path | None
    ledger: Ledger | None
    seconds: float | None
    notices: tuple[str, ...]


def build(
    *, notebooks: Path, claims: Path, out: Path, sources: Path | None = None, speeds: Path | None = None
) -> list[str]:
    """Sentences about what is missing or could not be shown; the pages lie in `out`, index.html first.

    `notebooks` holds the executed notebooks, `claims` their ledgers NN.json; a notebook of `sources` that
    is not among them is listed as not executed. `speeds`, the file that the benchmarks write, becomes the page
    speeds.html, and `teaching.md` beside the notebooks' sources the page teaching.html.
    Raises ValueError if a page would load something from elsewhere, naming page and place.
    """
    entries = [_entry(path, notebooks, claims) for path in _paths(notebooks, sources)]
    said = [f"{entry.head.stem}: {notice}" for entry in entries for notice in entry.notices]
    if not entries:
        said.append(f"no notebooks in {notebooks}: the report has a front page only")
    out.mkdir(parents=True, exist_ok=True)
    shown = [entry for entry in entries if entry.executed]
    for place, entry in enumerate(shown):
        body, warnings = _body(entry.executed)
        said += [f"{entry.head.stem}: {warning}" for warning in warnings]
        around = [shown[i].head if 0 <= i < len(shown) else None for i in (place - 1, place + 1)]
        content = front.article(entry, body, before=around[0], after=around[1])
        write_whole(out / f"{entry.head.stem}.html", page(entry.head.title, content, kind="notebook"))
    measured = json.loads(speeds.read_text(encoding="utf-8")) if speeds and speeds.exists() else {}
    if measured:
        write_whole(out / "speeds.html", page("Speeds", speed_page(measured), kind="front speeds"))
    guide = (sources or notebooks) / "teaching.md"
    if guide.exists():
        source, missing = teaching.filled(guide.read_text(encoding="utf-8"), entries)
        body, warnings = _pandoc(source, "markdown")
        said += [f"teaching.md: {words}" for words in (*missing, *warnings.splitlines())]
        body = f"<nav class='top' aria-label='Book'><a href='index.html'>← All notebooks</a></nav>{_finished(body)}"
        write_whole(out / "teaching.html", page("For instructors", body, kind="notebook"))
    content = front.index(entries, measured, teaching=guide.exists())
    write_whole(out / "index.html", page("repgeo", content, kind="front", script=front.script()))
    return said


def page(title: str, content: str, *, kind: str, script: str = "") -> str:
    """A whole HTML page with stylesheet and `script` inside it; ValueError if its content would load something."""
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    style = (HERE / "book.css").read_text(encoding="utf-8")
    footer = " · every number on these pages was computed by the notebooks of this copy."
    parts = {"title": html.escape(title), "style": style, "content": content, "kind": kind, "footer": footer}
    text = template.substitute(parts, script="")
    found = _LOADS.search(re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.DOTALL))
    if found:
        raise ValueError(f"page '{title}' would load from elsewhere at: {found[0][:80]} ...")
    return template.substitute(parts, script=script)


def _paths(notebooks: Path, sources: Path | None) -> list[Path]:
    found = {path.stem: path for path in (sources.glob("*.ipynb") if sources else ())}
    found |= {path.stem: path for path in notebooks.glob("*.ipynb")}
    return [found[stem] for stem in sorted(found)]


def _entry(path: Path, notebooks: Path, claims: Path) -> Entry:
    head, notices = header(path), []
    executed = path if path.parent == notebooks else None
    if executed is None:
        notices.append(f"was not executed; build/logs/{path.stem}.log says why if it was tried.")
    else:
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        if cells and not any(cell.execution_count for cell in cells):
            notices.append("has no outputs; `make notebooks` executes it.")
    file = claims / f"{head.number}.json"
    if not file.exists():
        notices.append(f"has no claims file {file.name}; `make notebooks` writes it.")
    try:
        seconds = json.loads((notebooks / f"{path.stem}.run.json").read_text())["seconds"]
    except (OSError, ValueError, KeyError):
        seconds = None
    return Entry(head, executed, read(file) if file.exists() else None, seconds, tuple(notices))


def _body(path: Path) -> tuple[str, list[str]]:
    """The notebook as an HTML fragment, and what pandoc could not show, one sentence each."""
    away = re.search(r"!\[[^\]]*\]\(\s*https?:[^)]*|<img[^>]+src=.?.?https?:[^ ]*", path.read_text("utf-8"))
    if away:
        raise ValueError(f"{path.name}: a figure is loaded from elsewhere: {away[0][:120]}")
    notebook = nbformat.read(path, as_version=4)
    try:
        said = _render_outputs(notebook)
        body, more = _pandoc(nbformat.writes(notebook), "ipynb+markdown_in_html_blocks")
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    warnings = [" ".join(part.split()) for part in (said + more).split("[WARNING]") if part.strip()]
    return _finished(body), warnings


def _render_outputs(notebook: nbformat.NotebookNode) -> str:
    """Give Markdown outputs an HTML form, since pandoc shows an output's HTML, figure or plain text; its warnings."""
    datas = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    datas = [data for data in datas if "text/markdown" in data and "text/html" not in data]
    if not datas:
        return ""
    rendered, said = _pandoc(_BETWEEN.join(data["text/markdown"] for data in datas), "markdown")
    for data, text in zip(datas, rendered.split(_BETWEEN.strip()), strict=True):
        data["text/html"] = text
    return said


def _pandoc(text: str, source: str) -> tuple[str, str]:
    """`text` as HTML, and what pandoc says about it; ValueError when it fails."""
    options = [f"--from={source}", "--to=html5", "--mathml", "--embed-resources", "--wrap=none"]
    command = [pypandoc.get_pandoc_path(), *options]
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise ValueError(f"pandoc failed: {done.stderr.strip()}")
    return done.stdout, done.stderr


def _finished(body: str) -> str:
    """Tables, code and formulas that scroll by keyboard too, heads with a scope, figures with a text, links."""
    body = re.sub(r"<th\b[^>]*>\s*</th>", "<td></td>", body)  # a corner is no head of anything
    body = re.sub(r"<th(?=[\s>])(?![^>]*\bscope=)", '<th scope="col"', body)
    body = body.replace("<table", '<div class="scroll" tabindex="0"><table').replace("</table>", "</table></div>")
    formula = r'<span class="formula" tabindex="0">\g<0></span>'
    body = re.sub(r'<math display="block".*?</math>', formula, body, flags=re.DOTALL)
    body = re.sub(r"<pre(?![^>]*\btabindex=)", '<pre tabindex="0"', body)
    body = re.sub(r'<img role="img"(?![^>]*\balt=)', '<img alt="Figure drawn by the code above."', body)
    return re.sub(r'href="(?:\./)?([\w.-]+)\.ipynb(#[^"]*)?"', r'href="\1.html\2"', body)
