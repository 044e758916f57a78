"""The self-supervised networks whose ranks notebook 02 compares with probes: how they are scored, what is stored."""

import importlib
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from repgeo import datasets, nets

BUILD = Path(__file__).resolve().parents[1] / "data" / "build"
SPECTRA = ("singular", "singular_centered", "between", "within", "lidar")


@pytest.fixture
def builder(monkeypatch):
    """data/build/joint.py, imported as its own folder sees it, and gone again afterwards."""
    monkeypatch.syspath_prepend(BUILD)
    before = set(sys.modules)
    yield importlib.import_module("joint")
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BUILD:
            del sys.modules[name]


@pytest.fixture(scope="module")
def runs():
    return datasets.load("runs_ssl")


@pytest.fixture(scope="module")
def fashion():
    data = datasets.load("fashion_mnist")
    images, test = nets.prepare(data["images"], data["test_images"])
    return images, test, data["labels"].astype(int), data["test_labels"].astype(int)


# --- how a network is scored


@pytest.mark.parametrize("fit", [400, 60])
def test_the_probe_is_a_ridge_regression_whose_penalty_is_judged_apart(builder, monkeypatch, fit):
    monkeypatch.setattr(builder, "FIT", 400)
    rng = np.random.default_rng(0)
    labels, centres = rng.integers(10, size=900), rng.normal(size=(10, 12))
    x = centres[labels] + rng.normal(size=(900, 12)) * np.linspace(0.5, 3, 12) + 5
    x[:, 3] = 2.0  # a dead unit
    (x, test), (known, test_known) = np.split(x, [600]), np.split(labels, [600])
    scaler = StandardScaler().fit(x[:fit])
    judged = []
    for penalty in builder.PENALTIES:
        ridge = Ridge(alpha=penalty * fit, solver="svd").fit(scaler.transform(x[:fit]), np.eye(10)[known[:fit]])
        parts = ((x[400:], known[400:]), (test, test_known))
        judged.append([(ridge.predict(scaler.transform(a)).argmax(1) == b).mean() for a, b in parts])
    expected = max(judged, key=lambda pair: pair[0])[1]  # the first of equals is the largest penalty
    assert builder.probe(x, test, known, test_known, fit=fit) == pytest.approx(expected, abs=1e-12)
    assert expected > 0.3


def test_a_collapsed_network_is_probed_as_the_commonest_class(builder):
    labels = np.array([1, 1, 2] * 3000 + [0] * 1000)
    flat = np.full((10_000, 4), 3.0)
    assert builder.probe(flat, flat[:10], labels, np.array([1] * 7 + [2] * 3), fit=8000) == 0.7


def test_scatters_are_those_of_the_definition(builder):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 1, 6)) * np.arange(1, 7) + 0.3 * rng.normal(size=(40, 5, 6))
    found = builder.scatters(x)
    between = np.cov(x.mean(1).T)
    within = sum(np.cov(own.T) for own in x) / 40
    np.testing.assert_allclose(found["between"], np.linalg.eigvalsh(between)[::-1], rtol=1e-9)
    np.testing.assert_allclose(found["within"], np.linalg.eigvalsh(within)[::-1], rtol=1e-9)
    ratio = np.linalg.eigvals(np.linalg.solve(within + 1e-4 * np.eye(6), between)).real
    np.testing.assert_allclose(found["lidar"], np.sort(ratio)[::-1], rtol=1e-9)


def test_settings_are_drawn_once_within_their_ranges_and_fewer_are_the_first_of_them(builder):
    whole, few = builder.plan(builder.EACH), builder.plan(3)
    for method, ranges in builder.WEIGHTS.items():
        for name, (low, high) in (ranges | builder.RATES).items():
            powers = np.log10(whole[method][name])
            assert powers.shape == (builder.EACH,) and low <= powers.min() < powers.max() <= high
            np.testing.assert_array_equal(few[method][name], whole[method][name][:3])


