"""The report of the committed notebooks: links that lead somewhere, a structure that can be read aloud, contrast."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from repgeo.book import curriculum, pages, speeds, teaching
from repgeo.book.headers import Header, header
from repgeo.claims import VERDICTS, read

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
MEASURED = ROOT / "tests" / "benchmarks" / "measured.json"
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LIGHT, DARK = ("paper", "raised"), ("ink", "quiet", "link", "keyword", "string", "comment", "value", "name")


class Page(HTMLParser):
    """What a screen reader and a keyboard need of a page, gathered in one pass; `text` of an element by its place."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.images, self.fields, self.labels, self.scripts = [], [], [], [], [], []
        self.levels, self.heads, self.named, self.scrolls, self.landmarks, self.open = [], [], [], [], [], []
        self.lang, self.title = None, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.named += [found[k] for k in ("aria-labelledby", "aria-describedby") if k in found]
        self.lang = found.get("lang") if tag == "html" else self.lang
        self.levels += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.images += [found] if tag == "img" else []
        self.fields += [found.get("id")] if tag in ("select", "input", "textarea") else []
        self.labels += [found.get("for")] if tag == "label" else []
        self.scripts += [found] if tag == "script" else []
        self.landmarks += [(tag, found.get("aria-label"))] if tag in ("nav", "main") else []
        if tag == "pre" or {"scroll", "formula"} & set(found.get("class", "").split()):
            self.scrolls.append(found.get("tabindex"))
        if tag not in VOID:
            self.open.append((tag, found, []))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_data(self, data):
        for _, _, words in self.open:
            words.append(data)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        closed, found, words = self.open.pop()
        assert closed == tag, f"</{tag}> closes <{closed}>"
        said = "".join(words).strip()
        if tag == "a":
            self.links.append((found.get("href"), said, found.get("aria-hidden"), found.get("tabindex")))
        if tag == "th":
            self.heads.append((found.get("scope"), said))
        if tag == "title":
            self.title = said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    said = pages.build(notebooks=FOLDER, claims=FOLDER / "claims", out=out, sources=FOLDER, speeds=MEASURED)
    assert said == [], "the committed notebooks become pages without a complaint"
    return out


@pytest.fixture(scope="module")
def report(folder):
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.html"))}


def test_the_report_has_a_page_for_each_notebook_one_of_speeds_and_one_for_instructors(report):
    assert set(report) == {f"{p.stem}.html" for p in FOLDER.glob("*.ipynb")} | {
        "index.html", "speeds.html", "teaching.html"
    }  # fmt: skip


def test_every_relative_link_of_the_report_leads_to_a_page_and_a_place_on_it(report):
    count = 0
    for name, page in report.items():
        for href, _, _, _ in page.links:
            if href is None or re.match(r"https?://|mailto:", href):
                continue
            target, _, place = href.partition("#")
            assert not target or target in report, f"{name} links to {href}, which is not in the report"
            assert not place or place in report[target or name].ids, f"{name} links to {href}: no such place"
            count += 1
    assert count > 100


def test_every_figure_of_the_report_is_a_picture_inside_its_page(report):
    for name, page in report.items():
        for image in page.images:
            kind, _, content = image["src"].partition(";base64,")
            assert kind == "data:image/png", f"{name}: {image['src'][:60]}"
            assert base64.b64decode(content, validate=True).startswith(b"\x89PNG"), name


def test_every_link_of_the_readme_leads_to_a_file_or_away():
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    for link in links:
        assert re.match(r"https?://|#", link) or (ROOT / link.partition("#")[0]).exists(), link


def test_a_page_can_be_read_aloud_and_used_by_keyboard(report):
    """Language, title, one first heading, no level left out, texts for figures, links, heads of tables and fields."""
    for name, page in report.items():
        assert page.open == [] and page.lang == "en" and page.title, name
        assert page.levels[0] == 1 and page.levels.count(1) == 1, f"{name}: {page.levels}"
        steps = zip(page.levels, page.levels[1:], strict=False)
        assert all(after <= before + 1 for before, after in steps), f"{name}: {page.levels}"
        assert len(page.ids) == len(set(page.ids)), f"{name}: an id occurs twice"
        assert set(page.named) <= set(page.ids), f"{name}: a name is taken from an id that is not there"
        assert all(image.get("alt") for image in page.images), f"{name}: a figure has no text"
        assert all(scope in ("col", "row") and said for scope, said in page.heads), f"{name}: {page.heads}"
        for href, said, hidden, place in page.links:
            assert said or (hidden == "true" and place == "-1"), f"{name}: the link to {href} has no text"
        assert set(page.fields) <= set(page.labels), f"{name}: a field has no label"
        assert all(place == "0" for place in page.scrolls), f"{name}: what scrolls cannot be reached by keyboard"
        assert [tag for tag, _ in page.landmarks].count("main") == 1
        navs = [label for tag, label in page.landmarks if tag == "nav"]
        assert all(navs) and len(navs) == len(set(navs)), f"{name}: {navs}"


