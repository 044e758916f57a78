"""Freezing layers on the way, what it saves, and the stored runs of it that notebook 01 reads."""

import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from repgeo import datasets, nets
from repgeo.nets import CNN, Conv, Dense, Net

BUILD = Path(__file__).resolve().parents[1] / "data" / "build"
TINY = Net("tiny", (Conv(4, 2, True), Conv(3), Dense(5, True), Dense(6)), image=(7, 6), classes=3)


@pytest.fixture(scope="module")
def toy():
    """Images (60, 7, 6) whose brightness is their class 0..2, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    return (labels[:, None, None] - 1 + 0.3 * rng.normal(size=(60, 7, 6))).astype(np.float32), labels


@pytest.fixture(scope="module")
def params(toy):
    return nets.calibrate(nets.init(jax.random.key(1), TINY), TINY, toy[0])


@pytest.fixture
def builder(monkeypatch):
    """data/build/freeze.py, imported as its own folder sees it, and gone again afterwards."""
    monkeypatch.syspath_prepend(BUILD)
    before = set(sys.modules)
    yield importlib.import_module("freeze")
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BUILD:
            del sys.modules[name]


# --- training with layers frozen


def parts(params):
    """The learnt numbers of each layer, and last of the head."""
    learnt = ("weight", "bias", "gain")
    return [{k: np.asarray(v) for k, v in p.items() if k in learnt} for p in [*params["layers"], params["head"]]]


@pytest.mark.parametrize("until", [(2, 4, 6, 8, 12), (12, 8, 6, 4, 2), (0, 12, 0, 12, 0)])
def test_a_frozen_layer_stays_as_it_was_and_the_others_go_on(toy, until):
    key, steps = jax.random.key(3), 12
    run = nets.train(key, TINY, *toy, steps=steps, batch=20, snapshots=(0, *until), until=until)
    for place, stop in enumerate(until):
        start, held, end = (parts(p)[place] for p in (run.snapshots[0], run.snapshots[stop], run.params))
        assert all(np.array_equal(held[name], end[name]) for name in held)
        assert stop == 0 or any((start[name] != held[name]).any() for name in held)


def test_freezing_nothing_before_the_end_is_plain_training(toy):
    key, options = jax.random.key(3), dict(steps=12, batch=20)
    plain = nets.train(key, TINY, *toy, **options)
    held = nets.train(key, TINY, *toy, until=(12,) * 5, **options)
    # another program, so only the rounding may differ
    np.testing.assert_allclose(plain.losses, held.losses, rtol=2e-4)
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(held.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3)


def test_the_linear_schedule_freezes_from_the_bottom_in_even_steps_and_never_the_head():
    assert nets.freezing_schedule(CNN, 1500) == (250, 500, 750, 1000, 1250, 1500)
    stops = nets.freezing_schedule(TINY, 7)
    assert len(stops) == 5 and list(stops) == sorted(stops) and stops[-1] == 7


# --- what it saves


def multiply_adds(jaxpr):
    """Operations of every matrix product in a traced program: two for each multiply-add."""
    total = 0
    for line in jaxpr.eqns:
        if line.primitive.name == "dot_general":
            (left, _), _ = line.params["dimension_numbers"]
            shared = int(np.prod([line.invars[0].aval.shape[axis] for axis in left]))
            total += 2 * shared * int(np.prod(line.outvars[0].aval.shape))
        for inner in line.params.values():
            inner = getattr(inner, "jaxpr", inner)
            total += multiply_adds(inner) if hasattr(inner, "eqns") else 0
    return total


@pytest.mark.parametrize("net", [TINY, CNN], ids=["tiny", "cnn"])
@pytest.mark.parametrize("learning", ["all", "top", "bottom", "middle"])
def test_the_operations_counted_are_those_of_the_traced_gradient(net, learning):
    """The gradient for the learning layers alone, as JAX builds it, has exactly as many multiply-adds."""
    count = len(net.layers) + 1
    on = {"all": range(count), "top": range(2, count), "bottom": range(2), "middle": range(1, 3)}[learning]
    params, images = nets.init(jax.random.key(0), net), jnp.ones((4, *net.image))
    whole = [*params["layers"], params["head"]]

    def loss(own, images):
        merged = [own[i] if i in own else part for i, part in enumerate(whole)]
        scores = nets.apply({"layers": merged[:-1], "head": merged[-1]}, net, images, train=True)
        return optax.softmax_cross_entropy_with_integer_labels(scores, jnp.zeros(4, int)).mean()

    traced = multiply_adds(jax.make_jaxpr(jax.value_and_grad(loss))({i: whole[i] for i in on}, images).jaxpr)
    until = [1 if i in on else 0 for i in range(count)]
    assert nets.training_flops(net, steps=1, batch=4, until=until) == traced


def test_operations_add_up_over_the_steps_of_a_schedule():
    stops = nets.freezing_schedule(CNN, 12)
    step_by_step = sum(
        nets.training_flops(CNN, steps=1, batch=8, until=[int(step < stop) for stop in stops]) for step in range(12)
    )
    assert nets.training_flops(CNN, steps=12, batch=8, until=stops) == step_by_step
    assert nets.training_flops(CNN, steps=12, until=stops) < nets.training_flops(CNN, steps=12, until=stops[::-1])
    assert nets.training_flops(CNN, steps=12) == 12 * nets.training_flops(CNN, steps=1)


# --- going on from a layer


def test_going_on_from_any_layer_ends_in_the_scores_also_under_jit_vmap_and_grad(params, toy):
    expected = nets.apply(params, TINY, toy[0])
    for layer, kept in enumerate(nets.activations(params, TINY, toy[0]), start=1):
        np.testing.assert_allclose(nets.resume(params, TINY, kept, layer=layer), expected, atol=2e-5)
        jitted = jax.jit(lambda k, layer=layer: nets.resume(params, TINY, k, layer=layer))(kept)
        two = jax.vmap(lambda k, layer=layer: nets.resume(params, TINY, k, layer=layer))(np.stack([kept, kept]))
        slope = jax.grad(lambda k, layer=layer: nets.resume(params, TINY, k, layer=layer).sum())(jnp.asarray(kept))
        np.testing.assert_allclose(jitted, expected, atol=2e-5)
        np.testing.assert_allclose(two[1], expected, atol=2e-5)
        assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_what_is_done_to_a_layer_reaches_the_scores(params, toy):
    *_, top = nets.activations(params, TINY, toy[0])
    silent = nets.resume(params, TINY, np.zeros_like(top), layer=4)
    np.testing.assert_allclose(silent, np.tile(params["head"]["bias"], (60, 1)), atol=1e-6)


IMAGES = np.ones((4, 7, 6), np.float32)


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ValueError, "layer: .*5", lambda p: nets.resume(p, TINY, np.zeros((2, 6)), layer=5)),
        (ValueError, "layer: .*0", lambda p: nets.resume(p, TINY, np.zeros((2, 6)), layer=0)),
        (TypeError, "layer: .*float", lambda p: nets.resume(p, TINY, np.zeros((2, 6)), layer=1.0)),
        (ValueError, r"kept: .*\(n, 4, 3, 4\).*\(2, 6\)", lambda p: nets.resume(p, TINY, np.zeros((2, 6)), layer=1)),
        (ValueError, r"kept: .*\(n, 6\)", lambda p: nets.resume(p, TINY, np.zeros((0, 6)), layer=4)),
        (ValueError, "kept: .*NaN", lambda p: nets.resume(p, TINY, np.full((2, 6), np.nan), layer=4)),
        (TypeError, "kept: .*complex", lambda p: nets.resume(p, TINY, np.zeros((2, 6), complex), layer=4)),
        (ValueError, "params: .*cnn", lambda p: nets.resume(p, CNN, np.zeros((2, 1, 1, 96)), layer=5)),
        (ValueError, "until: .*4 layers", lambda p: nets.training_flops(TINY, steps=3, until=(1, 2, 3))),
        (ValueError, "until: .*<= 3.*got 4", lambda p: nets.training_flops(TINY, steps=3, until=(1, 2, 3, 3, 4))),
        (TypeError, "until: .*float", lambda p: nets.training_flops(TINY, steps=3, until=(1.0, 2, 3, 3, 3))),
        (ValueError, "steps", lambda p: nets.training_flops(TINY, steps=0)),
        (ValueError, "steps", lambda p: nets.freezing_schedule(TINY, 0)),
        (TypeError, "steps", lambda p: nets.freezing_schedule(TINY, 1.5)),
        (
            ValueError,
            "until: .*got -1",
            lambda p: nets.train(jax.random.key(0), TINY, IMAGES, [0] * 4, steps=2, batch=2, until=(-1, 0, 0, 0, 0)),
        ),
    ],
)
def test_bad_input_gets_one_error_that_names_the_argument(params, error, words, call):
    with pytest.raises(error, match=words):
        call(params)


# --- the stored runs


def test_the_stored_runs_follow_the_plan_and_count_what_it_costs(builder):
    runs = datasets.load("runs_freeze")
    steps = runs.card.details["training"]["steps"]
    assert len(runs["seeds"]) >= 10 and runs["accuracy"].shape == (4, len(runs["seeds"]))
    for i, (way, (length, until)) in enumerate(builder.plans(steps).items()):
        assert (runs["ways"][i], runs["steps"][i], runs["until"][i].tolist()) == (way, length, list(until))
        assert runs["flops"][i] == nets.training_flops(CNN, steps=length, until=until)
    ways = dict(zip(runs["ways"].tolist(), runs["flops"].tolist(), strict=True))
    assert ways["shorter"] == pytest.approx(ways["bottom-up"], rel=1 / steps)  # as many operations, to one step
    assert ways["bottom-up"] < ways["top-down"] < ways["whole"]


def test_training_whole_gives_the_accuracy_of_the_stored_networks():
    runs, cnn = datasets.load("runs_freeze"), datasets.load("runs_cnn")
    whole = runs["accuracy"][runs["ways"].tolist().index("whole")]
    assert whole.mean() == pytest.approx(cnn["accuracy"].mean(), abs=0.005)
    assert np.isfinite(runs["loss"]).all() and (runs["loss"] > 0).all()


def test_a_frozen_training_made_anew_gives_the_stored_accuracy(builder):
    runs, fashion = datasets.load("runs_freeze"), datasets.load("fashion_mnist")
    images, test = nets.prepare(fashion["images"], fashion["test_images"])
    way, seed = runs["ways"].tolist().index("bottom-up"), runs["seeds"][0].item()
    options = builder.TRAINING | {"steps": int(runs["steps"][way]), "until": runs["until"][way].tolist()}
    run = nets.train(jax.random.key(seed), CNN, images, fashion["labels"], **options)
    again = nets.accuracy(run.params, CNN, test, fashion["test_labels"])
    assert again == pytest.approx(runs["accuracy"][way, 0], abs=0.014)  # two errors of a share of 2000 pictures


def test_the_builder_writes_the_same_numbers_twice(builder, tmp_path):
    for folder in "ab":
        builder.build(seeds=1, steps=6, folder=tmp_path / folder)
    a, b = (datasets.load("runs_freeze", folder=tmp_path / folder) for folder in "ab")
    assert a.card.sha256 == b.card.sha256
    assert len(set(a["loss"][:, 0].tolist())) == 4  # four different trainings
