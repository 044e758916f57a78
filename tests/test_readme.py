"""The README does what it says: a measure and a claim are added as told, names exist, the figure is the ledger's."""

import importlib
import re
from pathlib import Path

import jax
import numpy as np
import pytest

import repgeo
from repgeo import chance, worlds
from repgeo.book.verdicts import verdicts
from repgeo.claims import VERDICTS, read, totals

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LEDGERS = [read(path) for path in sorted((ROOT / "notebooks" / "claims").glob("*.json"))]


def section(title):
    return re.search(rf"^## {title}$(.*?)(?=^## )", README, flags=re.DOTALL | re.MULTILINE)[1]


def run(title):
    (block,) = re.findall(r"```py\n(.*?)```", section(title), flags=re.DOTALL)
    names = {}
    exec(compile(block.replace("\nClaim(", "\nclaim = Claim("), "README.md", "exec"), names)
    return names


def test_a_measure_added_as_told_keeps_its_promises_and_works_in_grids_and_with_chance():
    leading = run("Add a measure")["leading"]
    x, y = worlds.shared_latents(jax.random.key(0), 60, 5, 6, shared=3, noise=0.1)
    value = float(leading(x, y))
    assert 0 <= value <= 1
    turned = worlds.rotated_copy(jax.random.key(1), y, scale=3.0, shift=5.0)
    assert {"shift", "scale", "rotation"} <= leading.record.invariant
    assert float(leading(x, turned)) == pytest.approx(value, abs=1e-4)
    assert float(leading(x, worlds.affine_copy(jax.random.key(2), x, condition=50.0))) < 0.999
    assert repgeo.grid(leading, [x, y]).shape == (2, 2)
    assert 0 < float(chance.permutation_test(leading, x, y, key=jax.random.key(3), rounds=19).p) <= 1
    with pytest.raises(ValueError, match="n|rows|samples"):
        leading(x, y[:-1])


def test_a_claim_added_as_told_gets_its_verdict_from_its_numbers():
    assert run("Add a claim")["claim"].verdict == "reproduced"


def test_files_that_do_not_fit_are_read_as_told(tmp_path, monkeypatch, capsys):
    x, y = worlds.shared_latents(jax.random.key(0), 60, 5, 6, shared=3, noise=0.1)
    monkeypatch.chdir(tmp_path)
    for name, a in (("x.npy", x), ("y.npy", y)):
        np.save(name, a)
    names = run("Data that do not fit")
    assert float(names["cka_from"](names["m"])) == pytest.approx(float(repgeo.cka(x, y)), abs=1e-6)
    assert "60 of 60 rows" in capsys.readouterr().out


def test_every_name_in_the_table_of_questions_is_in_one_of_its_rooms():
    rows = [line.split("|")[2:4] for line in section("The library by question").splitlines() if line.startswith("| ")][
        1:
    ]
    assert len(rows) >= 10
    for rooms, names in rows:
        inside = [importlib.import_module(f"repgeo.{room}") for room in re.findall(r"`(\w+)`", rooms)]
        for name in re.findall(r"`([\w.]+)`", names):
            assert any(hasattr(room, name.split(".")[-1]) for room in inside), f"{name} is not in {rooms}"


def test_the_figure_is_the_one_that_the_ledgers_give_and_its_text_names_every_verdict():
    drawn = (ROOT / "notebooks" / "claims" / "verdicts.svg").read_text(encoding="utf-8")
    assert drawn == verdicts(ROOT / "notebooks"), "run `python -m repgeo.book readme`"
    said = ", ".join(f"{count} {verdict}" for verdict, count in totals(LEDGERS).items())
    assert f"Of {sum(map(len, map(list, LEDGERS)))} claims: {said}" in drawn
    alt = re.search(r"!\[(.*?)\]\(notebooks/claims/verdicts.svg\)", README)[1]
    assert all(verdict in alt for verdict in VERDICTS)


def test_what_is_said_not_to_reproduce_does_not():
    found = {claim.id: claim.verdict for ledger in LEDGERS for claim in ledger}
    named = re.findall(r"\b\d\d\.\d+\b", section("What does not reproduce, and why"))
    assert len(named) >= 6 and [name for name in named if found.get(name) != "not here"] == []


def test_the_readme_puts_first_what_a_newcomer_needs():
    heads = re.findall(r"^## (.+)$", README, flags=re.MULTILINE)
    first = ["Two commands", "Notebooks", "The library in five lines", "The library by question"]
    assert heads[: len(first)] == first
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 5
    assert "CITATION.cff" in section("The library in five lines")
