"""The page and its numbers: what they hold, what they load, what happens when a section fails or someone interrupts."""

import json
import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser

import jax
import numpy as np
import pytest

from repgeo import chance, report, similarity, spectrum
from repgeo.__main__ import main
from repgeo.report import run, two
from repgeo.report.parts import Data, Part, Section, Table, beside, said, tried

N = 240
RANDOM = np.random.default_rng(0)
LABELS = np.arange(N) % 3
X = (RANDOM.normal(size=(N, 6)) + 4 * np.eye(6)[LABELS]).astype(np.float32)
Y = (X @ np.linalg.qr(RANDOM.normal(size=(6, 6)))[0]).astype(np.float32)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One comparison with labels of a matrix with a rotation of itself, by the command."""
    folder = tmp_path_factory.mktemp("own")
    for name, a in (("left <one>", X), ("right", Y), ("labels", LABELS)):
        np.save(folder / f"{name}.npy", a)
    arguments = ["compare", f"{folder}/left <one>.npy", f"{folder}/right.npy", "--labels", f"{folder}/labels.npy"]
    assert main([*arguments, "--out", f"{folder}/out", "--quiet"]) == 0
    files = sorted(path.name for path in (folder / "out").iterdir())
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    return files, page, json.loads((folder / "out" / "report.json").read_text())


class Outline(HTMLParser):
    """Tags of a page in order, with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.wrong = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_two_files_are_written_and_nothing_else(compared):
    assert compared[0] == ["report.html", "report.json"]


def test_every_section_ran_but_what_needs_more_rows(compared):
    sections = compared[2]["sections"]
    missing = {name for name, found in sections.items() if any("could not run" in s for s in found.get("said", ()))}
    assert missing <= {"unpaired"} and len(sections) == 13


def test_the_page_is_well_formed_and_loads_nothing(compared):
    outline = Outline(compared[1])
    assert not outline.wrong and not outline.open
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", compared[1])
    assert not re.search(r"<script|<link|@import|url\(", compared[1])
    assert "left &lt;one&gt;.npy" in compared[1] and "<one>" not in compared[1]


def test_the_page_has_headings_texts_for_figures_and_captions(compared):
    tags = Outline(compared[1]).tags
    names = [name for name, _ in tags]
    assert names.count("h1") == 1 and names.count("h2") == len(compared[2]["sections"])
    figures = [attributes for name, attributes in tags if name == "img"]
    assert len(figures) >= 8 and all(len(a["alt"]) > 30 and a["src"].startswith("data:image/png") for a in figures)
    assert names.count("table") == names.count("caption") >= 10
    assert all(a.get("scope") in ("col", "row") for name, a in tags if name == "th")
    targets = {a["href"][1:] for name, a in tags if name == "a"}
    assert targets <= {a["id"] for _, a in tags if "id" in a}
    assert ("html", {"lang": "en"}) in tags


def test_the_page_is_below_three_megabytes(compared):
    assert len(compared[1].encode()) < 3_000_000


def test_numbers_are_those_of_the_library(compared):
    measures = compared[2]["sections"]["similarity"]["measures"]
    assert measures["CKA, linear, biased"]["score"] == pytest.approx(float(similarity.cka(X, Y)), abs=1e-5)
    key = jax.random.fold_in(jax.random.key(0), 2)
    null = chance.permutation_test(similarity.cka_debiased, X, Y, key=key, rounds=39)
    assert measures["CKA, linear, debiased"]["p"] == pytest.approx(float(null.p))
    scores = compared[2]["sections"]["spectrum"]["scores"]
    assert scores["A"]["RankMe (uncentred)"] == pytest.approx(float(spectrum.rankme(X)), rel=1e-4)


def test_a_rotation_is_the_same_under_what_ignores_rotations(compared):
    sections = compared[2]["sections"]
    assert sections["similarity"]["measures"]["CKA, linear, biased"]["score"] > 0.999
    assert sections["neighbours"]["measures"]["Mutual kNN, k = 10, Euclidean"] > 0.95
    assert sections["maps"]["maps"]["A to B, rotation and scale"]["top_1"] == 1
    assert sections["maps"]["maps"]["A to B, control"]["top_1"] < 0.3


def test_labels_are_read_before_and_not_after_erasure(compared):
    versions = compared[2]["sections"]["erasure"]["versions"]["A"]
    kind = "linear (logistic)"
    assert versions["before"]["accuracy"][kind]["mean"] > 0.9 > 0.55 > versions["LEACE"]["accuracy"][kind]["mean"]
    assert versions["random directions"]["accuracy"][kind]["mean"] > 0.6


def test_the_svcca_of_the_page_is_that_of_the_library():
    measure = two.MEASURES["SVCCA, 99 % of the variance"][0]
    assert float(measure(X, Y**3)) == pytest.approx(float(similarity.svcca(X, Y**3)), abs=1e-4)


