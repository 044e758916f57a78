"""The builder of the runs over vocabularies, and the stored ones that notebook 06 reads."""

import importlib
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from repgeo import datasets

BUILD = Path(__file__).resolve().parents[2] / "data" / "build"
TINY = {"rows": 60, "judges": 50, "patience": 3, "most": 20}


@pytest.fixture
def builder(monkeypatch):
    """data/build/vocabularies.py, imported as its own folder sees it, and gone again afterwards."""
    monkeypatch.syspath_prepend(BUILD)
    before = set(sys.modules)
    yield importlib.import_module("vocabularies")
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BUILD:
            del sys.modules[name]


def test_a_draw_shares_what_it_says_and_nothing_that_judges(builder):
    x = np.arange(400, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    for share in (0.0, 0.25, 1.0):
        a, b, (judge, turned), partners = builder.drawn(x, x, share, jax.random.key(0), rows=100, judges=50)
        lengths = [np.round(np.linalg.norm(z, axis=1) / 3**0.5).astype(int) for z in (a, b, judge, partners)]
        mine, theirs, judges, known = (set(z.tolist()) for z in lengths)
        assert len(mine) == len(theirs) == 100 and len(judges) == 50
        assert len(mine & theirs) == round(100 * share) and not judges & (mine | theirs)
        assert lengths[0].tolist() == lengths[3].tolist() and known == mine
        assert lengths[2].tolist() == np.round(np.linalg.norm(turned, axis=1) / 3**0.5).astype(int).tolist()


def test_the_builder_writes_the_same_numbers_twice(builder, tmp_path):
    random = np.random.default_rng(0)
    given = {"u": random.gamma(0.5, size=(200, 5)).astype(np.float32)}
    given["v"] = given["u"][:, ::-1].copy()
    settings = ("u", "v", 1.0), ("u", "v", 0.5)
    for folder in "ab":
        (tmp_path / folder).mkdir()
        builder.build(seeds=2, folder=tmp_path / folder, settings=settings, given=given, **TINY)
    a, b = (datasets.load("runs_vocabularies", folder=tmp_path / folder) for folder in "ab")
    assert a.card.sha256 == b.card.sha256 and a["objective"].shape == (2, 2, 20)
    assert (a["oracle"] > 0.9).all() and (a["steps"] <= 20).all()


def test_a_stored_run_made_anew_gives_the_stored_score(builder):
    runs, vectors = datasets.load("runs_vocabularies"), builder.vectors()
    assert [(s, t, round(float(c), 2)) for s, t, c in zip(runs["source"], runs["target"], runs["share"], strict=True)
            ] == list(builder.SETTINGS)
    i = list(builder.SETTINGS).index(("glove50", "glove100", 1.0))
    again = builder.run(vectors["glove50"], vectors["glove100"], 1.0, jax.random.key(0))
    assert again["top_1"] == pytest.approx(float(runs["top_1"][i, 0]), abs=0.005)
    assert again["oracle"] == pytest.approx(float(runs["oracle"][i, 0]), abs=0.005)
