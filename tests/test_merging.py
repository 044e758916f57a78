"""Merging leaves the function of redundant networks alone, and takes real ones apart as its docstring says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import datasets, merging, nets
from repgeo.nets import CNN, MLP, Conv, Dense, Net

TINY = Net("tiny", (Conv(4, 2), Conv(3), Dense(5), Dense(6)), image=(7, 6), classes=3)
NORMED = Net("normed", (Conv(4, 2, True), Dense(5, True)), image=(7, 6), classes=3)


def images(n=20, integers=False):
    random = np.random.default_rng(0)
    return (random.integers(-2, 3, (n, 7, 6)) if integers else random.normal(size=(n, 7, 6))).astype(np.float32)


def split(params, net, layer, copies):
    """The same function with unit 0 of a layer in `copies` further copies, its outgoing weights shared equally."""
    parts = [*params["layers"], params["head"]]
    here, after, p = parts[layer], parts[layer + 1], net.layers[layer].width
    writes = np.array(after["weight"]).reshape(-1, p, after["weight"].shape[1])
    writes[:, 0] /= copies + 1
    writes = np.concatenate([writes, np.repeat(writes[:, :1], copies, 1)], 1)
    parts[layer] = {k: np.concatenate([v, np.repeat(v[..., :1], copies, -1)], -1) for k, v in here.items()}
    parts[layer + 1] = after | {"weight": writes.reshape(-1, writes.shape[2])}
    wider = list(net.layers)
    wider[layer] = type(wider[layer])(**{**vars(wider[layer]), "width": p + copies})
    return {"layers": parts[:-1], "head": parts[-1]}, Net(net.name, tuple(wider), net.image, net.classes)


def whole_numbers(net):
    """Parameters that are -1, 0 or 1: float32 then computes without rounding, quarters of them included."""
    random = np.random.default_rng(1)
    params = nets.init(jax.random.key(0), net)
    return jax.tree.map(lambda a: random.integers(-1, 2, a.shape).astype(np.float32), params)


@pytest.mark.parametrize("layer", range(4))
def test_copies_merge_at_threshold_0_and_not_one_bit_of_the_function_changes(layer):
    params = whole_numbers(TINY)
    wide, net = split(params, TINY, layer, copies=3)
    before = nets.apply(params, TINY, images(integers=True))
    np.testing.assert_array_equal(nets.apply(wide, net, images(integers=True)), before)
    merged = merging.merge_features(wide, net, threshold=0.0)
    assert merged.complexity == merging.merge_features(params, TINY, threshold=0.0).complexity
    assert len(set(merged.groups[layer][[0, -3, -2, -1]])) == 1
    np.testing.assert_array_equal(nets.apply(merged.params, merged.net, images(integers=True)), before)


def test_copies_merge_in_a_real_network_with_batch_norm():
    params = nets.calibrate(nets.init(jax.random.key(1), NORMED), NORMED, images())
    wide, net = split(*split(params, NORMED, 0, copies=2), 1, copies=1)
    merged = merging.merge_features(wide, net, threshold=0.0)
    assert merged.complexity == (4, 5) and net.layers[0].width == 6
    np.testing.assert_allclose(nets.apply(merged.params, merged.net, images()), nets.apply(params, NORMED, images()),
                               atol=1e-5)  # fmt: skip
    assert merging.merge_features(params, NORMED, threshold=0.0).complexity == (4, 5)


def test_folding_batch_norm_changes_no_score():
    params = nets.calibrate(nets.init(jax.random.key(1), NORMED), NORMED, images())
    layer = params["layers"][0]
    params["layers"][0] = layer | {"gain": jnp.array([2.0, -1, 0, 0.3]), "bias": jnp.array([0.1, -0.2, 0.4, 1])}
    folded, net = merging.fold_norm(params, NORMED)
    assert not any(layer.norm for layer in net.layers)
    np.testing.assert_allclose(nets.apply(folded, net, images()), nets.apply(params, NORMED, images()), atol=1e-5)


def test_one_merge_is_the_mean_of_what_is_read_and_the_sum_of_what_is_written():
    params = nets.init(jax.random.key(2), TINY)
    reads, bias = (np.array(params["layers"][3][k]) for k in ("weight", "bias"))
    writes = np.array(params["head"]["weight"])
    features = np.concatenate([reads, bias[None], writes.T])
    distance = ((features[:, :, None] - features[:, None]) ** 2).sum(0) + np.diag(np.full(6, np.inf))
    i, j = np.unravel_index(distance.argmin(), distance.shape)
    merged = merging.merge_to(params, TINY, widths=(4, 3, 5, 5))
    assert merged.groups[3][i] == merged.groups[3][j] and len(set(merged.groups[3])) == 5
    u, new = merged.groups[3][i], merged.params
    np.testing.assert_allclose(new["layers"][3]["weight"][:, u], (reads[:, i] + reads[:, j]) / 2, atol=1e-6)
    np.testing.assert_allclose(new["head"]["weight"][u], writes[i] + writes[j], atol=1e-6)
    others = [k for k in range(6) if k not in (i, j)]
    np.testing.assert_array_equal(new["head"]["weight"][merged.groups[3][others]], writes[others])
    np.testing.assert_array_equal(new["layers"][0]["weight"], params["layers"][0]["weight"])


def test_a_unit_of_many_members_counts_for_each_of_them():
    net = Net("line", (Dense(3),), image=(1, 1), classes=1)
    bare = {"weight": np.array([[0.0, 3.0, 10.0]]), "bias": np.zeros(3)}
    head = {"weight": np.full((3, 1), 2.0), "bias": np.zeros(1)}
    merged = merging.merge_to({"layers": [bare], "head": head}, net, widths=(1,))
    assert float(merged.params["layers"][0]["weight"][0, 0]) == pytest.approx(13 / 3)
    assert float(merged.params["head"]["weight"][0, 0]) == 6


def test_complexity_falls_with_the_threshold_from_all_units_to_few():
    params = nets.init(jax.random.key(2), TINY)
    found = [merging.merge_features(params, TINY, threshold=t).complexity for t in (0.0, 0.2, 0.4, 0.7, 1.0)]
    assert found[0] == (4, 3, 5, 6) and sum(found[-1]) <= 6
    assert all(sum(a) >= sum(b) for a, b in zip(found, found[1:], strict=False)) and 6 < sum(found[2]) < 18


def test_random_pairs_follow_their_key_and_leave_the_same_widths():
    params, widths = nets.init(jax.random.key(2), TINY), (2, 1, 3, 2)
    a, again, b = (merging.merge_to(params, TINY, widths=widths, key=jax.random.key(k)) for k in (0, 0, 1))
    assert a.complexity == b.complexity == widths
    for first, second in zip(a.groups, again.groups, strict=True):
        np.testing.assert_array_equal(first, second)
    assert any((first != second).any() for first, second in zip(a.groups, b.groups, strict=True))
    assert nets.apply(a.params, a.net, images()).shape == (20, 3)


def test_the_result_is_a_tree_whose_network_is_fixed():
    merged = merging.merge_to(nets.init(jax.random.key(2), TINY), TINY, widths=(4, 3, 5, 5))
    again = jax.tree.map(lambda a: a, merged)
    assert again.net == merged.net and len(jax.tree.leaves(merged)) == 14


@pytest.fixture(scope="module")
def fashion():
    data = datasets.load("fashion_mnist")
    return nets.prepare(data["images"], data["test_images"])[1][:1000], data["test_labels"][:1000]


@pytest.mark.parametrize(("name", "net"), [("runs_cnn", CNN), ("runs_mlp", MLP)])
def test_trained_networks_lose_less_by_merging_similar_units_than_random_ones(name, net, fashion):
    params = nets.saved(datasets.load(name), net, 0)
    shares = (1.0, 0.95, 0.85, 0.75)
    similar = merging.accuracy_curve(params, net, *fashion, shares=shares)
    drawn = [merging.accuracy_curve(params, net, *fashion, shares=shares[2:], key=jax.random.key(k)) for k in range(4)]
    assert similar[0] == pytest.approx(nets.accuracy(params, net, *fashion), abs=2e-3)
    assert similar[1] > similar[0] - 0.03
    assert (similar[2:] > np.mean(drawn, 0) + 0.03).all()
    widths = [int(np.ceil(0.85 * layer.width)) for layer in net.layers]
    merged = merging.merge_to(params, net, widths=widths)
    assert nets.accuracy(merged.params, merged.net, *fashion) == pytest.approx(similar[2], abs=2e-3)


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ValueError, "^threshold: .*got 1.5", lambda p: merging.merge_features(p, TINY, threshold=1.5)),
        (ValueError, "^threshold: .*got -0.1", lambda p: merging.merge_features(p, TINY, threshold=-0.1)),
        (TypeError, "^threshold: ", lambda p: merging.merge_features(p, TINY, threshold="all")),
        (ValueError, "^params: expected the parameters", lambda p: merging.merge_features(p, MLP, threshold=0.1)),
        (ValueError, "^params: expected finite", lambda p: merging.fold_norm(jax.tree.map(lambda a: a / 0, p), TINY)),
        (TypeError, "^params: .*traced", lambda p: jax.jit(lambda q: merging.fold_norm(q, TINY)[0])(p)),
        (ValueError, "^widths: expected one for each of 4", lambda p: merging.merge_to(p, TINY, widths=(1, 2))),
        (ValueError, "^widths: .*units of layer 1", lambda p: merging.merge_to(p, TINY, widths=(4, 4, 5, 6))),
        (ValueError, "^widths: ", lambda p: merging.merge_to(p, TINY, widths=(0, 3, 5, 6))),
        (TypeError, "^widths: ", lambda p: merging.merge_to(p, TINY, widths=(4, 3, 5, 5.0))),
        (ValueError, "^shares: .*got 0", lambda p: merging.accuracy_curve(p, TINY, images(), [0] * 20, shares=[0])),
        (ValueError, "^labels: ", lambda p: merging.accuracy_curve(p, TINY, images(), [0, 1], shares=[1.0])),
    ],
)
def test_bad_input_gets_one_error_that_names_the_argument(error, words, call):
    with pytest.raises(error, match=words):
        call(nets.init(jax.random.key(0), TINY))