def test_the_builder_writes_the_same_numbers_twice(builder, monkeypatch, tmp_path):
    monkeypatch.setattr(builder, "WEIGHTS", {"simclr": builder.WEIGHTS["simclr"]})  # one loss to compile, not three
    for folder in "ab":
        builder.build(each=2, seeds=1, steps=3, folder=tmp_path / folder)
    a, b = (datasets.load("runs_ssl", folder=tmp_path / folder) for folder in "ab")
    for name in a.arrays:
        np.testing.assert_array_equal(a[name], b[name])
    assert a["method"].tolist() == ["simclr"] * 2 and a["accuracy"].shape == (2, 1, 3)
    assert (a["singular"][0] != a["singular"][1]).any() and (a["loss"] > 0).all()


# --- the stored runs


def test_the_stored_runs_follow_the_plan(builder, runs):
    methods, each, seeds = list(builder.WEIGHTS), builder.EACH, builder.SEEDS
    assert runs["method"].tolist() == [name for name in methods for _ in range(each)] and len(runs["method"]) >= 48
    assert runs["seeds"].tolist() == list(range(seeds)) and seeds >= 3
    assert runs["probes"].tolist() == list(builder.PROBES)
    for j, (method, numbers) in enumerate(builder.plan(each).items()):
        own = slice(j * each, (j + 1) * each)
        for name in builder.RATES:
            np.testing.assert_allclose(runs[name][own], numbers[name], rtol=1e-6)
        for column, name in enumerate(builder.WEIGHTS[method]):
            np.testing.assert_allclose(runs["weights"][own, column], numbers[name], rtol=1e-6)
        assert np.isnan(runs["weights"][own, len(builder.WEIGHTS[method]) :]).all()
    training = {"steps": builder.STEPS, "batch": builder.BATCH}
    assert runs.card.details["training"].items() >= training.items() and runs.card.details["chosen"] == builder.CHOSEN
    assert (builder.DATA / "runs" / "ssl.npz").stat().st_size <= 2.5e6


def test_stored_accuracies_are_shares_of_two_thousand_pictures(runs):
    settings, seeds = len(runs["method"]), len(runs["seeds"])
    for name in ("accuracy", "untrained"):
        assert runs[name].shape == (settings, seeds, 3)
        assert runs[name].min() >= 0.05 and runs[name].max() <= 0.95
        np.testing.assert_allclose(runs[name] * 2000, np.rint(runs[name] * 2000), atol=1e-3)
    assert np.isfinite(runs["loss"]).all() and runs["loss"].shape == (settings, seeds)
    whole, few, _ = np.moveaxis(runs["accuracy"], 2, 0)
    assert (few < whole).mean() > 0.95 and runs["pixels"][1] < runs["pixels"][0]
    assert len(np.unique(runs["accuracy"][..., 0])) > 20


def test_stored_spectra_are_descending_and_none_is_negative(runs):
    for layer, p in (("", 256), ("_embedding", 128)):
        for name in SPECTRA:
            values = runs[name + layer]
            assert values.shape == (*runs["accuracy"].shape[:2], p)
            assert np.isfinite(values).all() and (values >= 0).all() and (np.diff(values) <= 0).all()
            assert (values[..., 0] > 0).all()
        # centring projects: no singular value grows, beyond the rounding of the largest
        plain, centred = runs[f"singular{layer}"], runs[f"singular_centered{layer}"]
        assert (centred <= plain * (1 + 1e-5) + 1e-6 * plain[..., :1]).all()


def test_pixels_and_an_untrained_network_scored_anew_give_the_stored_accuracies(builder, runs, fashion):
    images, test, labels, test_labels = fashion
    flat, test_flat = (a.reshape(len(a), -1).astype(float) for a in (images, test))
    again = [builder.probe(flat, test_flat, labels, test_labels, fit=fit) for fit in (builder.FIT, builder.FEW)]
    assert again == pytest.approx(runs["pixels"], abs=2e-3)
    setting, seed = 20, 1  # its loss is the second
    key = jax.random.fold_in(jax.random.key(seed), setting // builder.EACH)
    params = nets.init_joint(jax.random.fold_in(key, setting % builder.EACH), builder.NET)
    found, none = builder.score(params, *fashion)
    assert found == pytest.approx(runs["untrained"][setting, seed], abs=2e-3) and none == {}
