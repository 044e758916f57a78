"""Shared neighbours and information imbalance: equal to counts made one row at a time."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from repgeo.dimension import information_imbalance, neighborhood_overlap
from repgeo.similarity import mutual_knn
from tests.oracles import distances, neighbours

FOLDER = Path(__file__).parent.parent / "golden"


def points(n=60, p=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p)).astype(np.float32)


def imbalance(x, y, k):
    """2 / n times the mean rank in y of the k nearest in x."""
    near, far = neighbours(x, k, "euclidean"), distances(y)
    np.fill_diagonal(far, np.inf)
    ranks = [1 + (far[i] < far[i, j]).sum() for i, row in enumerate(near) for j in row]
    return 2 / len(x) * np.mean(ranks)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_overlap_and_imbalance_equal_the_counts(seed):
    x, y = points(seed=seed), points(p=3, seed=seed + 1)
    near_x, near_y = (neighbours(a, 7, "euclidean") for a in (x, y))
    share = np.mean([len(set(a) & set(b)) / 7 for a, b in zip(near_x, near_y, strict=True)])
    with jax.enable_x64(True):
        assert float(neighborhood_overlap(x, y, k=7)) == pytest.approx(share, abs=1e-6)
        for k in (1, 4):
            assert float(information_imbalance(x, y, k=k)) == pytest.approx(imbalance(x, y, k), rel=1e-6)


@pytest.mark.parametrize("n", [499, 500, 501, 1001])
def test_a_block_edge_changes_nothing(n):
    x, y = points(n), points(n, seed=1)
    assert float(information_imbalance(x, y)) == pytest.approx(imbalance(x, y, 1), rel=1e-3)


def test_what_determines_ranks_first_and_what_is_unrelated_in_the_middle():
    x = points(1000, 8)
    assert float(information_imbalance(x, 3 * x - 1)) == pytest.approx(2 / 1000, rel=1e-4)
    assert float(information_imbalance(x, points(1000, 8, seed=9))) == pytest.approx(1, abs=0.05)
    assert information_imbalance(x, x[:, :3]) < information_imbalance(x[:, :3], x)  # all eight know more than three
    assert float(neighborhood_overlap(x, points(1000, 8, seed=9), k=50)) == pytest.approx(50 / 999, abs=0.005)


def test_the_lowest_rank_is_shared_by_equal_distances():
    x = np.array([[0.0], [1.0], [5.0], [7.0]])
    y = np.array([[0.0], [1.0], [-1.0], [3.0]])  # rows 1 and 2 are equally far from row 0: both rank first there
    assert float(information_imbalance(x, y)) == pytest.approx(2 / 4 * np.mean([1, 1, 3, 3]))


def test_the_peers_imbalance_draws_ranks_beyond_its_search_at_random():
    # dadapy searched for 50 neighbours; a row that is none of them gets a rank between there and n.
    x = np.load(FOLDER / "spectrum.npz")["data/aniso64/full"]
    y, n, searched = x[:, :8], len(x), 50
    peer = np.load(FOLDER / "dimension.npz")["dadapy/aniso64_vs_first8/inf_imb"]
    for a, b, theirs in ((x, y, peer[0]), (y, x, peer[1])):
        near, far = neighbours(a, 1, "euclidean")[:, 0], cdist(b, b)
        ranks = (far < far[np.arange(n), near][:, None]).sum(1)  # the row itself is among the nearer
        with jax.enable_x64(True):
            assert float(information_imbalance(a, b)) == pytest.approx(2 / n * ranks.mean(), rel=1e-9)
        drawn = 2 / n * np.where(ranks <= searched, ranks, (searched + n) / 2).mean()
        assert theirs == pytest.approx(drawn, rel=0.05)
        assert theirs > 3 * 2 / n * ranks.mean()


def test_overlap_is_mutual_knn_with_the_euclidean_metric():
    x, y = points(), points(seed=1) + points()
    assert neighborhood_overlap(x, y, k=7) == mutual_knn(x, y, k=7, metric="euclidean")


@pytest.mark.parametrize("measure", [neighborhood_overlap, information_imbalance])
def test_it_runs_under_jit_and_vmap_and_has_gradient_0(measure):
    x, y = jnp.asarray(points()), jnp.asarray(points(seed=1))
    expected = measure(x, y, k=3)
    assert jax.jit(lambda a, b: measure(a, b, k=3))(x, y) == pytest.approx(expected)
    np.testing.assert_allclose(jax.vmap(lambda a: measure(a, y, k=3))(jnp.stack([x, y]))[0], expected, rtol=1e-6)
    assert (jax.grad(lambda a: measure(a, y, k=3))(x) == 0).all()


@pytest.mark.parametrize("measure", [neighborhood_overlap, information_imbalance])
def test_bad_input_is_named(measure):
    x = points()
    with pytest.raises(ValueError, match="k: expected 1 <= k <= 59 .*; got 60"):
        measure(x, x, k=60)
    with pytest.raises(ValueError, match="x and y: expected one row per sample"):
        measure(x, x[1:])
    with pytest.raises(ValueError, match="y: expected rows that differ"):
        measure(x, np.ones_like(x))
    with pytest.raises(TypeError, match="k: expected an integer"):
        measure(x, x, k=2.0)
