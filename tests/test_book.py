"""Small notebooks become pages: mathematics, figures, tables and folded text are there, nothing is loaded."""

import base64
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from repgeo.book import __main__ as command
from repgeo.book import front, pages
from repgeo.book.execute import run, write_whole
from repgeo.book.headers import END, START, header, refreshed
from repgeo.book.strip import WIDTH, strip
from repgeo.claims import VERDICTS, Claim, Ledger, settle

ROOT = Path(__file__).resolve().parents[1]
DOT = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c63f8ffff3f0300080102ff33c2d8850000000049454e44ae426082"
    )
).decode()

TITLE = "# Are two layers the same?\n\nKornblith et al. 2019 (arXiv:1905.00414), 45 min to read."
MATHS = "## Idea\n\nInline $x^\\top y$ and\n\n$$\\frac{\\lVert Y^\\top X\\rVert_F^2}{\\sqrt{2}}$$\n\n"
MATHS += "| a | b |\n|---|---|\n| 1 | 2 |"
FOLDED = "### Exercise 1\n\n<details><summary>Hint</summary>\n\nUse **$x$**.\n\n</details>\n\n"
FOLDED += "See [it](00_a.ipynb#idea)."


def claims(number=0):
    """One claim for each verdict."""
    shared = {"paper": "kornblith2019", "says": "a < b & c", "reported": "99.3 %", "where": "Table 2"}
    measured = {"measured": 0.97, "control": "chance", "control_value": 0.1}
    return [
        Claim(f"{number:02d}.1", **shared, **measured, interval=(0.95, 0.99), bar=(0.9, 1)),
        Claim(f"{number:02d}.2", **shared, **measured, interval=(0.8, 0.99), bar=(0.9, 1), note="smaller nets"),
        Claim(f"{number:02d}.3", **shared, **measured, bar=(0, 0.5)),
        Claim(f"{number:02d}.4", **shared, measured=2e-7, bar=(0, 1e-5), identity=True),
        Claim(f"{number:02d}.5", **shared),
    ]


