"""Chance: the null keeps its level, intervals cover, and the bootstrap is refused where it lies."""
from functools import partial
from itertools import permutations
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import chance, distance_correlation

KEY = jax.random.key(0)


@partial(jax.jit, static_argnames="power")
def overlap(x, y, *, power=2):
    """A traceable similarity without a record."""
    x, y = x - x.mean(0, keepdims=True), y - y.mean(0, keepdims=True)
    return (jnp.abs(x.T @ y) ** power).sum()


@jax.jit
def correlation(x, y):
    return jnp.corrcoef(x[:, 0], y[:, 0])[0, 1]


@jax.jit
def debiased_cka(x, y):
    """U-centred linear CKA, written out; a Gram statistic."""

    def centred(a):
        a = a - a.mean(0, keepdims=True)
        n, others = len(a), 1 - jnp.eye(len(a))
        k = a @ a.T * others
        sums = k.sum(0, keepdims=True) / (n - 2)
        return (k - sums - sums.T + k.sum() / ((n - 1) * (n - 2))) * others

    k, m = centred(x), centred(y)
    return (k * m).sum() / jnp.sqrt((k * k).sum() * (m * m).sum())


def recorded(measure, **fields):
    """The measure under another identity, with a record."""

    def own(x, y, **options):
        return measure(x, y, **options)

    own.record = SimpleNamespace(**fields)
    return own


@partial(jax.jit, static_argnames=("n", "p", "q"))
def pair(n=40, p=3, q=4, *, signal=0.0, seed=0):
    a, b = jax.random.split(jax.random.key(seed))
    x, noise = jax.random.normal(a, (n, p)), jax.random.normal(b, (n, q))
    return x, noise + signal * x[:, :1]


def test_a_strong_relation_gets_the_smallest_p_value_and_none_a_middling_one():
    related = chance.permutation_test(overlap, *pair(signal=3.0), key=KEY, rounds=99)
    assert float(related.p) == pytest.approx(0.01) and float(related.z) > 3 and related.null.shape == (99,)
    free = chance.permutation_test(overlap, *pair(), key=KEY, rounds=99)
    assert 0.05 < float(free.p) <= 1 and abs(float(free.z)) < 3


