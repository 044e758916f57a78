"""The builder of the runs over text encoders: what it writes, that it goes on where it stopped, and what it states."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BUILD = Path(__file__).resolve().parents[2] / "data" / "build"
QUICK = dict(clusters=(6, 8), held_out=60, runs=2, pairings=1, restarts=4, neighbors=5, scout=2, coarse=2,
             fine=2)


@pytest.fixture
def builder(monkeypatch):
    """data/build/unpaired.py on a few rows of made-up encoders, imported as its own folder sees it."""
    monkeypatch.syspath_prepend(BUILD)
    before = set(sys.modules)
    module = importlib.import_module("unpaired")
    random = np.random.default_rng(0)
    latent = random.normal(size=(8, 6))[random.integers(0, 8, 300)] + 0.3 * random.normal(size=(300, 6))
    embedded = {name: (latent @ random.normal(size=(6, 6))).astype(np.float32) for name in module.ENCODERS}
    monkeypatch.setattr(module, "texts", lambda rows: (embedded, np.arange(300)))
    yield module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BUILD:
            del sys.modules[name]


def test_the_pairs_are_all_ordered_ones_and_those_of_large_encoders_come_first(builder):
    pairs = builder.pairs()
    assert len(set(pairs)) == 12 and all(a != b for a, b in pairs)
    assert all("wordllama" not in pair for pair in pairs[:6])
    assert set(builder.TUNED) <= set(pairs)


def test_a_build_goes_on_where_it_stopped_and_writes_what_it_says(builder, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    some = [("minilm_l6", "use_m3"), ("potion8m", "wordllama")]
    plan = dict(folder=tmp_path, parts=tmp_path / "parts", some=some, **QUICK)
    monkeypatch.setattr(builder.align, "wrong_model", lambda *_, **__: 0.0)  # 60 rows of toys are too few to judge it
    monkeypatch.setattr(builder.align, "must_fail", lambda *_, **__: 0.0)
    first = builder.build(seeds=1, **plan)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    both = builder.build(seeds=2, **plan)
    assert len(kept) == 2 and all(path.stat().st_mtime_ns == at for path, at in kept.items())
    assert np.array_equal(both["top_1"][:, :1], first["top_1"]) and both["candidates"].shape == (2, 2, 2)
    assert both["tuned"].tolist() == [True, False]
    assert np.isin(both["chosen"], QUICK["clusters"]).all()
    assert (both["oracle_top_1"] > both["random"]).all()
    with np.load(tmp_path / "runs" / "unpaired.npz") as stored:
        assert set(stored.files) == set(both)
