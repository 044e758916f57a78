import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from repgeo import datasets, nets
from repgeo.nets import CNN, MLP, NARROW, Conv, Dense, Net

TINY = Net("tiny", (Conv(4, 2, True), Conv(3), Dense(5, True), Dense(6)), image=(7, 6), classes=3)
NETS = {"cnn": CNN, "mlp": MLP, "narrow": NARROW}
BUILD = Path(__file__).resolve().parents[1] / "data" / "build"


@pytest.fixture(scope="module")
def toy():
    """Images (60, 7, 6) whose brightness is their class 0..2, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    return (labels[:, None, None] - 1 + 0.3 * rng.normal(size=(60, 7, 6))).astype(np.float32), labels


@pytest.fixture(scope="module")
def fashion():
    data = datasets.load("fashion_mnist")
    images, test_images = nets.prepare(data["images"], data["test_images"])
    return images, data["labels"], test_images, data["test_labels"]


@pytest.fixture(scope="module")
def params(toy):
    return nets.calibrate(nets.init(jax.random.key(1), TINY), TINY, toy[0])


def test_the_forward_pass_is_the_textbook_network(params, toy):
    x, tree = jnp.asarray(toy[0])[..., None], jax.tree.map(np.asarray, params)
    for layer, p in zip(TINY.layers, tree["layers"], strict=True):
        if isinstance(layer, Conv):
            kernel = p["weight"].reshape(3, 3, -1, layer.width)
            strides, pad = (layer.stride, layer.stride), ((1, 1), (1, 1))
            form = ("NHWC", "HWIO", "NHWC")
            x = np.asarray(lax.conv_general_dilated(x, kernel, strides, pad, dimension_numbers=form))
        else:
            x = x.reshape(len(x), -1) @ p["weight"]
        if layer.norm:
            axes = tuple(range(x.ndim - 1))
            x = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5) * p["gain"]
        x = np.maximum(x + p["bias"], 0)
    expected = x @ tree["head"]["weight"] + tree["head"]["bias"]
    np.testing.assert_allclose(nets.apply(params, TINY, toy[0]), expected, atol=2e-5)


def test_after_calibration_an_image_scores_the_same_alone_and_in_its_batch(params, toy):
    together = nets.apply(params, TINY, toy[0])
    np.testing.assert_allclose(nets.apply(params, TINY, toy[0], train=True), together, atol=2e-5)
    np.testing.assert_allclose(nets.apply(params, TINY, toy[0][:1]), together[:1], atol=2e-5)
    assert not np.allclose(nets.apply(params, TINY, toy[0][:9], train=True), together[:9], atol=1e-2)


def test_apply_works_under_jit_vmap_and_grad(params, toy):
    scores = nets.apply(params, TINY, toy[0][:4])
    jitted = jax.jit(nets.apply, static_argnums=1)(params, TINY, toy[0][:4])
    one_by_one = jax.vmap(lambda image: nets.apply(params, TINY, image[None])[0])(jnp.asarray(toy[0][:4]))
    slope = jax.grad(lambda p: nets.apply(p, TINY, toy[0][:4]).sum())(params)
    np.testing.assert_allclose(jitted, scores, atol=1e-5)
    np.testing.assert_allclose(one_by_one, scores, atol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert np.abs(slope["layers"][0]["weight"]).max() > 0


def test_activations_do_not_depend_on_the_batch_and_end_in_the_scores(params, toy):
    whole = nets.activations(params, TINY, toy[0], batch=60)
    parts = nets.activations(params, TINY, toy[0], batch=25)
    assert [a.shape for a in whole] == [(60, 4, 3, 4), (60, 4, 3, 3), (60, 5), (60, 6)]
    assert all(a.min() >= 0 for a in whole)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    head = jax.tree.map(np.asarray, params["head"])
    scores = whole[-1] @ head["weight"] + head["bias"]
    np.testing.assert_allclose(scores, nets.apply(params, TINY, toy[0]), atol=1e-5)


def test_training_learns_what_is_there_and_nothing_from_shuffled_labels(toy):
    images, labels = toy
    key, options = jax.random.key(3), dict(steps=60, batch=20, learning_rate=1e-2)
    run = nets.train(key, TINY, images[:40], labels[:40], **options)
    assert run.losses[-10:].mean() < 0.3 * run.losses[:5].mean()
    assert nets.accuracy(run.params, TINY, images[40:], labels[40:]) > 0.9
    shuffled = nets.train(key, TINY, images[:40], np.random.default_rng(0).permutation(labels[:40]), **options)
    assert nets.accuracy(shuffled.params, TINY, images[40:], labels[40:]) < 0.8


def test_snapshots_lie_on_the_path_from_initialisation_to_the_end_and_do_not_disturb_it(toy):
    key = jax.random.key(3)
    run = nets.train(key, TINY, *toy, steps=12, batch=20, snapshots=(0, 5, 12))
    plain = nets.train(key, TINY, *toy, steps=12, batch=20)
    start = nets.calibrate(nets.init(key, TINY), TINY, toy[0])
    np.testing.assert_array_equal(nets.pack(run.params), nets.pack(plain.params))
    np.testing.assert_array_equal(nets.pack(run.snapshots[12]), nets.pack(run.params))
    np.testing.assert_array_equal(nets.pack(run.snapshots[0]), nets.pack(start))
    assert (nets.pack(run.snapshots[5]) != nets.pack(run.params)).any()
    other = nets.train(jax.random.key(4), TINY, *toy, steps=12, batch=20)
    assert (nets.pack(other.params) != nets.pack(run.params)).any()


def test_packed_parameters_come_back_within_half_precision(params):
    vector = nets.pack(params)
    again = nets.unpack(vector, TINY)
    assert vector.dtype == np.float16
    assert jax.tree.structure(again) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-4, atol=1e-7)


def test_prepared_images_are_block_means_in_units_of_the_first_set():
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, (5, 4, 6), np.uint8), rng.integers(0, 256, (2, 4, 6), np.uint8)
    a, b = nets.prepare(train, test)
    blocks = np.array([[[im[i : i + 2, j : j + 2].mean() for j in (0, 2, 4)] for i in (0, 2)] for im in train])
    np.testing.assert_allclose(a, (blocks - blocks.mean()) / blocks.std(), atol=1e-5)
    np.testing.assert_allclose(nets.prepare(train)[0], a, atol=0)
    assert abs(a.mean()) < 1e-6 and abs(a.std() - 1) < 1e-5 and abs(b.mean()) > 1e-3


GOOD = np.ones((4, 7, 6), np.float32) * np.arange(4, dtype=np.float32)[:, None, None]
NAN = np.where(np.arange(4)[:, None, None] == 2, np.nan, GOOD)


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ValueError, "images", lambda p: nets.apply(p, TINY, GOOD[0])),
        (ValueError, "images", lambda p: nets.apply(p, TINY, GOOD[:, :5])),
        (ValueError, "images", lambda p: nets.activations(p, TINY, GOOD[:0])),
        (ValueError, "images.*NaN", lambda p: nets.activations(p, TINY, NAN)),
        (ValueError, "images.*inf", lambda p: nets.calibrate(p, TINY, np.full((2, 7, 6), np.inf))),
        (TypeError, "images", lambda p: nets.apply(p, TINY, GOOD.astype(object))),
        (ValueError, "params", lambda p: nets.apply(p, MLP, np.zeros((2, 14, 14)))),
        (ValueError, "batch", lambda p: nets.activations(p, TINY, GOOD, batch=0)),
        (ValueError, "labels", lambda p: nets.accuracy(p, TINY, GOOD, [0, 1])),
        (ValueError, "labels", lambda p: nets.accuracy(p, TINY, GOOD, [0, 1, 2, 3])),
        (TypeError, "labels", lambda p: nets.accuracy(p, TINY, GOOD, [0.0, 1.0, 2.0, 1.0])),
        (ValueError, "labels", lambda p: nets.train(jax.random.key(0), TINY, GOOD, [[0, 1, 2, 1]], steps=1)),
        (ValueError, "batch", lambda p: nets.train(jax.random.key(0), TINY, GOOD, [0, 1, 2, 1], steps=1, batch=5)),
        (ValueError, "steps", lambda p: nets.train(jax.random.key(0), TINY, GOOD, [0, 1, 2, 1], steps=0)),
        (
            ValueError,
            "snapshots",
            lambda p: nets.train(
                jax.random.key(0), TINY, GOOD, [0, 1, 2, 1], steps=2, batch=2, snapshots=(3,)
            ),
        ),
        (ValueError, "vector", lambda p: nets.unpack(np.zeros(3), TINY)),
        (ValueError, "params", lambda p: nets.pack({"a": jnp.array([1e6])})),
        (ValueError, "params", lambda p: nets.pack({"a": jnp.array([jnp.nan])})),
        (ValueError, "layers", lambda p: Net("bad", (Dense(3), Conv(3)))),
        (ValueError, "layers", lambda p: Net("bad", ())),
        (ValueError, "images", lambda p: nets.prepare(np.zeros((2, 3, 4)))),
        (ValueError, "images", lambda p: nets.prepare(np.zeros((2, 4, 4)))),
    ],
)
def test_bad_input_gets_one_error_that_names_the_argument(params, error, words, call):
    with pytest.raises(error, match=words):
        call(params)


def test_a_loss_that_becomes_nan_is_an_error(toy):
    plain = Net("plain", (Dense(4), Dense(4)), image=(7, 6), classes=3)
    with pytest.raises(ValueError, match="learning_rate"):
        nets.train(jax.random.key(0), plain, toy[0] * np.float32(1e38), toy[1], steps=3, batch=20)


def test_the_convolutional_control_and_the_dense_control_have_layers_of_one_size():
    for net in (MLP, NARROW):
        params = nets.init(jax.random.key(0), net)
        assert len({a.shape for a in nets.activations(params, net, np.ones((2, 14, 14)), batch=2)}) == 1


@pytest.mark.parametrize("name", NETS)
def test_committed_weights_reach_the_accuracy_on_their_card(name, fashion):
    runs = datasets.load(f"runs_{name}")
    stated, final = runs.card.details["test_accuracy"], runs["accuracy"]
    assert final.mean() == pytest.approx(stated["mean"], abs=1e-4)
    assert final.min() == pytest.approx(stated["low"], abs=1e-4)
    seed = runs["seeds"][-1].item()
    again = nets.accuracy(nets.saved(runs, NETS[name], seed), NETS[name], *fashion[2:])
    assert again == pytest.approx(final[-1], abs=1.5e-3)  # an image whose two best scores tie may flip
    assert runs.card.details["float16"]["largest_accuracy_change"] <= 2e-3


def test_committed_runs_start_where_init_starts(fashion):
    runs = datasets.load("runs_cnn")
    start = nets.calibrate(nets.init(jax.random.key(0), CNN), CNN, fashion[0][:2000])
    stored = nets.saved(runs, CNN, 0, step=0)
    assert nets.accuracy(stored, CNN, *fashion[2:]) < 0.5 < runs["accuracy"].min()
    for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(stored), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_run_that_is_not_stored_is_an_error_that_lists_those_that_are():
    cnn, mlp = datasets.load("runs_cnn"), datasets.load("runs_mlp")
    with pytest.raises(ValueError, match=r"seed: .*\[0, 1.*99"):
        nets.saved(mlp, MLP, 99)
    with pytest.raises(ValueError, match="seed: .*got 9"):
        nets.saved(cnn, CNN, 9, step=0)
    with pytest.raises(ValueError, match="step: .*got 7"):
        nets.saved(cnn, CNN, 0, step=7)
    with pytest.raises(ValueError, match="narrow"):
        nets.saved(mlp, NARROW, 0)


def test_the_builder_gives_the_same_weights_twice_and_starts_as_the_committed_run(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BUILD)
    before = set(sys.modules)
    builder = importlib.import_module("runs")
    for folder in "ab":
        builder.build("cnn", seeds=1, steps=2, folder=tmp_path / folder)
    for name in set(sys.modules) - before:  # scripts, which must not stay importable as `cards` and `runs`
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BUILD:
            del sys.modules[name]
    a, b = (datasets.load("runs_cnn", folder=tmp_path / folder) for folder in "ab")
    for key in ("weights", "early", "accuracy"):
        np.testing.assert_array_equal(a[key], b[key])
    assert a["early_steps"].tolist() == [0]
    assert (a["weights"][0] != a["early"][0, 0]).any()
    start, stored = (d["early"][0, 0].astype(np.float32) for d in (a, datasets.load("runs_cnn")))
    np.testing.assert_allclose(start, stored, rtol=2e-3, atol=1e-4)