def test_the_permutation_test_rejects_true_nulls_no_more_often_than_it_says():
    keys = jax.random.split(jax.random.key(1), (2, 200))
    xs = jax.random.normal(jax.random.key(2), (200, 20, 2))
    ys = jax.random.normal(jax.random.key(3), (200, 20, 3)) ** 3  # heavy tails change nothing
    one = jax.jit(jax.vmap(lambda k, x, y: chance.permutation_test(overlap, x, y, key=k, rounds=99).p))
    p = np.asarray(one(keys[0], xs, ys))
    assert np.mean(p <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert 0.4 < p.mean() < 0.6  # uniform, so not merely conservative


def test_p_is_the_share_of_pairings_that_reach_the_score_counting_the_real_one():
    test = chance.permutation_test(overlap, *pair(signal=0.3), key=KEY, rounds=50)
    assert float(test.p) == pytest.approx((1 + np.sum(np.asarray(test.null) >= float(test.score))) / 51)
    assert float(test.z) == pytest.approx(float((test.score - test.null.mean()) / test.null.std()), rel=1e-5)
    np.testing.assert_allclose(test.quantile((0.0, 1.0)), [test.null.min(), test.null.max()])


def test_the_null_holds_scores_of_shuffled_rows_of_y_whatever_the_batch():
    x, y = pair(n=4, signal=1.0)
    small, large = (chance.permutation_test(overlap, x, y, key=KEY, rounds=60, batch=b) for b in (7, 100))
    np.testing.assert_allclose(small.null, large.null, rtol=1e-5)
    possible = np.array([float(overlap(x, y[jnp.array(o)])) for o in permutations(range(4))])
    assert all(np.isclose(possible, value, rtol=1e-4).any() for value in np.asarray(small.null))
    assert len(np.unique(np.round(np.asarray(small.null), 3))) > 10


def test_the_side_comes_from_the_record_and_the_keyword_overrules_it():
    x, y = pair(signal=3.0)
    distance = recorded(lambda a, b: -overlap(a, b), kind="distance")
    similarity = recorded(overlap, kind="similarity")
    p = [float(chance.permutation_test(m, x, y, key=KEY, rounds=49, alternative=side).p)
         for m, side in [(distance, None), (recorded(distance, kind="metric"), None), (similarity, None),
                         (distance, "greater"), (similarity, "less")]]
    assert p == pytest.approx([0.02, 0.02, 0.02, 1.0, 1.0])


def test_a_measure_that_cannot_be_traced_gives_the_same_null_in_a_loop():
    x, y = pair(signal=0.5)

    def by_numpy(a, b):
        return float(overlap(np.asarray(a), np.asarray(b)))

    looped = chance.permutation_test(recorded(by_numpy, traceable=False), x, y, key=KEY, rounds=20)
    mapped = chance.permutation_test(overlap, x, y, key=KEY, rounds=20)
    np.testing.assert_allclose(looped.null, mapped.null, rtol=1e-4)
    assert float(looped.p) == float(mapped.p)


def test_a_measure_of_many_numbers_is_refused_in_every_test():
    for test in (chance.permutation_test, *INTERVALS):
        with pytest.raises(ValueError, match=r"expected one number for a pair, got shape \(3,\)"):
            test(lambda x, y: (x * x).mean(0), *pair(), key=KEY)


def test_an_untraceable_measure_may_return_anything_that_counts_as_a_number():
    class Score:
        def __init__(self, x):
            self.x = x

        def __float__(self):
            return float(self.x.mean())

    x, y = pair()
    low, high = chance.jackknife_interval(recorded(lambda a, b: Score(a), traceable=False), x, y, key=KEY)
    assert low < x.mean() < high


def test_a_second_call_with_the_same_shapes_compiles_nothing_even_through_a_fresh_partial():
    traces = []

    def counted(x, y, *, power):
        traces.append(power)
        return overlap(x, y, power=power)

    x, y = pair()
    chance.permutation_test(partial(counted, power=1), x, y, key=KEY, rounds=10)
    first = len(traces)
    chance.permutation_test(partial(counted, power=1), y=y, x=x, key=jax.random.key(9), rounds=10)
    chance.permutation_test(counted, x, y, key=KEY, rounds=10, power=1)
    assert len(traces) == first and set(traces) == {1}


def test_records_are_seen_through_partials():
    safe = recorded(overlap, duplicates_safe=False)
    with pytest.raises(ValueError, match="compares rows with each other"):
        chance.bootstrap_interval(partial(partial(safe, power=1), power=2), *pair(), key=KEY)


def test_a_measure_that_is_undefined_on_shuffled_rows_is_reported():
    def fragile(x, y):
        return jnp.where(jnp.abs(x - y).max() == 0, 1.0, jnp.nan)

    x, _ = pair()
    with pytest.raises(ValueError, match="not finite on this pair or on a shuffled one"):
        chance.permutation_test(fragile, x, x, key=KEY, rounds=10)


def test_naive_bootstrap_of_debiased_cka_on_independent_data_averages_p_over_n_plus_p():
    n, p = 64, 128
    keys = jax.random.split(jax.random.key(4), 3)
    x, y = jax.random.normal(keys[0], (n, p)), jax.random.normal(keys[1], (n, p))
    rows = jax.random.randint(keys[2], (30, n), 0, n)
    resampled = jax.vmap(lambda r: debiased_cka(x[r], y[r]))(rows)
    assert abs(float(debiased_cka(x, y))) < 0.1
    assert float(resampled.mean()) == pytest.approx(p / (n + p), abs=0.05)


def test_the_bootstrap_is_refused_with_the_reason_and_the_way_out():
    with pytest.raises(ValueError, match=r"p / \(n \+ p\) instead of 0; use jackknife_interval or subsample"):
        chance.bootstrap_interval(recorded(debiased_cka, duplicates_safe=False), *pair(), key=KEY)


def test_the_bootstrap_notices_the_same_fault_in_a_measure_without_a_record():
    x, y = pair(64, 128, 128)
    with pytest.raises(ValueError, match="debiased_cka is .* on all rows, but its resampled values lie in"):
        chance.bootstrap_interval(debiased_cka, x, y, key=KEY)


INTERVALS = [chance.jackknife_interval, chance.subsample_interval, chance.bootstrap_interval]


@pytest.mark.parametrize("interval", INTERVALS)
def test_intervals_cover_a_known_correlation_as_often_as_they_say(interval):
    n, trials, rho = 80, 300, 0.6
    a, b, c = jax.random.split(jax.random.key(5), 3)
    x = jax.random.normal(a, (trials, n, 1))
    y = rho * x + np.sqrt(1 - rho**2) * jax.random.normal(b, (trials, n, 1))
    rounds = {} if interval is chance.jackknife_interval else {"rounds": 200}
    run = jax.jit(jax.vmap(lambda u, v, k: interval(correlation, u, v, key=k, batch=201, **rounds)))
    low, high = run(x, y, jax.random.split(c, trials))
    covered = float(np.mean((low <= rho) & (rho <= high)))
    assert 0.95 - 0.05 <= covered <= 0.99, covered  # 3 Monte-Carlo errors and what n = 80 costs
    assert 0.2 < float(np.mean(high - low)) / (2 * 1.96 * (1 - rho**2) / np.sqrt(n)) < 1.3


def test_jackknife_and_half_samples_of_debiased_cka_have_the_spread_of_new_data():
    def sample(key):
        a, b, c = jax.random.split(key, 3)
        latent = jax.random.normal(a, (40, 3))
        return tuple(jnp.concatenate([latent, jax.random.normal(k, (40, 5))], 1) for k in (b, c))

    xs, ys = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(6), 200))
    spread = float(jax.vmap(debiased_cka)(xs, ys).std())
    for interval in (chance.jackknife_interval, partial(chance.subsample_interval, rounds=60)):
        ends = [interval(debiased_cka, xs[i], ys[i], key=jax.random.key(i)) for i in range(12)]
        assert np.mean([float(high - low) / 2 for low, high in ends]) == pytest.approx(2 * spread, rel=0.25)