def notebook(number=0, first=TITLE):
    table = {"text/html": Ledger(number, tuple(claims(number)))._repr_html_(), "text/plain": "Ledger"}
    cells = [
        new_markdown_cell(first),
        new_markdown_cell(MATHS),
        new_code_cell(
            "draw()  # <b>",
            execution_count=1,
            outputs=[
                new_output("stream", name="stdout", text="plain words\n"),
                new_output("display_data", {"image/png": DOT, "text/plain": "<Figure>"}),
            ],
        ),
        new_code_cell("settle()", execution_count=2, outputs=[new_output("execute_result", table, execution_count=2)]),
        new_markdown_cell(FOLDED),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


NESTED = ("div", "section", "table", "details", "article", "nav", "ol", "li", "dl", "span", "a", "tr")


class Outline(HTMLParser):
    """Resources a page asks for, headings in order, heads of tables, figures, things that must be closed."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.levels, self.heads, self.images, self.open, self.ids = [], [], [], [], [], []
        self.lang = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag in ("link", "iframe", "object", "embed"):
            self.loaded.append(tag)
        if tag != "a":
            self.loaded += [v for k, v in attributes if k in ("src", "srcset", "href", "data", "poster")]
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "th":
            self.heads.append(found.get("scope"))
        if tag == "img":
            self.images.append(found)
        if tag == "html":
            self.lang = found.get("lang")
        if "id" in found:
            self.ids.append(found["id"])
        if tag in NESTED:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in NESTED:
            assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}>"
            self.open.pop()


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    out = tmp_path_factory.mktemp("book")
    (out / "notebooks").mkdir()
    for number, name in enumerate(("00_a", "01_b")):
        nbformat.write(notebook(number), out / "notebooks" / f"{name}.ipynb")
        settle(number, claims(number), folder=out / "claims")
    (out / "notebooks" / "00_a.run.json").write_text('{"key": "", "seconds": 12.4}')
    row = {
        "name": "grid 12 x 12",
        "peer": "NumPy",
        "ours_ms": 10.0,
        "theirs_ms": 50.0,
        "ratio": 0.2,
        "bar": 0.25,
        "mode": "1 thread",
    }
    memory = {"name": "temporaries, MiB", "value": 31.0, "bar": 32}
    measured = {"machine": "2 cores of a test", "rows": [row], "memory": [memory]}
    (out / "measured.json").write_text(json.dumps(measured))
    said = pages.build(notebooks=out / "notebooks", claims=out / "claims", out=out, speeds=out / "measured.json")
    assert said == []
    return {path.stem: path.read_text(encoding="utf-8") for path in out.glob("*.html")}


def test_there_is_a_page_for_each_notebook_a_front_page_and_one_of_speeds(book):
    assert set(book) == {"index", "00_a", "01_b", "speeds"}


@pytest.mark.parametrize("name", ["index", "00_a", "speeds"])
def test_a_page_loads_nothing_and_is_well_formed(book, name):
    outline = Outline(book[name])
    assert [link for link in outline.loaded if not link.startswith("data:")] == []
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:)", book[name])
    assert outline.open == [] and outline.lang == "en"
    assert outline.heads and all(scope in ("col", "row") for scope in outline.heads)
    assert outline.levels[0] == 1 and outline.levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(outline.levels, outline.levels[1:], strict=False)), outline.levels
    assert len(outline.ids) == len(set(outline.ids))


def test_mathematics_is_mathml_and_figures_are_inside_the_page_with_a_text(book):
    page = book["00_a"]
    assert page.count("<math") >= 3 and "<mfrac>" in page and "$$" not in page
    (image,) = Outline(page).images
    assert image["src"] == f"data:image/png;base64,{DOT}" and image["alt"]


def test_folded_text_is_folded_and_rendered_and_code_and_output_are_shown(book):
    page = book["00_a"]
    fold = re.search(r"<details>.*?Hint.*?</details>", page, flags=re.DOTALL)[0]
    assert "<strong>" in fold and "<math" in fold
    assert "plain words" in page and "draw()" in page and "&lt;b&gt;" in page


def test_outputs_in_markdown_are_rendered_each_in_its_place(tmp_path):
    source, said = notebook(), ["**bold** $x^2$", "| a | b |\n|---|---|\n| 7 | 8 |"]
    outputs = [new_output("display_data", {"text/markdown": t, "text/plain": "<Markdown object>"}) for t in said]
    source.cells[2].outputs[1:1] = outputs
    nbformat.write(source, tmp_path / "00_a.ipynb")
    settle(0, claims(), folder=tmp_path)
    assert pages.build(notebooks=tmp_path, claims=tmp_path, out=tmp_path / "out") == []
    page = (tmp_path / "out" / "00_a.html").read_text(encoding="utf-8")
    order = ("plain words", "<strong>bold</strong> <math", ">7</td>", "data:image/png", "settle")
    places = [page.index(text) for text in order]
    assert places == sorted(places) and "Markdown object" not in page
    assert Outline(page).open == []


def test_links_between_notebooks_lead_to_pages(book):
    assert 'href="00_a.html#idea"' in book["01_b"] and ".ipynb" not in book["01_b"]
    assert 'rel="next" href="01_b.html"' in book["00_a"] and 'rel="prev" href="00_a.html"' in book["01_b"]


def test_the_front_page_holds_every_claim_with_its_numbers_and_verdict(book):
    page = book["index"]
    for claim in [*claims(0), *claims(1)]:
        row = re.search(rf'<tr role="row" id="claim-{re.escape(claim.id)}".*?</tr>', page, flags=re.DOTALL)[0]
        assert front.badge(claim.verdict) in row
        assert "a &lt; b &amp; c" in row and "99.3 %" in row and "Table 2" in row and "1905.00414" in row
    assert "<b>0.97</b> <small>[0.95, 0.99]</small>" in page and "2·10<sup>−7</sup>" in page
    assert "not measured" in page and "smaller nets" in page


def test_the_totals_count_every_verdict_in_words(book):
    tiles = re.findall(r'<dt><span aria-hidden="true">.</span> ([\w ]+)</dt><dd><b>(\d+)</b>', book["index"])
    assert dict(tiles) == dict.fromkeys(VERDICTS, "2")


def test_the_front_page_gives_papers_minutes_run_time_and_the_way_to_speeds(book):
    page = book["index"]
    assert "Kornblith et al. 2019" in page and "45 min to read" in page and "12 s to run" in page
    assert "faster than its peer in 1 of 1 timings" in page and 'href="speeds.html"' in page
    speeds = book["speeds"]
    assert "grid 12 x 12" in speeds and "≤ 0.25 ✓ held" in speeds and "2 cores of a test" in speeds
    assert "Temporaries, MiB" in speeds and "≤ 32 ✓ held" in speeds


def test_missing_outputs_missing_claims_and_a_failed_notebook_are_said(tmp_path):
    bare = notebook()
    for cell in bare.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for folder, name in (("done", "00_a"), ("sources", "00_a"), ("sources", "01_b")):
        (tmp_path / folder).mkdir(exist_ok=True)
        nbformat.write(bare, tmp_path / folder / f"{name}.ipynb")
    said = pages.build(
        notebooks=tmp_path / "done",
        claims=tmp_path / "none",
        out=tmp_path / "out",
        sources=tmp_path / "sources",
    )
    text = "\n".join(said)
    assert "00_a: has no outputs" in text and "01_b: was not executed" in text
    assert "00_a: has no claims file 00.json" in text
    index = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "has no outputs" in index and "was not executed" in index
    assert not (tmp_path / "out" / "01_b.html").exists()


def test_a_folder_without_notebooks_gives_a_front_page_that_says_so(tmp_path):
    said = pages.build(notebooks=tmp_path, claims=tmp_path, out=tmp_path / "out")
    assert said == [f"no notebooks in {tmp_path}: the report has a front page only"]
    assert "No notebook has been executed yet" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "cell", ["![a figure](https://example.org/a.png)", '<img width="3" src="http://example.org/a.png">',
             '<script src="x.js"></script>', "<style>@import 'a.css'</style>"]
)  # fmt: skip
def test_a_page_that_would_load_something_is_refused_by_name(tmp_path, cell):
    wide = notebook()
    wide.cells.append(new_markdown_cell(cell))
    nbformat.write(wide, tmp_path / "00_a.ipynb")
    with pytest.raises(ValueError, match="00_a|Are two layers.*elsewhere"):
        pages.build(notebooks=tmp_path, claims=tmp_path, out=tmp_path / "out")


def test_a_formula_that_cannot_be_shown_is_named(tmp_path):
    odd = notebook()
    odd.cells.append(new_markdown_cell("$\\nosuch{x}$"))
    nbformat.write(odd, tmp_path / "00_a.ipynb")
    settle(0, claims(), folder=tmp_path)
    (said,) = pages.build(notebooks=tmp_path, claims=tmp_path, out=tmp_path / "out")
    assert said.startswith("00_a: Could not convert TeX math \\nosuch{x}")


def test_a_header_gives_title_papers_and_minutes_and_a_file_that_is_none_is_refused(tmp_path):
    nbformat.write(notebook(), tmp_path / "07_x.ipynb")
    head = header(tmp_path / "07_x.ipynb")
    assert (head.number, head.title, head.minutes) == ("07", "Are two layers the same?", 45)
    assert head.papers == ("Kornblith et al. 2019",)
    (tmp_path / "08_y.ipynb").write_text("no notebook")
    with pytest.raises(ValueError, match="08_y.ipynb: not a notebook"):
        header(tmp_path / "08_y.ipynb")


def test_the_table_of_the_readme_lies_between_its_markers(tmp_path):
    nbformat.write(notebook(), tmp_path / "00_a.ipynb")
    settle(0, claims(), folder=tmp_path / "claims")
    text = refreshed(f"before\n{START}\nold\n{END}\nafter", tmp_path)
    row = "| 00 | [Are two layers the same?](notebooks/00_a.ipynb) | Kornblith et al. 2019 "
    assert row + "| 1 reproduced, 1 partly, 1 not here, 1 identity, 1 open | 45 |" in text
    assert text.startswith("before\n") and text.endswith("\nafter") and "old" not in text
    assert refreshed(text, tmp_path) == text
    with pytest.raises(ValueError, match="markers"):
        refreshed("no markers", tmp_path)


@pytest.mark.parametrize(
    "value, text",
    [
        (0.9734, "0.973"),
        (-2.0, "−2"),
        (12345.6, "12346"),
        (1.2e-7, "1.2·10<sup>−7</sup>"),
        (3e9, "3·10<sup>9</sup>"),
    ],
)
def test_numbers_read_as_in_a_paper(value, text):
    assert front.number(value) == text


def test_notebooks_run_apart_from_each_other_and_only_when_something_changed(tmp_path, capsys):
    """A failing one is named and keeps nobody back; an unchanged one is left alone."""
    source, out = tmp_path / "notebooks", tmp_path / "build"
    source.mkdir()
    write = "import os, pathlib; pathlib.Path(os.environ['REPGEO_LEDGER'], '01.json').write_text('{}')  # settle("
    sources = {"00_bad": "print('to the log')\n1 / 0", "01_good": f"{write}\nprint('well')"}
    for name, code in sources.items():
        nbformat.write(new_notebook(cells=[new_code_cell(code)]), source / f"{name}.ipynb")
    before = {path: path.read_bytes() for path in source.iterdir()}

    def go():
        folders = {"out": out / "notebooks", "ledger": out / "claims", "logs": out / "logs"}
        failures = run(sorted(source.glob("*.ipynb")), **folders, roots=[source])
        return failures, capsys.readouterr().out

    failures, said = go()
    assert len(failures) == 1 and failures[0].startswith("00_bad failed: ZeroDivisionError: division by zero; see ")
    assert "notebook 2 of 2: 01_good" in said and failures[0] in said.splitlines()
    assert "1 / 0" in (out / "logs" / "00_bad.log").read_text()
    assert (out / "claims" / "01.json").exists() and not (out / "notebooks" / "00_bad.ipynb").exists()
    done = nbformat.read(out / "notebooks" / "01_good.ipynb", as_version=4)
    assert done.cells[0].outputs[0].text == "well\n" and "execution" not in done.cells[0].metadata
    assert before == {path: path.read_bytes() for path in source.iterdir()}

    assert "01_good" not in go()[1]
    (out / "claims" / "01.json").unlink()
    assert "01_good" in go()[1]


def test_an_unknown_notebook_is_refused_with_the_names_there_are(capsys):
    assert command.main(["run", "99"]) == 1
    assert "no notebook 99; there are " in capsys.readouterr().err


@pytest.mark.parametrize("bar", [(0.9, 1), (0.9, math.inf), (-math.inf, 0.5)])
def test_a_strip_puts_value_interval_and_control_where_they_belong(bar):
    shared = {"paper": "kornblith2019", "says": "x", "reported": "1", "where": "here", "note": "smaller"}
    claim = Claim("00.1", **shared, measured=0.95, interval=(0.93, 0.97), control="c", control_value=0.1, bar=bar)
    drawn = strip(claim)
    start, wide = (float(v) for v in re.search(r'class="bar" x="([\d.]+)" y="2" width="([\d.]+)"', drawn).groups())
    dot = float(re.search(r'cx="([\d.]+)"', drawn)[1])
    left, right = (float(v) for v in re.search(r'"interval" d="M([\d.]+) \S+H([\d.]+)"', drawn).groups())
    control = float(re.search(r'"control" d="M([\d.]+)', drawn)[1])
    assert 0 <= start < start + wide <= WIDTH and control < left < dot < right
    assert (start <= dot <= start + wide) == (bar[0] <= 0.95 <= bar[1])
    assert (start <= control <= start + wide) == (bar[0] <= 0.1 <= bar[1])


def test_a_claim_that_was_not_measured_has_no_strip():
    assert strip(claims()[-1]) == "" and "<svg" in strip(claims()[0])


def test_a_full_disk_leaves_the_file_that_was_there_and_no_draft(tmp_path, monkeypatch):
    write_whole(tmp_path / "a.html", "before")

    def full(path, text, encoding):
        with path.open("w", encoding=encoding) as out:
            out.write(text[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a.html", "afterwards")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"] and (tmp_path / "a.html").read_text() == "before"