def palettes():
    """Colours of the stylesheet by name: for light screens, dark screens and paper."""
    style = (ROOT / "repgeo" / "book" / "book.css").read_text(encoding="utf-8")
    found = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block)) for block in re.findall(r":root \{.*?\}", style, re.S)
    ]
    assert len(found) == 3
    return found


def contrast(one, other):
    """Ratio of relative luminances, as WCAG 2 defines it."""

    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_the_one_of_the_standard():
    assert contrast("#fff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("which", range(3), ids=["light", "dark", "paper"])
def test_every_ink_stands_out_from_every_ground(which):
    colours = palettes()[which]
    inks = [*DARK, *(verdict.replace(" ", "-") for verdict in VERDICTS)]
    for ink in inks:
        for ground in LIGHT:
            ratio = contrast(colours[ink], colours[ground])
            assert ratio >= 4.5, f"{ink} on {ground}: {ratio:.2f}"


def test_the_claims_can_be_filtered_by_every_paper_and_verdict_and_are_all_there_without_a_script(folder, report):
    text = (folder / "index.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr role="row" id="claim-([\d.]+)" data-paper="(\w+)" data-verdict="([\w ]+)">', text)
    ledgers = [read(path) for path in sorted((FOLDER / "claims").glob("*.json"))]
    assert rows == [(claim.id, claim.paper, claim.verdict) for ledger in ledgers for claim in ledger]
    form = re.search(r"<form id='filter' hidden>.*?</form>", text, flags=re.DOTALL)[0]
    offered = set(re.findall(r"<option value=\"([\w ]+)\">", form))
    assert offered == {paper for _, paper, _ in rows} | set(VERDICTS)
    assert [name for name, page in report.items() if page.scripts] == ["index.html"]
    (script,) = report["index.html"].scripts
    assert script == {}, "the one script stands in the page"
    code = re.search(r"<script>.*?</script>", text, flags=re.DOTALL)[0]
    assert not re.search(r"fetch|import|XMLHttp|https?:|eval|innerHTML", code)


def heads(**needs):
    return [Header(n[1:], f"{n[1:]}_x", f"Title <{n[1:]}>", (), 30, tuple(own)) for n, own in needs.items()]


def test_the_map_leaves_out_steps_that_others_imply_and_notebooks_that_nobody_has():
    some = heads(n00=(), n01=("00",), n02=("00", "01", "77"), n03=("02", "01", "00"))
    needs = curriculum.before(some)
    assert needs == {"00_x": (), "01_x": ("00_x",), "02_x": ("01_x",), "03_x": ("02_x",)}
    assert curriculum.depths(needs) == {"00_x": 0, "01_x": 1, "02_x": 2, "03_x": 3}
    assert curriculum.in_words(some[3], some) == "after 02" and curriculum.in_words(some[0], some) == "needs no other"
    with pytest.raises(ValueError, match="circle: 00_x -> 01_x -> 00_x"):
        curriculum.depths(curriculum.before(heads(n00=("01",), n01=("00",))))


def test_the_map_draws_every_notebook_once_and_a_line_for_each_need():
    some = heads(n00=(), n01=("00",), n02=("00",), n03=("01", "02"))
    drawn = curriculum.drawn(some, {"00_x", "01_x", "02_x"})
    assert drawn.count("<rect") == 4 and drawn.count("class='way'") == 4 and "Title &lt;03&gt;" in drawn
    assert re.findall(r"<a href='(\w+).html'", drawn) == ["00_x", "01_x", "02_x"] and "class='away'" in drawn
    corners = [tuple(map(int, c)) for c in re.findall(r"<rect x='(\d+)' y='(\d+)'", drawn)]
    assert len(set(corners)) == 4
    for x, y in corners:  # boxes of one row stand apart
        assert not [u for u, v in corners if v == y and 0 < abs(u - x) < curriculum.WIDE]
    assert curriculum.drawn([], set()) == ""


def test_the_map_of_the_report_starts_with_notebook_00_and_needs_what_the_first_cells_say(tmp_path):
    found = [header(path) for path in sorted(FOLDER.glob("*.ipynb"))]
    needs = {head.number: head.needs for head in found}
    assert needs["00"] == () and needs["12"] == ("00", "03") and "00" in needs["01"]
    numbers = set(needs)
    assert all(set(own) <= numbers for own in needs.values()), "a notebook needs one that is not there"
    depths = curriculum.depths(curriculum.before(found))
    assert depths["00_reading_an_embedding_matrix"] == 0 and max(depths.values()) >= 3


ROW = {"room": "a", "name": "n", "peer": "p", "ours_ms": 1.0, "theirs_ms": 2.0, "mode": "wall2"}


def test_a_bar_holds_up_to_its_value_and_a_miss_is_told_from_it_in_print():
    said = [speeds.verdict(ROW | {"ratio": ratio, "bar": bar}) for ratio, bar in ((0.5, 0.5), (0.51, 0.5), (3, None))]
    assert said == ["held", "missed", "no bar"]
    row = ROW | {"ratio": 1.105, "bar": 1.1}
    page = speeds.speeds({"machine": "a & b", "rows": [row, ROW | {"ratio": 0.1, "peer": "our loop"}]})
    assert "1.105, bar ≤ 1.1" in page and "a &amp; b" in page and "✗ missed" in page
    assert "in 0 of 1 timings; 1 more compare it with itself. Of 1 bars" in page


def test_a_task_stands_beside_the_least_that_it_takes():
    more = {"floor": "a < b", "gflop": 2.0, "floor_ms": 0.25, "share": 0.25, "first_ms": 90.0, "ratio": 0.5, "bar": 1}
    tops = {"wall2": {"float32": 8e12, "float64": 4e12, "bytes": 3e9}}
    page = speeds.speeds({"machine": "m", "rows": [ROW | more, ROW | more | {"peer": "q"}], "ceilings": tops})
    part = page[page.index("id='ceilings'"):]
    assert "8000 and 4000 GFLOP/s" in part and "3 GB/s" in part and "<b>25 %</b>" in part and "a &lt; b" in part
    assert part.count("<tr><th scope='row'>") == 1
    assert "id='ceilings'" not in speeds.speeds({"machine": "m", "rows": [ROW | {"ratio": 0.5, "bar": 1}]})


def test_every_bar_that_was_missed_is_named_and_every_timing_is_in_the_figure(folder):
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    text = (folder / "speeds.html").read_text(encoding="utf-8")
    missed = [row for row in measured["rows"] if "bar" in row and row["ratio"] > row["bar"]]
    missed += [row for row in measured["memory"] if row["value"] > row["bar"]]
    named = re.search(r"<ul class='missed'>.*?</ul>", text, flags=re.DOTALL)
    assert (named[0].count("<li>") if named else 0) == len(missed)
    figure = re.search(r"<svg class='ratios'.*?</svg>", text, flags=re.DOTALL)[0]
    assert figure.count("class='mark ") == len(measured["rows"])
    assert figure.count("mark missed") == sum("ratio" in row for row in missed)
    assert measured["machine"] in text


def test_the_instructors_page_gives_plans_misconceptions_and_questions_and_names_what_does_not_exist(report):
    source = (FOLDER / "teaching.md").read_text(encoding="utf-8")
    numbers = [path.stem.split("_")[0] for path in sorted(FOLDER.glob("[0-9]*.ipynb"))]
    spoken = re.findall(r"^## (\d\d)$", source, flags=re.MULTILINE)
    assert spoken == sorted(spoken) and set(spoken) <= set(numbers)
    parts = re.split(r"^## \d\d$", source, flags=re.MULTILINE)[1:]
    for number, part in zip(spoken, parts, strict=True):
        for what in ("60 minutes", "90 minutes", "misconceptions", "Ask"):
            assert what in part, f"notebook {number}: no word on '{what}'"
    assert teaching.filled("## 98\n[98.7] [a](b) [98.7](c)", []) == (
        "## 98\n[98.7] [a](b) [98.7](c)", ["no notebook 98", "no claim 98.7"]
    )  # fmt: skip
    assert any(href == "index.html#claim-01.4" for href, *_ in report["teaching.html"].links)