@pytest.mark.parametrize("size", [20, 60])
def test_subsample_intervals_have_the_same_width_whatever_the_size(size):
    x, y = pair(80, signal=1.0)
    low, high = chance.subsample_interval(lambda a, b: a.mean(), x, y, key=KEY, rounds=400, size=size)
    assert float(high - low) == pytest.approx(2 * 1.96 * float(x.mean(1).std()) / np.sqrt(80), rel=0.2)


def test_a_range_recorded_for_default_options_does_not_cut_the_interval_of_others():
    x, y = jax.random.normal(KEY, (2, 40, 3))
    bound = partial(distance_correlation, unbiased=True)
    for measure, options in ((distance_correlation, {"unbiased": True}), (bound, {})):
        low, high = chance.jackknife_interval(measure, x, y, key=KEY, blocks=10, **options)
        assert low < 0 < high


def test_intervals_stop_at_the_range_that_the_record_declares_and_keep_the_estimate():
    x, _ = pair(30)
    near_one = recorded(jax.jit(lambda a, b: 1 - jnp.abs(a).mean() * 1e-6), range=(0.0, 1.0))
    for interval in INTERVALS:
        low, high = interval(near_one, x, x, key=KEY)
        assert 0 <= float(low) <= float(near_one(x, x)) <= float(high) <= 1


