"""INLP beside the loop of its authors: how many rounds it takes, and where it must stop."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.svm import LinearSVC

from repgeo.erasure import inlp, mean_projection
from repgeo.probes import accuracy, logistic, ridge

GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "erasure.npz", allow_pickle=False))


def data(name):
    return GOLDEN[f"{name}/X"].astype(np.float32), GOLDEN[f"{name}/y"].astype(np.int64)


@pytest.mark.parametrize("name, rounds", [("s0", 1), ("s0", 4), ("s2", 2)])
def test_a_round_removes_a_direction_a_class_but_one_and_is_a_projection(name, rounds):
    x, y = data(name)
    e = inlp(x, y, rounds=rounds)
    assert int(e.rank) == rounds * y.max()
    np.testing.assert_allclose(e.left.T @ e.left, np.eye(int(e.rank)), atol=1e-5)
    np.testing.assert_allclose(e.transform(x).mean(0), x.mean(0), atol=1e-4)


def test_the_first_direction_is_that_of_a_probe_fitted_elsewhere():
    x, y = data("s0")
    weights = LinearSVC(dual=False, random_state=0).fit(x - x.mean(0), y).coef_[0]
    e = inlp(x, y, rounds=1)
    assert abs(e.left[:, 0] @ weights) / np.linalg.norm(weights) > 0.99


def test_accuracy_falls_by_round_as_in_the_published_loop_and_one_mean_direction_does_more():
    x, y = data("s0")
    left = [float(accuracy(logistic(z := inlp(x, y, rounds=r).transform(x), y), z, y)) for r in (1, 2, 4)]
    np.testing.assert_allclose(left[0], GOLDEN["s0/inlp/accs"][1], atol=0.06)
    assert left[0] > left[1] > left[2] > 0.55
    once = mean_projection(x, y, labels="categorical").transform(x)
    assert float(accuracy(logistic(once, y), once, y)) < left[2]


def test_it_stops_where_nothing_is_left_to_read():
    random = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = random.normal(size=(200, 6)).astype(np.float32)
    x -= x.mean(0)
    x[:, 1:] -= np.outer(y - 0.5, (y - 0.5) @ x[:, 1:]) / ((y - 0.5) @ (y - 0.5))  # nothing linear but in column 0
    x[:, 0] = y + 0.1 * x[:, 0] - np.outer(y - 0.5, (y - 0.5) @ x[:, :1]).ravel() / 500
    e = inlp(x, y, rounds=6, share=0.05)
    assert 1 <= int(e.rank) < 6 and np.isfinite(np.asarray(e.left)).all()


def test_all_features_can_be_removed_and_no_more():
    x, y = data("s0")
    e = inlp(x[:, :3], y, rounds=3, share=0.0)
    assert int(e.rank) == 3
    np.testing.assert_allclose(e.transform(x[:5, :3]), np.broadcast_to(x[:, :3].mean(0), (5, 3)), atol=1e-2)


def test_another_probe_may_be_handed_in():
    x, y = data("s2")
    assert int(inlp(x, y, rounds=1, probe=partial(ridge, l2=1e-2), key=jax.random.key(0)).rank) == 3


def test_bad_input_gives_one_clear_error():
    x, y = data("s0")
    for change, message in (
        ({"rounds": 0}, "rounds: expected 1 <= rounds <= 32"),
        ({"rounds": 33}, r"rounds: expected 1 <= rounds <= 32 \(features\); got 33"),
        ({"rounds": 1, "share": 2}, "share: expected"),
        ({"rounds": 1, "classes": 1}, "classes: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            inlp(x, y, **change)
