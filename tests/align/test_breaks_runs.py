"""The builders behind notebook 18: cases that break alignment, and vec2vec with its losses left out."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from repgeo import datasets
from repgeo.align.vec2vec import TERMS, Weights

BUILD = Path(__file__).resolve().parents[2] / "data" / "build"
PLAN = {"clusters": 6, "runs": 2, "pairings": 1, "restarts": 4, "neighbors": 5, "scout": 2, "coarse": 2,
        "fine": 2, "width": 6}  # fmt: skip


@pytest.fixture
def builders(monkeypatch):
    """data/build/breaks.py and vec2vec_toy.py, imported as their own folder sees them, and gone again afterwards."""
    monkeypatch.syspath_prepend(BUILD)
    before = set(sys.modules)
    yield importlib.import_module("breaks"), importlib.import_module("vec2vec_toy")
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BUILD:
            del sys.modules[name]


@pytest.fixture
def made_up(builders):
    """Rows of eight clusters under every name that a case uses, their topics, and which topics are nouns."""
    random = np.random.default_rng(0)
    topics = random.integers(0, 8, 400)
    latent = random.normal(size=(8, 6))[topics] + 0.3 * random.normal(size=(400, 6))
    names = (*builders[0].BASE, builders[0].THIRD, "use_m3", "glove50", "glove100")
    embedded = {name: (latent @ random.normal(size=(6, 6 + i % 2))).astype(np.float32) for i, name in enumerate(names)}
    return embedded, topics, np.arange(8) < 5


def test_content_is_what_a_case_says(builders, made_up):
    breaks, (_, topics, noun) = builders[0], made_up
    halves = np.arange(200), np.arange(200, 400)
    for value, mine, theirs in (("nouns, verbs", True, False), ("nouns, all", True, None)):
        a, b = breaks.apart("content", value, *halves, topics, noun, None)
        assert (noun[topics[a]] == mine).all() and len(b) and (theirs is None or (noun[topics[b]] == theirs).all())
    a, b = breaks.apart("content", "topics apart", *halves, topics, noun, breaks.jax.random.key(0))
    assert len(a) and len(b) and not set(topics[a]) & set(topics[b])
    assert all(a is b for a, b in zip(breaks.apart("texts", 5, *halves, topics, noun, None), halves, strict=True))


def test_a_steeper_spectrum_has_its_singular_values_to_that_power(builders, made_up):
    y = made_up[0]["use_m3"]
    before, after = (np.linalg.svd(z - z.mean(0), compute_uv=False) for z in (y, builders[0].steeper(y, 2.0)))
    np.testing.assert_allclose(after / after[0], (before / before[0]) ** 2, rtol=1e-3, atol=1e-5)


def test_a_build_of_cases_goes_on_where_it_stopped(builders, made_up, tmp_path):
    breaks = builders[0]
    cases = [("nothing", ""), ("clusters", 4), ("words", "glove50 to glove100")]
    plan = {"folder": tmp_path, "parts": tmp_path / "parts", "cases": cases, "given": made_up, "held_out": 60,
            "most": 150, "plan": PLAN}  # fmt: skip
    first = breaks.build(seeds=1, **plan)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    both = breaks.build(seeds=2, **plan)
    assert len(kept) == 3 and all(path.stat().st_mtime_ns == at for path, at in kept.items())
    assert np.array_equal(both["top_1"][:, :1], first["top_1"]) and (both["oracle"] > 0.1).all()
    assert np.isnan([both[name][2] for name in breaks.ATTACKS]).all()
    for more, less in (("found_native", "majority"), ("found_oracle", "found_wrong"), ("nearest_native", "majority")):
        assert (both[more][:2] > both[less][:2]).all(), f"{more} {both[more]}, {less} {both[less]}"
    assert datasets.load("runs_breaks", folder=tmp_path)["top_1"].shape == (3, 2)


def test_the_toy_is_trained_without_what_an_ablation_leaves_out(builders, tmp_path):
    toy = builders[1]
    tiny = replace(toy.TOY, width=4, batch=8, warmup=2)
    ablations = {name: toy.ABLATIONS[name] for name in ("nothing", "all critics")}
    for folder in "ab":
        toy.build(seeds=1, steps=5, folder=tmp_path / folder, settings=tiny, ablations=ablations, n=40, judges=20)
    a, b = (datasets.load("runs_vec2vec_toy", folder=tmp_path / folder) for folder in "ab")
    assert a.card.sha256 == b.card.sha256 and a["ablations"].tolist() == ["nothing", "all critics", "round world"]
    left_out = [Weights(**dict(zip(TERMS[:-1], map(float, row), strict=True))) for row in a["weights"]]
    assert left_out[0] == toy.FULL and (left_out[1].adversarial, left_out[1].latent) == (0, 0)
    assert a["losses"].shape == (3, 1, 7) and np.isfinite(a["losses"]).all()
