"""Anchors: different rows, drawn as each rule says, and the same ones for the same key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from repgeo.relative import (
    completeness,
    farthest_point,
    kmeans_anchors,
    leverage,
    leverage_scores,
    random_anchors,
    relative,
    stratified,
    top_frequency,
)

KEY = jax.random.key(0)
BY_ROWS = [random_anchors, farthest_point, kmeans_anchors, leverage]


def cloud(n=200, p=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p)).astype(np.float32)


def clusters(seed=0):
    """Twelve tight clusters of 15 rows, far apart, and which each row belongs to."""
    random = np.random.default_rng(seed)
    own = np.repeat(np.arange(12), 15)
    return (10 * random.normal(size=(12, 8))[own] + 0.1 * random.normal(size=(180, 8))).astype(np.float32), own


@pytest.mark.parametrize("choose", BY_ROWS)
@pytest.mark.parametrize("k", [1, 17, 200])
def test_anchors_are_different_rows_and_the_same_for_the_same_key(choose, k):
    x = cloud()
    rows = np.asarray(choose(x, k=k, key=KEY))
    assert rows.shape == (k,) and len(set(rows.tolist())) == k and rows.min() >= 0 and rows.max() < 200
    np.testing.assert_array_equal(rows, choose(x, k=k, key=KEY))
    if k == 17:
        assert set(rows.tolist()) != set(choose(x, k=k, key=jax.random.key(1)).tolist())


@pytest.mark.parametrize("choose", [farthest_point, kmeans_anchors])
def test_rules_that_spread_find_every_cluster_where_chance_does_not(choose):
    x, own = clusters()
    assert len(set(own[np.asarray(choose(x, k=12, key=KEY))].tolist())) == 12
    assert len(set(own[np.asarray(random_anchors(x, k=12, key=KEY))].tolist())) < 12


def test_the_farthest_point_is_that_of_the_literal_loop():
    x = cloud().astype(np.float64)
    with jax.enable_x64(True):
        rows = np.asarray(farthest_point(x, k=20, key=KEY)).tolist()
    unit = x / np.linalg.norm(x, axis=1)[:, None]
    chosen = rows[:1]
    while len(chosen) < 20:
        nearest = (unit @ unit[chosen].T).max(1)
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
    assert rows == chosen


def test_the_anchors_of_kmeans_are_the_rows_nearest_the_centroids():
    x, own = clusters()
    rows = np.asarray(kmeans_anchors(x, k=12, key=KEY))
    judge = KMeans(12, init=x[rows], n_init=1, random_state=0).fit(x)
    nearest = ((x[:, None] - judge.cluster_centers_[None]) ** 2).sum(-1).argmin(0)
    assert set(rows.tolist()) == set(nearest.tolist())


def test_kmeans_scatters_as_little_as_scikit_learn_on_a_cloud():
    x = cloud(600)
    anchors = x[np.asarray(kmeans_anchors(x, k=20, key=KEY, steps=50))]
    judge = KMeans(20, n_init=3, random_state=0).fit(x)
    theirs = x[((x[:, None] - judge.cluster_centers_[None]) ** 2).sum(-1).argmin(0)]
    ours, theirs, chance = (
        ((x[:, None] - a[None]) ** 2).sum(-1).min(1).mean()
        for a in (anchors, theirs, x[np.asarray(random_anchors(x, k=20, key=KEY))])
    )
    assert ours < 1.1 * theirs < chance


def test_leverage_is_the_diagonal_of_the_projection():
    x = cloud().astype(np.float64)
    expected = np.diag(x @ np.linalg.pinv(x))
    np.testing.assert_allclose(leverage_scores(x), expected, rtol=1e-3)
    assert float(leverage_scores(x).sum()) == pytest.approx(5, rel=1e-4)
    assert float(leverage_scores(x[:, :2] @ x[:2]).sum()) == pytest.approx(2, rel=1e-4)


def test_a_row_that_alone_spans_a_direction_is_drawn_far_more_often():
    x = cloud(200, 6)
    x[:, 5] = 0
    x[137, 5] = 1
    keys = jax.random.split(KEY, 40)
    by_leverage = sum(137 in np.asarray(leverage(x, k=30, key=key)) for key in keys)
    by_chance = sum(137 in np.asarray(random_anchors(x, k=30, key=key)) for key in keys)
    assert by_leverage >= 38 and by_chance <= 20
    assert int(completeness(x, x[np.asarray(leverage(x, k=30, key=KEY))]).rank) == 6


def test_every_class_gives_as_many_anchors_up_to_one():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 7], [100, 50, 30, 3]))
    for k, expected in ((8, [2, 2, 2, 2]), (12, [3, 3, 3, 3]), (21, [6, 6, 6, 3]), (183, [100, 50, 30, 3])):
        rows = np.asarray(stratified(labels, k=k, key=KEY))
        assert len(set(rows.tolist())) == k
        assert np.bincount(labels[rows])[[0, 1, 2, 7]].tolist() == expected
    drawn = [labels[stratified(labels, k=6, key=key)] for key in jax.random.split(KEY, 60)]
    shares = np.bincount(np.concatenate(drawn))[[0, 1, 2, 7]] / 60
    assert np.abs(shares - 1.5).max() < 0.35  # who gives one more is drawn


def test_within_a_class_rows_are_drawn_uniformly():
    labels = np.repeat([0, 1], [10, 30])
    drawn = np.concatenate([np.asarray(stratified(labels, k=8, key=key)) for key in jax.random.split(KEY, 100)])
    counts = np.bincount(drawn, minlength=40)
    assert counts[:10].sum() == counts[10:].sum() == 400
    assert counts[:10].min() > 20 and counts[10:].min() > 3


def test_the_commonest_rows_are_drawn_and_no_others():
    frequency = np.random.default_rng(0).permutation(200)
    for k, among in ((20, None), (20, 50)):
        rows = np.asarray(top_frequency(frequency, k=k, among=among, key=KEY))
        assert len(set(rows.tolist())) == k and frequency[rows].min() >= 200 - (among or k)
    assert frequency[np.asarray(top_frequency(frequency, k=20, among=50, key=KEY))].min() < 180


def test_rows_chosen_in_one_space_serve_in_another():
    x, _ = clusters()
    y = x @ np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    rows = kmeans_anchors(x, k=12, key=KEY)
    np.testing.assert_allclose(relative(x, x[np.asarray(rows)]), relative(y, y[np.asarray(rows)]), atol=1e-5)


@pytest.mark.parametrize("choose", BY_ROWS)
def test_it_runs_under_jit_and_vmap_over_keys(choose):
    x, keys = jnp.asarray(cloud()), jax.random.split(KEY, 3)
    expected = np.stack([choose(x, k=7, key=key) for key in keys])
    np.testing.assert_array_equal(jax.jit(jax.vmap(lambda key: choose(x, k=7, key=key)))(keys), expected)
    np.testing.assert_array_equal(jax.jit(lambda x: choose(x, k=7, key=keys[1]))(x), expected[1])


@pytest.mark.parametrize("choose", BY_ROWS)
def test_bad_input_is_named(choose):
    x = cloud()
    with pytest.raises(ValueError, match=r"k: expected 1 <= k <= 200 \(n rows\); got 201"):
        choose(x, k=201, key=KEY)
    with pytest.raises(TypeError, match="k: expected an integer"):
        choose(x, k=3.0, key=KEY)
    with pytest.raises(ValueError, match="x: expected a matrix"):
        choose(x[0], k=1, key=KEY)


def test_other_input_is_named():
    x = cloud()
    x[4] = 0
    with pytest.raises(ValueError, match="x: expected rows with a direction; got 1 zero rows, the first at row 4"):
        farthest_point(x, k=3, key=KEY)
    with pytest.raises(ValueError, match="x: expected at least k = 3 different rows; got 2 among 6"):
        kmeans_anchors(np.repeat(cloud(2), 3, 0), k=3, key=KEY)
    with pytest.raises(ValueError, match="x: expected at least k = 3 rows of some leverage; got 2"):
        leverage(np.concatenate([np.eye(2), np.zeros((3, 2))]), k=3, key=KEY)
    with pytest.raises(TypeError, match="labels: expected classes as integers or booleans; got dtype float64"):
        stratified(np.ones(5), k=2, key=KEY)
    with pytest.raises(ValueError, match=r"labels: expected one number a row, shape \(n,\); got shape \(5, 2\)"):
        stratified(np.ones((5, 2), int), k=2, key=KEY)
    with pytest.raises(TypeError, match="labels: expected concrete values; got a traced array"):
        jax.jit(lambda a: stratified(a, k=2, key=KEY))(np.arange(4))
    with pytest.raises(ValueError, match="frequency: expected numbers; got NaN, the first at row 1"):
        top_frequency([1.0, np.nan], k=1, key=KEY)
    with pytest.raises(ValueError, match=r"among: expected 3 <= among <= 5 \(k to n rows\); got 2"):
        top_frequency(np.arange(5), k=3, among=2, key=KEY)
