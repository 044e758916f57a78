"""Subsample intervals of a statistic of one array: any statistic, no row twice, one program."""

from functools import partial
from itertools import combinations
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from repgeo import chance
from repgeo.chance import intervals
from repgeo.spectrum import lidar, participation_ratio, rankme, vendi_score

KEY = jax.random.key(0)


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def test_a_statistic_of_one_array_is_a_measure_of_two_that_ignores_the_second():
    x = normal(80, 5)
    alone = chance.subsample_interval(participation_ratio, x, key=KEY)
    beside = chance.subsample_interval(lambda a, b: participation_ratio(a), x, x, key=KEY)
    np.testing.assert_allclose(alone, beside, rtol=1e-6)


def test_intervals_of_the_participation_ratio_are_as_wide_as_new_samples_spread():
    scale = jnp.arange(1.0, 9)[None, None] ** -0.5
    run = jax.jit(jax.vmap(lambda x, k: chance.subsample_interval(participation_ratio, x, key=k, batch=201)))
    low, high = run(normal(100, 150, 8) * scale, jax.random.split(KEY, 100))
    fresh = jax.vmap(participation_ratio)(normal(2000, 150, 8, seed=1) * scale)
    assert float(jnp.mean(high - low)) == pytest.approx(2 * 1.96 * float(fresh.std()), rel=0.12)
    assert float(jnp.mean((low <= fresh.mean()) & (fresh.mean() <= high))) > 0.8  # skewed, so below its level


def test_no_row_comes_twice():
    def has_twins(x):
        x = jnp.sort(x[:, 0])
        return jnp.any(x[1:] == x[:-1]).astype(jnp.float32)

    low, high = chance.subsample_interval(has_twins, normal(60, 1), key=KEY)
    assert float(low) == float(high) == 0


def test_every_subset_is_drawn_equally_often():
    rows = np.sort(intervals._subsets(KEY, rounds=20_000, n=6, size=2), axis=1)
    found, counts = np.unique(rows, axis=0, return_counts=True)
    assert found.tolist() == [list(pair) for pair in combinations(range(6), 2)]
    assert chisquare(counts).pvalue > 0.001
    rows = np.sort(intervals._subsets(KEY, rounds=50, n=1000, size=700), axis=1)
    assert (np.diff(rows, axis=1) > 0).all() and rows.min() == 0 and rows.max() == 999


def test_samples_are_along_the_first_axis_whatever_the_others():
    z = normal(40, 1, 3) + 0.3 * normal(40, 4, 3, seed=1)
    low, high = chance.subsample_interval(lidar, z, key=KEY)
    assert 1 < float(low) < float(lidar(z)) < float(high) < 3.5


def test_options_reach_the_statistic_from_a_partial_or_a_keyword():
    x = normal(50, 4)
    by_partial = chance.subsample_interval(partial(vendi_score, order=2.0), x, key=KEY)
    by_keyword = chance.subsample_interval(vendi_score, x, key=KEY, order=2.0)
    np.testing.assert_array_equal(by_partial, by_keyword)
    assert float(by_partial[1]) != float(chance.subsample_interval(vendi_score, x, key=KEY)[1])


def test_a_record_counts_for_a_statistic_too():
    def share(x):
        return float(np.mean(np.asarray(x) > -9))  # on numbers alone, and always 1

    share.record = SimpleNamespace(traceable=False, range=(0.0, 1.0))
    assert [float(end) for end in chance.subsample_interval(share, normal(30, 2), key=KEY)] == [1, 1]


def test_calls_of_one_statistic_share_a_program():
    traces = []

    def counted(x):
        traces.append(x.shape)
        return x.mean()

    for seed in range(3):
        chance.subsample_interval(counted, normal(40, 2, seed=seed), key=KEY)
    assert traces.count((20, 2)) == 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: chance.subsample_interval(rankme, np.ones((3, 2)), key=KEY), ValueError, "x: expected at least 4"),
        (lambda: chance.subsample_interval(rankme, np.ones((9, 2)), key=KEY), ValueError, "x: expected rows that"),
        (lambda: chance.subsample_interval(rankme, np.full((9, 2), np.nan), key=KEY), ValueError, "x: expected finite"),
        (lambda: chance.subsample_interval(jnp.mean, np.arange(9.0), key=KEY), ValueError, "x: expected samples along"),
        (lambda: chance.subsample_interval(jnp.mean, ["a"] * 9, key=KEY), TypeError, "x: expected real numbers"),
        (lambda: chance.subsample_interval(jnp.cov, normal(9, 2), key=KEY), ValueError, "expected one number"),
        (lambda: chance.subsample_interval(rankme, normal(9, 2), key=KEY, size=9), ValueError, "size: expected 2 <="),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
