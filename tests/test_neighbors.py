"""Nearest neighbours: exact, blocked, ties to the lower index."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from repgeo.neighbors import METRICS, knn, nearest, shared


def points(n, p=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p)).astype(np.float32)


@pytest.mark.parametrize("n", [499, 500, 501, 1000, 1001])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_brute_force_of_scikit_learn_finds_the_same_rows_on_both_sides_of_a_block_edge(n, metric):
    x = points(n)
    judge = NearestNeighbors(n_neighbors=7, metric=metric, algorithm="brute").fit(x.astype(np.float64))
    expected = judge.kneighbors(return_distance=False)
    got = np.asarray(knn(x, k=7, metric=metric))
    assert (got == expected).mean() > 0.999  # float32 may swap two rows at almost one distance
    assert got.shape == (n, 7)


@pytest.mark.parametrize("metric", METRICS)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_the_oracle_finds_the_same_rows(metric, seed):
    x = points(40, seed=seed).astype(np.float64)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(knn(x, k=9, metric=metric), oracles.neighbours(x, 9, metric))


@pytest.mark.parametrize("metric", ["euclidean", "inner"])
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_ties_among_integers_go_to_the_lower_index(metric, seed):
    x = np.random.default_rng(seed).integers(0, 3, (64, 3))  # 27 places for 64 rows; 64 keeps the mean exact
    np.testing.assert_array_equal(knn(x, k=9, metric=metric), oracles.neighbours(x, 9, metric))


def test_ties_along_the_axes_go_to_the_lower_index_for_directions():
    x = np.eye(4)[np.random.default_rng(0).integers(0, 4, 64)] * np.random.default_rng(1).integers(1, 9, (64, 1))
    np.testing.assert_array_equal(knn(x, k=30, metric="cosine"), oracles.neighbours(x, 30, "cosine"))


@pytest.mark.parametrize("metric", METRICS)
def test_a_duplicate_is_the_first_neighbour_and_a_row_never_its_own(metric):
    half = points(30)
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    got = np.asarray(knn(np.concatenate([half, half]), k=5, metric=metric))
    np.testing.assert_array_equal(got[:, 0], (np.arange(60) + 30) % 60)
    assert not (got == np.arange(60)[:, None]).any()


@pytest.mark.parametrize("metric", METRICS)
def test_all_other_rows_are_neighbours_when_k_is_n_minus_1(metric):
    got = np.asarray(knn(points(40), k=39, metric=metric))
    np.testing.assert_array_equal(np.sort(got, 1), [[j for j in range(40) if j != i] for i in range(40)])


def test_two_rows_are_each_others_neighbours():
    assert knn(points(2), k=1).tolist() == [[1], [0]]


def test_distances_survive_a_large_offset_and_any_scale():
    x = np.round(points(40) * 64)
    expected = knn(x, k=9, metric="euclidean")
    np.testing.assert_array_equal(knn(x + 2.0**16, k=9, metric="euclidean"), expected)
    for metric in METRICS:
        expected = knn(x, k=9, metric=metric)
        for size in (2.0**-60, 2.0**60):
            np.testing.assert_array_equal(knn(size * x, k=9, metric=metric), expected)


def test_rows_of_very_different_lengths_keep_their_directions():
    x = points(40)
    lengths = 2.0 ** np.random.default_rng(0).integers(-60, 60, (40, 1))
    np.testing.assert_array_equal(knn(lengths * x, k=9), knn(x, k=9))


def test_a_zero_row_has_no_direction_but_has_a_place():
    x = points(40)
    x[[7, 9]] = 0
    with pytest.raises(ValueError, match="x: expected rows with a direction; got 2 zero rows, the first at row 7"):
        knn(x, k=3)
    assert knn(x, k=3, metric="euclidean")[7, 0] == 9


def test_it_runs_under_jit_and_vmap_and_with_a_closed_over_array():
    x = jnp.asarray(points(40))
    expected = knn(x, k=9)
    np.testing.assert_array_equal(jax.jit(lambda a: knn(a, k=9))(x), expected)
    np.testing.assert_array_equal(jax.jit(lambda: knn(x, k=9))(), expected)
    np.testing.assert_array_equal(jax.vmap(lambda a: knn(a, k=9))(x[None])[0], expected)


def test_memory_stays_in_blocks():
    n = 4000
    compiled = nearest.lower(jax.ShapeDtypeStruct((n, 8), jnp.float32), k=5, metric="euclidean").compile()
    assert compiled.memory_analysis().temp_size_in_bytes < n * n * 4 / 2


def test_shared_counts_common_neighbours_in_any_order():
    a, b = jnp.array([[1, 2, 3], [4, 5, 6]]), jnp.array([[3, 9, 1], [7, 8, 9]])
    assert shared(a, b).tolist() == [2, 0]
    assert shared(a, a[:, ::-1]).tolist() == [3, 3]
