"""The networks of notebook 16: their training sets differ as planned, and the builder makes them again."""

import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import datasets, nets, worlds

KEY = jax.random.key(0)
BUILD = Path(__file__).resolve().parents[1] / "data" / "build"


@pytest.fixture(scope="module")
def builder():
    """data/build/audit.py, imported; its scripts must not stay importable as `cards` and `audit`."""
    sys.path.insert(0, str(BUILD))
    before = set(sys.modules)
    yield importlib.import_module("audit")
    sys.path.remove(str(BUILD))
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BUILD:
            del sys.modules[name]


@pytest.fixture(scope="module")
def runs():
    return datasets.load("runs_audit")


@pytest.fixture(scope="module")
def fashion():
    data = datasets.load("fashion_mnist")
    images, test_images = nets.prepare(data["images"][:2000], data["test_images"])
    return images, data["labels"][:2000].astype(np.int32), test_images, data["test_labels"].astype(np.int32)


# --- the planted differences


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_labels_that_differ_is_the_share_replaced_less_the_lucky_ones(share):
    labels = jnp.arange(20_000) % 10
    new = worlds.relabelled(KEY, labels, share=share, c=10)
    assert float((new != labels).mean()) == pytest.approx(0.9 * share, abs=0.01)
    assert abs(np.bincount(new, minlength=10) / 20_000 - 0.1).max() < 0.01
    assert new.dtype == labels.dtype


def test_a_mark_changes_two_pixels_whose_place_tells_the_mark():
    images, marks = jax.random.uniform(KEY, (30, 5, 14)), jnp.arange(30) % 10
    changed = np.asarray(worlds.marked(images, marks) != images)
    assert changed.sum((1, 2)).max() <= 2 and not changed[:, 2:].any()
    brightest = np.asarray(worlds.marked(images, marks) == images.max())
    assert (brightest[:, :2].all(1).argmax(1) - 2 == marks).all()


def test_shifts_are_uniform_and_lose_only_what_leaves_the_picture():
    image = jnp.zeros((9, 9)).at[4, 4].set(1.0)
    moved = np.asarray(worlds.shifted(KEY, jnp.tile(image, (4000, 1, 1)), reach=2))
    assert (moved.sum((1, 2)) == 1).all()
    where = moved.mean(0)
    assert where[2:7, 2:7] == pytest.approx(np.full((5, 5), 1 / 25), abs=0.015)
    assert where.sum() == pytest.approx(1) and where[2:7, 2:7].sum() == pytest.approx(1)
    far = np.asarray(worlds.shifted(KEY, jnp.full((50, 4, 4), -1.0).at[:, 0, 0].set(3.0), reach=3))
    assert set(np.unique(far)) <= {-1.0, 3.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: worlds.relabelled(KEY, jnp.zeros((2, 2), int), share=0.5, c=3), r"labels: .*\(n,\).*\(2, 2\)"),
        (lambda: worlds.relabelled(KEY, jnp.zeros(3), share=0.5, c=3), "labels: expected integers"),
        (lambda: worlds.relabelled(KEY, jnp.zeros(3, int), share=1.5, c=3), "share"),
        (lambda: worlds.marked(jnp.zeros((2, 4, 8)), jnp.array([0, 4])), "marks: .*0..3; got 0 to 4"),
        (lambda: worlds.marked(jnp.zeros((2, 4, 8)), jnp.array([0])), "marks: expected one for each image"),
        (lambda: worlds.shifted(KEY, jnp.zeros((4, 4)), reach=1), r"images: .*\(n, h, w\)"),
        (lambda: worlds.shifted(KEY, jnp.zeros((1, 4, 4)), reach=4), "reach"),
    ],
)
def test_a_training_set_that_cannot_be_made_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the stored networks


def test_every_group_is_there_and_no_two_networks_share_a_seed(builder, runs):
    counts = {
        (str(kind), float(strength)): int(((runs["kind"] == kind) & (runs["strength"] == strength)).sum())
        for kind, strength in zip(runs["kind"], runs["strength"], strict=True)
    }
    assert counts == {(kind, float(np.float32(strength))): n for (kind, strength), n in builder.GROUPS.items()}
    assert len(set(runs["seeds"].tolist())) == len(runs["weights"]) == sum(builder.GROUPS.values())
    assert runs["weights"].dtype == np.float16
    assert (builder.DATA / "runs" / "audit.npz").stat().st_size < 5e6


def test_groups_differ_in_what_they_were_made_to_differ_in(runs):
    def mean(name, kind, strength=0.0):
        return runs[name][(runs["kind"] == kind) & (runs["strength"] == np.float32(strength))].mean()

    assert mean("fitted", "labels", 1.0) > 0.8 and mean("accuracy", "labels", 1.0) < 0.2  # learnt by heart
    by_share = [mean("accuracy", "labels", share) for share in (0.25, 0.5, 0.75, 1.0)]
    assert by_share == sorted(by_share, reverse=True) and mean("accuracy", "clean") > by_share[0]
    assert mean("accuracy", "shortcut", 1.0) < 0.3 < 0.7 < mean("accuracy", "shortcut", 0.0)  # looked at the mark alone
    assert mean("fitted", "shift", 4.0) < mean("fitted", "clean")


def test_the_card_states_what_was_chosen_how_and_what_float16_cost(runs):
    details = runs.card.details
    assert "no measure of similarity" in details["chosen"]
    assert details["float16"]["largest_accuracy_change"] <= 5e-3
    assert details["float16"]["largest_relative_difference_of_a_layer"] <= 1e-2
    assert details["training"]["images"] == 2000


def test_stored_weights_give_the_stored_accuracies(builder, runs, fashion):
    images, labels, test_images, test_labels = fashion
    for kind in ("clean", "labels"):
        i = int(np.flatnonzero(runs["kind"] == kind)[0])
        params = nets.unpack(runs["weights"][i], builder.NET)
        seen = nets.accuracy(params, builder.NET, test_images[: builder.JUDGED], test_labels[: builder.JUDGED])
        assert seen == pytest.approx(float(runs["accuracy"][i]), abs=2e-3)
        own = builder.training_set(kind, float(runs["strength"][i]), images, labels)
        fitted = nets.accuracy(params, builder.NET, own[0][:2000], own[1][:2000])
        assert fitted == pytest.approx(float(runs["fitted"][i]), abs=2e-3)


def test_the_builder_gives_the_same_networks_twice(builder, tmp_path):
    groups = {("labels", 0.5): 1, ("shift", 2.0): 1}
    for folder in "ab":
        builder.build(groups=groups, steps=2, folder=tmp_path / folder)
    a, b = (datasets.load("runs_audit", folder=tmp_path / folder) for folder in "ab")
    for key in a.arrays:
        np.testing.assert_array_equal(a[key], b[key])
    assert a["kind"].tolist() == ["labels", "shift"] and a["seeds"].tolist() == [0, 1]
    assert (a["weights"][0] != a["weights"][1]).mean() > 0.5