@pytest.fixture
def light(monkeypatch):
    """Sections that cost nothing: one that works, and whatever a test puts beside it."""
    works = Section("works", "What works", lambda data: Part((f"{data.n} rows",), {"n": data.n}), 1)

    def use(*others):
        monkeypatch.setattr(run, "OF_ONE", (works, *others))

    use()
    return use


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return tmp_path / "x.npy"


def raises(error):
    def section(data):
        raise error

    return Section("fails", "What fails", section, 1)


@pytest.mark.parametrize("error", [ValueError("too few <rows>"), TypeError("no"), OverflowError("far"), MemoryError()])
def test_a_section_that_cannot_run_says_why_and_stops_no_other(error, light, file, tmp_path):
    after = Section("after", "What comes after", lambda data: Part(("still here",)), 1)
    light(raises(error), after)
    numbers = report.inspect(file, out=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    why = str(error) or "MemoryError"
    assert numbers["sections"]["fails"]["said"] == [f"This section could not run: {why}"]
    assert "still here" in page and "too few <rows>" not in page and "What fails" in page


def test_a_warning_of_the_library_stands_on_the_page(light, file, tmp_path):
    def warned(data):
        import warnings

        warnings.warn("few pairs", stacklevel=1)
        return Part(("done",))

    light(Section("warned", "Warned", warned, 1))
    assert report.inspect(file, out=tmp_path)["sections"]["warned"]["said"] == ["few pairs"]


def test_an_interruption_leaves_nothing_and_exits_with_130(light, file, tmp_path, capsys):
    light(raises(KeyboardInterrupt()))
    assert main(["inspect", str(file), "--out", str(tmp_path / "out"), "--quiet"]) == 130
    said = capsys.readouterr()
    assert said.err.splitlines() == ["repgeo: interrupted; nothing was written"] and said.out == ""
    assert not (tmp_path / "out").exists()


def test_a_failed_write_leaves_neither_file_nor_draft(light, file, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(report.BadFile, match="cannot be written into: No space left"):
        report.inspect(file, out=tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_earlier_report_is_replaced_and_other_files_stay(light, file, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "report.html").write_text("old")
    report.inspect(file, out=out)
    assert sorted(p.name for p in out.iterdir()) == ["notes.txt", "report.html", "report.json"]
    assert (out / "notes.txt").read_text() == "mine" and "old" != (out / "report.html").read_text()


def test_the_bar_shows_the_section_and_the_time_left(light, file, tmp_path, capsys):
    report.inspect(file, out=tmp_path, progress=True)
    said = capsys.readouterr()
    assert "What works" in said.err and "left" in said.err and said.out == ""
    report.inspect(file, out=tmp_path)
    assert capsys.readouterr().err == ""


def test_the_same_seed_gives_the_same_bytes(file, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "OF_ONE", tuple(s for s in run.OF_ONE if s.name in ("picture", "spectrum")))
    for out in ("one", "two"):
        report.inspect(file, out=tmp_path / out, rows=100, seed=3)
    for name in ("report.html", "report.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_command_prints_where_the_page_is(light, file, tmp_path, capsys):
    assert main(["inspect", str(file), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}/report.html\n"


def test_an_interrupted_process_says_one_line_and_exits_with_130(file, tmp_path):
    out = tmp_path / "out"
    # Behind a shell's `&` this process ignores interrupts, and what it starts inherits that.
    hears = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{hears}; runpy.run_module('repgeo', run_name='__main__')"
    command = [sys.executable, "-c", code, "inspect", str(file), "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while "left" not in process.stderr.read(40):  # the bar has begun
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in said
    assert said.strip().splitlines()[-1].endswith("repgeo: interrupted; nothing was written")
    assert not out.exists()


def test_a_table_says_which_cell_is_missing_and_why():
    def fails(a):
        raise ValueError("no")

    table, why, numbers = beside("Of two.", "score", {"sum": np.sum, "fails": fails}, {"A": np.ones(3)})
    assert table == Table("Of two.", ("score", "A"), (("sum", "3"), ("fails", "–")))
    assert why == ["fails of A: no."] and numbers == {"A": {"sum": 3.0, "fails": None}}
    assert tried(lambda: 2) == (2.0, "")


@pytest.mark.parametrize("value, text", [(None, "–"), (0.5, "0.5"), (12345, "12,345"), ((1.0, 2.0), "1 to 2")])
def test_a_number_is_said_in_few_digits(value, text):
    assert said(value) == text


def test_samples_are_paired_and_halves_share_no_row():
    data = Data({"A": X, "B": 2 * X}, None, (), 7)
    a, b = data.some(50).values()
    np.testing.assert_array_equal(2 * np.asarray(a), np.asarray(b))
    fit, judged = data.halves(1_000, 1_000)
    assert len(judged) == N // 4 and len(fit) == N - N // 4 and not set(fit) & set(judged)
