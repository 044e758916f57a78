"""Do the notebooks still say what the committed ledger says? Runs after them, and reads what they wrote."""

import os
from pathlib import Path

import nbformat
import pytest

from repgeo.book.execute import execute
from repgeo.claims import drift, read

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = {path.stem.split("_")[0]: path for path in sorted(FOLDER.glob("*.ipynb"))}
LEDGERS = {path.stem: path for path in sorted((FOLDER / "claims").glob("*.json"))}


def test_there_is_something_to_compare():
    assert NOTEBOOKS, f"{FOLDER} holds no notebook"


@pytest.mark.parametrize("number", sorted(NOTEBOOKS | LEDGERS))
def test_a_fresh_run_agrees_with_the_committed_ledger(number):
    assert number in NOTEBOOKS, f"notebooks/claims/{number}.json has no notebook"
    assert number in LEDGERS, f"{NOTEBOOKS[number].name} has no notebooks/claims/{number}.json: `make outputs`"
    folder = Path(os.environ["REPGEO_LEDGER"])
    fresh = folder / f"{number}.json"
    if not fresh.exists():  # this file was run alone: nobody has run the notebook yet
        execute(nbformat.read(NOTEBOOKS[number], as_version=4), folder=FOLDER, ledger=folder)
    moved = drift(read(fresh), read(LEDGERS[number]))
    assert not moved, "\n".join(moved)
