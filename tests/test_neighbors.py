"""Nearest neighbours: exact, blocked, ties to the lower index; distances to places, of which copies are one."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from repgeo import linalg
from repgeo.neighbors import METRICS, _places, _places_in_parts, knn, nearest, neighborhoods, originals, shared, within


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


def places(x, k):
    """Distances to and rows of the k nearest different places, copies left out, one row at a time in float64."""
    x = np.asarray(x, np.float64)
    first = np.unique(x, axis=0, return_index=True)[1]
    found = []
    for row in x:
        far = np.linalg.norm(x - row, axis=1)
        others = sorted((far[j], j) for j in first if far[j] > 0)[:k]
        found.append(others)
    return np.array([[f for f, _ in row] for row in found]), np.array([[j for _, j in row] for row in found])


@pytest.mark.parametrize("n", [9, 255, 256, 257, 700])
@pytest.mark.parametrize("k", [1, 2, 7])
def test_neighborhoods_are_those_of_the_oracle_on_both_sides_of_a_block_edge(n, k):
    x = points(n)
    near = neighborhoods(x, k=k)
    distances, rows = places(x, k)
    np.testing.assert_allclose(near.distances, distances, rtol=1e-6)
    assert (np.asarray(near.rows) == rows).mean() > 0.99
    assert near.first.all()


def test_all_other_places_are_found_when_k_is_n_minus_1():
    x = points(40)
    near = neighborhoods(x, k=39)
    np.testing.assert_allclose(near.distances, places(x, 39)[0], rtol=1e-6)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_copies_are_one_place_whose_first_row_alone_is_a_neighbour(seed):
    random = np.random.default_rng(seed)
    x = random.integers(-2, 3, (64, 3)).astype(np.float32)  # 125 places for 64 rows: copies and ties
    x[0] *= -1  # -0 is 0
    near = neighborhoods(x, k=5)
    distances, _ = places(x, 5)
    np.testing.assert_allclose(near.distances, distances, rtol=1e-6)
    first = {tuple(row): i for i, row in reversed(list(enumerate(x.tolist())))}
    np.testing.assert_array_equal(originals(x), [first[tuple(row)] for row in x.tolist()])
    np.testing.assert_array_equal(near.first, [first[tuple(row)] == i for i, row in enumerate(x.tolist())])
    assert np.asarray(near.first)[np.asarray(near.rows)].all()
    far = np.linalg.norm(x[:, None] - x[np.asarray(near.rows)], axis=-1)
    np.testing.assert_allclose(far, near.distances, rtol=1e-6)


def test_near_duplicates_keep_their_digits_where_products_of_rows_lose_them():
    base = points(200, 16)
    x = np.concatenate([base, base + np.float32(1e-4) * points(200, 16, seed=1)])
    near = neighborhoods(x, k=3)
    expected = places(x, 3)[0]
    np.testing.assert_allclose(near.distances, expected, rtol=1e-5)
    np.testing.assert_array_equal(near.rows[:, 0], (np.arange(400) + 200) % 400)
    assert expected[:, 0].max() < 1e-3
    squares = np.asarray(linalg.sq_distances(jnp.asarray(x)))[np.arange(400), (np.arange(400) + 200) % 400]
    assert (np.abs(np.sqrt(squares) / expected[:, 0] - 1) > 0.1).any()  # what the products alone say


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_tight_clusters_and_any_scale_keep_their_distances(size):
    x = np.concatenate([points(60, 4) * 1e-3, points(60, 4, seed=1) * 1e-3 + 1, np.full((1, 4), -50)])
    x = (size * x).astype(np.float32)
    near = neighborhoods(x, k=4)
    np.testing.assert_allclose(near.distances, places(x, 4)[0], rtol=1e-5)


def test_an_offset_costs_no_digit_that_the_input_has():
    x = np.round(points(300, 8) * 64) + np.float32(2.0**16)
    np.testing.assert_allclose(neighborhoods(x, k=5).distances, places(x, 5)[0], rtol=1e-6)


def test_neighborhoods_run_under_jit_and_vmap_and_have_the_gradient_of_the_distances():
    x = jnp.asarray(np.concatenate([points(40), points(3)]))
    expected = neighborhoods(x, k=4)
    for found in (jax.jit(lambda a: neighborhoods(a, k=4))(x), jax.vmap(lambda a: neighborhoods(a, k=4))(x[None])):
        for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
            np.testing.assert_allclose(b.reshape(a.shape), a, rtol=1e-6)
    weights = jnp.asarray(points(43, 4, seed=2))

    def directly(a):
        return jnp.sum(weights * jnp.linalg.norm(a[:, None] - a[expected.rows], axis=-1))

    slopes = jax.grad(lambda a: jnp.sum(weights * neighborhoods(a, k=4).distances))(x)
    np.testing.assert_allclose(slopes, jax.grad(directly)(x), rtol=1e-4, atol=1e-5)


def test_places_that_do_not_exist_are_an_error_or_under_jit_nan():
    x = np.repeat(points(3), 5, 0)
    with pytest.raises(ValueError, match="x: expected more than k = 3 different rows; got 3 among 15 rows"):
        neighborhoods(x, k=3)
    assert np.isfinite(neighborhoods(x, k=2).distances).all()
    assert np.isnan(jax.jit(lambda a: neighborhoods(a, k=3).distances)(x)).any(1).all()
    assert np.isnan(jax.jit(lambda a: neighborhoods(a, k=2).distances)(jnp.asarray(x).at[3].set(jnp.nan))).all()
    for k in (0, 15):
        with pytest.raises(ValueError, match=f"k: expected 1 <= k <= 14 .*; got {k}"):
            neighborhoods(x, k=k)


def test_neighborhoods_are_searched_for_or_read_off():
    x = points(40)
    near = neighborhoods(x, k=9)
    np.testing.assert_array_equal(within(near, k=4).distances, near.distances[:, :4])
    np.testing.assert_array_equal(within(x, k=9).rows, near.rows)
    with pytest.raises(ValueError, match="k: expected 1 <= k <= 9 .as many neighbours as were searched for.; got 10"):
        within(near, k=10)
    batch = jax.vmap(lambda a: neighborhoods(a, k=3))(jnp.asarray(x)[None])
    with pytest.raises(ValueError, match=r"neighbourhoods of one matrix; got distances of shape \(1, 40, 3\)"):
        within(batch, k=2)


@pytest.mark.parametrize("cores", [1, 2, 3, 16])
@pytest.mark.parametrize("n", [200, 257, 700, 1100])
def test_the_search_gives_the_same_bits_on_any_number_of_cores_and_in_one_program(monkeypatch, n, cores):
    monkeypatch.setattr(linalg, "cores", lambda: cores)
    x = points(n)
    x[7] = x[n - 5] = x[n // 2]
    for got, expected in zip(_places_in_parts(jnp.asarray(x), 3), _places(jnp.asarray(x), 3), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_search_at_50_000_rows_needs_less_than_its_bound():
    n, p = 50_000, 64
    compiled = _places.__wrapped__.lower(jax.ShapeDtypeStruct((n, p), jnp.float32), 2).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 350e6