def test_left_over_rows_of_the_jackknife_are_out_of_every_replicate():
    seen = []

    def counted(x, y):
        seen.append(x.shape)
        return (x * y).mean()

    x, _ = pair(43)
    chance.jackknife_interval(counted, x, x, key=KEY, blocks=10)
    assert set(seen) == {(36, 3), (43, 3)}  # 10 blocks of 4; 3 rows left over; the centre uses all 43


@pytest.mark.parametrize("interval", INTERVALS)
def test_intervals_repeat_with_the_key_and_move_with_it(interval):
    x, y = pair(signal=1.0)
    first, again, other = (np.asarray(interval(correlation, x, y, key=jax.random.key(k))) for k in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_mean_intervals_cover_the_mean_of_few_runs():
    runs = np.random.default_rng(0).normal(2.0, 3.0, (5, 4000))
    low, high = chance.mean_interval(runs)
    assert np.mean((low <= 2) & (2 <= high)) == pytest.approx(0.95, abs=0.012)
    wide = chance.mean_interval(runs[:, 0], level=0.99)
    assert isinstance(wide[0], float) and wide[0] < low[0] < high[0] < wide[1]


def test_proportion_intervals_agree_with_scipy_and_stay_within_zero_and_one():
    from scipy.stats import binomtest

    for hits, trials in [(0, 10), (3, 10), (10, 10), (40, 45), (1, 1)]:
        theirs = binomtest(hits, trials).proportion_ci(0.9, method="wilson")
        low, high = chance.proportion_interval(hits, trials, level=0.9)
        assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
        assert 0 <= low <= hits / trials <= high <= 1


@pytest.mark.parametrize(("call", "words"), [
    (lambda x, y: chance.permutation_test(overlap, x, y[:-1], key=KEY), "one row per sample"),
    (lambda x, y: chance.permutation_test(overlap, x, y.at[0, 0].set(jnp.nan), key=KEY), "y: expected fin"),
    (lambda x, y: chance.permutation_test(overlap, x[:, 0], y, key=KEY), "x: expected a matrix"),
    (lambda x, y: chance.permutation_test(overlap, x, y, key=KEY, rounds=0), "rounds"),
    (lambda x, y: chance.permutation_test(overlap, x, y, key=KEY, batch=0), "batch"),
    (lambda x, y: chance.permutation_test(overlap, x, y, key=KEY, alternative="both"), "greater, less"),
    (lambda x, y: chance.jackknife_interval(overlap, x, y, key=KEY, blocks=41), "every block needs a row"),
    (lambda x, y: chance.jackknife_interval(overlap, x, y, key=KEY, blocks=1), "blocks"),
    (lambda x, y: chance.jackknife_interval(overlap, x, y, key=KEY, level=1.0), r"level: .* \(0, 1\)"),
    (lambda x, y: chance.jackknife_interval(overlap, x, y, key=KEY, level=95), "level"),
    (lambda x, y: chance.subsample_interval(overlap, x, y, key=KEY, size=40), "size"),
    (lambda x, y: chance.subsample_interval(overlap, x, y, key=KEY, rounds=5), "quantiles need them"),
    (lambda x, y: chance.bootstrap_interval(overlap, x, y, key=KEY, rounds=5), "quantiles need them"),
    (lambda x, y: chance.mean_interval([1.0]), "at least 2 runs"),
    (lambda x, y: chance.mean_interval(3.0), "at least 2 runs"),
    (lambda x, y: chance.mean_interval([1.0, np.inf]), "1 NaN or inf"),
    (lambda x, y: chance.proportion_interval(11, 10), "hits"),
    (lambda x, y: chance.proportion_interval(0, 0), "trials"),
])
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(*pair())


def test_array_options_and_fractional_counts_are_type_errors():
    with pytest.raises(TypeError, match="options: expected plain numbers and words"):
        chance.permutation_test(overlap, *pair(), key=KEY, power=np.ones(2))
    with pytest.raises(TypeError, match="hits: expected an integer"):
        chance.proportion_interval(0.5, 10)
