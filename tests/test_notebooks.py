"""What every committed notebook must be: run through, free of noise and of this machine, solvable."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)

MACHINE = re.compile(r"(?<![\w./~-])/(?:home|root|tmp|work|Users|usr|opt|private|mnt|var)/|\b[A-Z]:\\\\|site-packages")
UNEVEN = {"a timing": r"CPU times|Wall time", "a memory address": r"\bat 0x[0-9a-f]{6,}"}
ENVIRONMENT = re.compile(r"(?<!\$)(?<!\$\n)\\begin\{(?:align|equation|gather|eqnarray|multline)\*?\}")


def opened(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def texts(cell):
    """Every textual output of a code cell, figures left out."""
    for output in cell.get("outputs", ()):
        yield output.get("text", "")
        yield from (str(text) for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


def tags(cell):
    return cell.metadata.get("tags", [])


def exercises(notebook):
    """(stub, check, solution's code, task, typical wrong answer) of each exercise: four cells, the task first.

    The wrong answer stands in the metadata of the check cell, under "wrong", where nobody reads it by accident.
    """
    cells, found = notebook.cells, []
    for place, cell in enumerate(cells):
        if "exercise" not in tags(cell):
            continue
        task, check, solution = cells[place - 1], *cells[place + 1 : place + 3]
        assert re.match(r"###\s+Exercise \d", task.source), f"no '### Exercise N' before: {cell.source[:60]}"
        assert "check" in tags(check), f"no cell tagged 'check' after: {cell.source[:60]}"
        assert "solution" in tags(solution), f"no cell tagged 'solution' after: {check.source[:60]}"
        blocks = re.findall(r"```python\n(.*?)```", solution.source, flags=re.DOTALL)
        assert len(blocks) == 1, f"expected one ```python block, got {len(blocks)} in: {solution.source[:60]}"
        found.append((cell.source, check.source, blocks[0], task.source, check.metadata.get("wrong")))
    return found


def printed(cell):
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")


def test_there_are_notebooks():
    assert PATHS, f"{FOLDER} holds no notebook"


@each_notebook
def test_it_was_run_once_from_top_to_bottom(path):
    counts = [cell.execution_count for cell in code_cells(opened(path))]
    assert counts == list(range(1, len(counts) + 1)), "run `make outputs`"


@each_notebook
def test_it_shows_no_error_and_no_message_on_stderr(path):
    for cell in code_cells(opened(path)):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", output.text


@each_notebook
def test_it_holds_no_timings_no_addresses_and_no_path_of_a_machine(path):
    for cell in opened(path).cells:
        assert "execution" not in cell.metadata, "timing metadata: run `make outputs`"
        for text in (cell.source, *texts(cell)):
            assert not MACHINE.search(text), MACHINE.search(text)
            for what, pattern in UNEVEN.items():
                assert not re.search(pattern, text), f"{what} in: {text[:200]}"


@each_notebook
def test_it_is_at_most_500_kilobytes(path):
    assert path.stat().st_size <= 500_000


@each_notebook
def test_it_opens_with_a_question_its_papers_and_its_length(path):
    cells = opened(path).cells
    assert cells[0].cell_type == "markdown"
    assert re.match(r"# .*\?\s*$", cells[0].source.splitlines()[0]), cells[0].source.splitlines()[0]
    assert re.search(r"\b\d{4}\.\d{5}\b", cells[0].source), "no arXiv id in the first cell"
    assert re.search(r"\d+\s*min", cells[0].source), "no minutes to read in the first cell"


@each_notebook
def test_its_headings_leave_out_no_level(path):
    prose = "\n".join(cell.source for cell in opened(path).cells if cell.cell_type == "markdown")
    prose = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)
    levels = [len(marks) for marks in re.findall(r"^(#{1,6})\s", prose, flags=re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1, "one title, at the top"
    steps = zip(levels, levels[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps), levels


@each_notebook
def test_its_displayed_mathematics_is_set_between_dollars(path):
    for cell in opened(path).cells:
        if cell.cell_type == "markdown":
            found = ENVIRONMENT.search(cell.source)
            assert not found, f"{found and found[0]}: write $$\\begin{{aligned}} ... \\end{{aligned}}$$"


@each_notebook
def test_it_settles_its_claims_and_fetches_nothing(path):
    source = "\n".join(cell.source for cell in code_cells(opened(path)))
    assert "settle(" in source
    assert not re.search(r"pip install|urllib|requests\.|https?://", source)


@each_notebook
def test_its_three_exercises_say_how_hard_they_are_and_fold_hint_and_solution(path):
    notebook = opened(path)
    found = exercises(notebook)
    assert len(found) == 3, f"{len(found)} cells tagged 'exercise'"
    for stub, check, _, task, _ in found:
        assert re.search(r"[Dd]ifficulty", task), task
        assert re.search(r"\d+\s*min", task), task
        assert re.search(r"<details>\s*<summary>\s*Hint", task), task
        assert stub.strip() and "correct" in check and "not solved yet" in check, check
    for cell in notebook.cells:
        if "solution" in tags(cell):
            assert re.search(r"<details>\s*<summary>\s*Solution", cell.source), cell.source
            assert cell.source.count("<details>") == cell.source.count("</details>") == 1


@each_notebook
def test_its_checks_know_an_untouched_a_right_and_a_wrong_answer(path, tmp_path):
    """One kernel: the set-up cells, then for each exercise stub, solution, nonsense and a typical error."""
    notebook = opened(path)
    found = exercises(notebook)
    needed = [c for c in notebook.cells if {"setup", "exercise-needs"} & set(tags(c)) and c.cell_type == "code"]
    assert needed, "no code cell is tagged 'setup'"
    notebook.cells = [new_code_cell(cell.source) for cell in needed]
    nonsense = "answer = (lambda *a, **k: float('nan')) if callable(answer) else float('nan')"
    places = []
    for stub, check, solution, task, wrong in found:
        places.append((len(notebook.cells) + 1, task.splitlines()[0], solution))
        notebook.cells += [new_code_cell(source) for source in (stub, check, solution, check)]
        for source in (nonsense, wrong or nonsense):
            notebook.cells += [new_code_cell(source), new_code_cell(check, metadata={"tags": ["raises-exception"]})]
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": FOLDER}}).execute(
        env=os.environ | {"REPGEO_LEDGER": str(tmp_path)}
    )
    for (place, task, solution), (*_, wrong) in zip(places, found, strict=True):
        untouched, right, nan, typical = (notebook.cells[place + step] for step in (0, 2, 4, 6))
        assert "not solved yet" in printed(untouched), f"{task}: the untouched stub gives {printed(untouched)!r}"
        assert "correct" in printed(right), f"{task}: the solution gives {printed(right)!r}"
        assert "correct" not in printed(nan), f"{task}: nan passes as an answer"
        if wrong is None:
            continue
        assert "correct" not in printed(typical), f"{task}: a typical wrong answer passes"
        (said,) = [output for output in typical.outputs if output.output_type == "error"]
        assert said.ename == "AssertionError", f"{task}: a wrong answer ends in {said.ename}: {said.evalue}"
        assert len(said.evalue) >= 10, f"{task}: a wrong answer is told nothing but {said.evalue!r}"
        spoilers = [line.strip() for line in solution.splitlines() if len(line.strip()) > 12]
        assert not any(line in said.evalue for line in spoilers), f"{task}: the message gives the solution away"


@each_notebook
def test_a_typical_wrong_answer_is_there_for_every_exercise_or_for_none(path):
    wrongs = [wrong for *_, wrong in exercises(opened(path))]
    assert all(wrongs) or not any(wrongs), "one exercise has no typical wrong answer: give its check cell one"


def test_notebooks_with_typical_wrong_answers_do_not_become_fewer():
    assert sum(all(wrong for *_, wrong in exercises(opened(path))) for path in PATHS) >= 9


