"""Calibration: every layer by every layer against shuffled rows, equal to a literal loop, at the level it says."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import chance
from repgeo import similarity as sim
from repgeo.chance.pairings import shuffles
from repgeo.similarity import shuffled

KEY = jax.random.key(0)
N = 13


def layers(widths, *, n=N, seed=0, signal=1.0):
    """Layers of a common latent, or of none where `signal` is 0."""
    random = np.random.default_rng(seed)
    z = signal * np.random.default_rng(9).normal(size=(n, 2))
    return [(z @ random.normal(size=(2, p)) + random.normal(size=(n, p))).astype(np.float32) for p in widths]


def literal_gram(x, *, debiased):
    """Centred linear Gram matrix by the textbook: H K H, or Szekely and Rizzo's U-centring."""
    n = len(x)
    k = x @ x.T
    if not debiased:
        h = np.eye(n) - 1 / n
        return h @ k @ h
    k = k - np.diag(np.diag(k))
    u = k - k.sum(0) / (n - 2) - k.sum(1)[:, None] / (n - 2) + k.sum() / ((n - 1) * (n - 2))
    return u - np.diag(np.diag(u))


def literal_cka(x, y, *, debiased):
    k, m = literal_gram(x, debiased=debiased), literal_gram(y, debiased=debiased)
    return (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())


def literal_hsic(x, y, *, debiased):
    n = len(x)
    k, m = literal_gram(x, debiased=debiased), literal_gram(y, debiased=debiased)
    return (k * m).sum() / (n * (n - 3) if debiased else (n - 1) ** 2)


def literal_knn(x, y, *, k):
    def lists(a):
        a = a / np.linalg.norm(a, axis=1, keepdims=True)
        scores = a @ a.T
        np.fill_diagonal(scores, -np.inf)
        return np.argsort(-scores, 1)[:, :k]

    return np.mean([len(set(a) & set(b)) / k for a, b in zip(lists(x), lists(y), strict=True)])


ORACLES = [
    (sim.cka, {}, partial(literal_cka, debiased=False)),
    (sim.cka_debiased, {}, partial(literal_cka, debiased=True)),
    (sim.hsic, {}, partial(literal_hsic, debiased=False)),
    (sim.hsic_unbiased, {}, partial(literal_hsic, debiased=True)),
    (sim.mutual_knn, {"k": 3}, partial(literal_knn, k=3)),
]
PREPARED = [
    (sim.cka_rbf, {}),
    (sim.cka_rbf, {"bandwidth": 0.8, "debiased": True}),
    (sim.rsa, {"distance": "euclidean"}),
    (sim.rsa, {"correlation": "pearson"}),
    (sim.distance_correlation, {}),
    (sim.distance_correlation, {"unbiased": True}),
    (sim.knn_jaccard, {"k": 3}),
    (sim.cycle_knn, {"k": 2}),
    (sim.mean_cca, {}),
    (sim.r2_cca, {}),
    (sim.svcca, {"threshold": 0.8}),
    (sim.pwcca, {}),
    (sim.linear_predictivity, {}),
    (sim.gulp, {"ridge": 0.1}),
    (sim.eigenspace_overlap, {}),
    (sim.procrustes, {}),
    (sim.nbs, {}),
    (sim.shape_distance, {"alpha": 0.5}),
]


def orders(rounds, n=N):
    """The shuffles that `calibrated` draws from KEY."""
    return np.asarray(shuffles(KEY, rounds=rounds, n=n))[1:]


def named(value):
    return getattr(value, "__name__", None) or (str(value) if isinstance(value, dict) else "")


@pytest.mark.parametrize(("measure", "options", "oracle"), ORACLES, ids=named)
def test_a_grid_of_nulls_equals_a_literal_loop_over_the_same_shuffles(measure, options, oracle):
    xs, ys = layers([3, 20]), layers([3, 20, 3], seed=1)
    with jax.enable_x64(True):
        xs, ys = ([z.astype(np.float64) for z in side] for side in (xs, ys))
        found = chance.calibrated(measure, xs, ys, key=KEY, rounds=7, **options)
        rows = orders(7)
        score = np.array([[oracle(x, y) for y in ys] for x in xs])
        null = np.array([[[oracle(x, y[r]) for y in ys] for x in xs] for r in rows])
        np.testing.assert_allclose(found.score, score, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.null, null, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.mean, null.mean(0), rtol=1e-10, atol=1e-12)
        quantiles = np.quantile(null, (0.05, 0.5), 0)
        np.testing.assert_allclose(found.quantile((0.05, 0.5)), quantiles, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.z, (score - null.mean(0)) / null.std(0), rtol=1e-8)
        np.testing.assert_array_equal(np.round(8 * np.asarray(found.p)), 1 + (null >= score - 1e-12).sum(0))


@pytest.mark.parametrize(("measure", "options"), PREPARED, ids=named)
def test_shuffling_what_was_prepared_equals_preparing_what_was_shuffled(measure, options):
    assert measure.permuted
    with jax.enable_x64(True):
        x, y = (layers([p], seed=p)[0].astype(np.float64) for p in (16, 4))
        found = chance.calibrated(measure, x, y, key=KEY, rounds=2, **options)
        expected = [measure(x, y[r], **options) for r in [np.arange(N), *orders(2)]]
        np.testing.assert_allclose([found.score, *found.null], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("measure", [sim.pwcca, sim.procrustes], ids=named)
def test_layers_prepared_at_unequal_widths_are_shuffled_as_one(measure):
    xs, ys = layers([3, 16]), layers([4, 3], seed=1)
    with jax.enable_x64(True):
        xs, ys = ([z.astype(np.float64) for z in side] for side in (xs, ys))
        found = chance.calibrated(measure, xs, ys, key=KEY, rounds=2)
        for null, r in zip(found.null, orders(2), strict=True):
            np.testing.assert_allclose(null, sim.grid(measure, xs, [y[r] for y in ys]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("n", [4, 5, 8, 33])
def test_each_pair_of_samples_is_visited_once_whatever_the_tiles(n, monkeypatch):
    """Even and odd n, one line of pairs a tile and all in one."""
    random = np.random.default_rng(n)
    with jax.enable_x64(True):
        a, b = random.normal(size=(2, 2, n, n))
        a, b = (tuple(jnp.asarray(k + k.T) for k in side) for side in (a, b))
        rows = jnp.asarray([random.permutation(n) for _ in range(3)])
        expected = [[[np.sum(k * m[r][:, r]) for m in b] for k in a] for r in np.asarray(rows)]
        for size in (0, 300 * n, 2**20):
            monkeypatch.setattr(shuffled, "_TILE_BYTES", size)
            got = shuffled._products.__wrapped__(a, b, rows)  # uncompiled: a cached program would keep its tiles
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-9)


def test_layers_whose_gram_matrices_exceed_memory_go_through_in_groups(monkeypatch):
    xs, ys = layers([3, 4, 5]), layers([4, 3, 2, 6], seed=1)
    whole = chance.calibrated(sim.cka_debiased, xs, ys, key=KEY, rounds=3)
    monkeypatch.setattr(shuffled, "_GRAM_BYTES", 2 * N * N * 4)
    groups = chance.calibrated(sim.cka_debiased, xs, ys, key=KEY, rounds=3)
    np.testing.assert_allclose(groups.null, whole.null, rtol=1e-4, atol=1e-6)


def test_memory_does_not_grow_with_the_number_of_shuffles():
    grams = (jax.ShapeDtypeStruct((400, 400), jnp.float32),) * 12

    def temporaries(rounds):
        rows = jax.ShapeDtypeStruct((rounds, 400), jnp.int32)
        return shuffled._products.lower(grams, grams, rows).compile().memory_analysis().temp_size_in_bytes

    few, many = temporaries(2), temporaries(1000)
    assert many - few < 4 * 2**20 and many < 2 * 12 * 400**2 * 4


def plain_overlap(x, y, *, power=2):
    """A similarity without a record."""
    x, y = x - x.mean(0, keepdims=True), y - y.mean(0, keepdims=True)
    return (jnp.abs(x.T @ y) ** power).sum()


@pytest.mark.parametrize("batch", [3, 50])
def test_any_callable_is_scored_on_layers_of_unequal_widths_in_their_order(batch):
    xs, ys = layers([3, 5, 3]), layers([4, 2, 4, 2], seed=1)
    found = chance.calibrated(plain_overlap, xs, ys, key=KEY, rounds=5, batch=batch, power=1)
    for r, null in zip(orders(5), found.null, strict=True):
        expected = [[plain_overlap(x, y[r], power=1) for y in ys] for x in xs]
        np.testing.assert_allclose(null, expected, rtol=1e-4)


def test_layers_of_one_shape_share_one_program():
    traces = []

    def counted(x, y):
        traces.append(x.shape)
        return (x * y).sum()

    xs, ys = layers([3, 3, 3]), layers([3, 3], seed=1)
    chance.calibrated(counted, xs, ys, key=KEY, rounds=5)
    first = len(traces)
    chance.calibrated(counted, xs, ys, key=jax.random.key(1), rounds=5)
    assert 1 <= first == len(traces) <= 2


def test_a_measure_that_cannot_be_traced_is_scored_in_a_loop():
    xs, ys = layers([3, 4]), layers([4], seed=1)
    found = chance.calibrated(sim.match_units, xs, ys, key=KEY, rounds=4)
    expected = [[[float(sim.match_units(x, y[r])) for y in ys] for x in xs] for r in orders(4)]
    assert found.score.shape == (2, 1)
    np.testing.assert_allclose(found.null, expected, rtol=1e-5)


def test_matrices_have_no_axis_and_stacks_are_sequences():
    (x,), ys = layers([3]), layers([4, 4], seed=1)
    call = partial(chance.calibrated, sim.cka, key=KEY, rounds=3)
    assert call(x, ys[0]).score.shape == () and call(x, ys[0]).null.shape == (3,)
    assert call(x, ys).score.shape == (2,) and call([x], ys[0]).null.shape == (3, 1)
    np.testing.assert_array_equal(call([x], ys).null, call((x,), np.stack(ys)).null)
    np.testing.assert_array_equal(call(x.tolist(), ys[0].tolist()).null, call(list(x), jnp.asarray(ys[0])).null)
    np.testing.assert_allclose(call([x.tolist()], ys).null[:, 0], call(x, ys).null, rtol=1e-6)


def test_one_pair_is_a_permutation_test_to_the_bit():
    (x,), (y,) = layers([3]), layers([4], seed=1)
    for measure in (sim.cka_debiased, plain_overlap):
        one, other = (f(measure, x, y, key=KEY, rounds=9) for f in (chance.calibrated, chance.permutation_test))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_related_pair_stands_out_and_a_distance_is_extreme_when_small():
    xs = layers([5, 6], n=60, signal=3.0)
    free = layers([5], n=60, seed=2, signal=0.0)
    for measure in (sim.cka_debiased, sim.procrustes):
        found = chance.calibrated(measure, xs, [xs[1], free[0]], key=KEY, rounds=49)
        np.testing.assert_allclose(found.p[:, 0], 0.02, rtol=1e-6)
        assert (found.p[:, 1] > 0.05).all()
    reverse = chance.calibrated(sim.procrustes, xs, xs[1], key=KEY, rounds=49, alternative="greater")
    np.testing.assert_allclose(reverse.p, 1.0)


def test_adjusted_scores_forget_the_width_that_inflates_the_biased_ones():
    x = layers([8], n=60, signal=0.0)[0]
    ys = [*layers([8, 200], n=60, seed=3, signal=0.0), 2 * x + 1]
    found = chance.calibrated(sim.cka, x, ys, key=KEY, rounds=100)
    assert found.score[1] - found.score[0] > 0.15
    np.testing.assert_allclose(found.adjusted(), [0, 0, 1], atol=0.05)
    gaps = chance.calibrated(sim.procrustes, x, [ys[0], x + 1], key=KEY, rounds=100)
    np.testing.assert_allclose(gaps.adjusted(best=0), [0, 1], atol=0.05)
    for best, error in ((np.inf, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="best: expected"):
            found.adjusted(best)


def test_equal_shuffles_give_equal_scores_so_that_ties_count():
    """With three samples in two values each, many shuffles repeat the real pairing."""
    x = np.array([[0.0], [0.0], [0.0], [1.0]], np.float32)
    found = chance.calibrated(sim.cka, x, x, key=KEY, rounds=200)
    rows = orders(200, n=4)
    assert float(found.p) == pytest.approx((1 + np.sum(rows[:, 3] == 3)) / 201)


@pytest.mark.parametrize(
    ("measure", "options"), [(sim.cka_debiased, {}), (sim.mutual_knn, {"k": 4}), (plain_overlap, {})], ids=named
)
def test_true_nulls_are_rejected_as_often_as_the_level_says(measure, options):
    """1 000 independent pairs at 5 %: three Monte-Carlo errors of a proportion are 2.07 %."""
    trials, rounds = 1000, 19
    draws = jax.random.normal(jax.random.key(3), (2, trials, 16, 3))
    keys = jax.random.split(jax.random.key(4), trials)
    one = jax.jit(jax.vmap(lambda k, x, y: chance.calibrated(measure, x, y, key=k, rounds=rounds, **options).p))
    p = np.asarray(one(keys, *draws))
    assert abs(np.mean(p <= 0.05 + 1e-6) - 0.05) <= 3 * np.sqrt(0.05 * 0.95 / trials)
    assert 0.45 < p.mean() < 0.58  # near (1 + 1 / 20) / 2, ties a little above


def chi_square_size(measure, p, trials, **options):
    """Share of independent pairs of 30 normal rows whose p-value is at most 5 %."""
    draws = jax.random.normal(jax.random.key(5), (2, trials, 30, p))
    run = jax.jit(jax.vmap(lambda x, y: chance.chi_square_test(measure, x, y, **options)[1]))
    return np.mean(np.asarray(run(*draws)) <= 0.05)


@pytest.mark.parametrize(("p", "stated"), [(1, 0.056), (10, 0.034)])
def test_the_size_of_the_chi_square_test_is_the_one_its_docstring_states(p, stated):
    """20 000 pairs: three Monte-Carlo errors of a share of 5.6 % are .49 %, of 3.4 % .38 %."""
    size = chi_square_size(sim.cka_debiased, p, 20_000)
    assert abs(size - stated) <= 3 * np.sqrt(stated * (1 - stated) / 20_000), size
    assert f"{100 * stated:.1f} %" in chance.chi_square_test.__doc__


@pytest.mark.parametrize(
    ("measure", "options"),
    [(sim.distance_correlation, {"unbiased": True}), (sim.cka_rbf, {"debiased": True})],
    ids=named,
)
def test_the_chi_square_test_of_curved_relations_holds_its_level(measure, options):
    """2 000 pairs: three Monte-Carlo errors at 5 % are 1.46 %."""
    assert 0.01 < chi_square_size(measure, 2, 2000, **options) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_the_chi_square_p_value_is_the_tail_of_one_degree_of_freedom():
    from scipy.stats import chi2

    xs, ys = layers([3, 5], n=40), layers([4, 40], n=40, seed=2, signal=0.0)
    with jax.enable_x64(True):
        score, p = chance.chi_square_test(sim.cka_debiased, xs, ys)
        np.testing.assert_allclose(score, sim.grid(sim.cka_debiased, xs, ys), rtol=1e-4, atol=1e-6)
        expected = chi2.sf(np.maximum(40 * np.asarray(score, float) + 1, 0), 1)
    np.testing.assert_allclose(p, expected, rtol=2e-4)
    assert chance.chi_square_test(sim.cka_debiased, xs[0], ys)[1].shape == (2,)
    dependent = chance.chi_square_test(partial(sim.distance_correlation, unbiased=True), xs[0], xs[1])
    assert dependent[1] < 0.05


@pytest.mark.parametrize(("measure", "options", "words"), [
    (sim.cka, {}, "n times cka is not chi-square .* such as cka_debiased, or use calibrated"),
    (sim.hsic_unbiased, {}, "n times hsic_unbiased is not chi-square"),
    (sim.cka_rbf, {}, "expected cka_rbf with debiased=True"),
    (sim.distance_correlation, {"unbiased": False}, "expected distance_correlation with unbiased=True"),
    (plain_overlap, {}, "n times plain_overlap is not"),
])  # fmt: skip
def test_the_chi_square_test_is_refused_where_it_does_not_hold(measure, options, words):
    with pytest.raises(ValueError, match=words):
        chance.chi_square_test(measure, *layers([3, 4]), **options)


def test_calibration_can_be_compiled_and_says_nothing_new():
    xs, ys = (jnp.stack(layers([3, 3], seed=s)) for s in (0, 1))
    compiled = jax.jit(lambda a, b: chance.calibrated(sim.cka_debiased, list(a), list(b), key=KEY, rounds=9))
    plain = chance.calibrated(sim.cka_debiased, xs, ys, key=KEY, rounds=9)
    np.testing.assert_allclose(compiled(xs, ys).null, plain.null, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(compiled(xs, ys).p, plain.p)


def test_mixed_precision_and_integers_are_compared_in_the_higher_float():
    (x,), ys = layers([3]), layers([4, 2], seed=1)
    whole = np.round(4 * ys[1]).astype(int)
    with jax.enable_x64(True):
        found = chance.calibrated(sim.nbs, [x], [ys[0].astype(np.float64), whole], key=KEY, rounds=3)
        assert found.null.dtype == jnp.float64
        np.testing.assert_allclose(found.score[0, 1], sim.nbs(x.astype(np.float64), whole.astype(float)), rtol=1e-9)


def broken_on_narrow(x, y):
    return (x.sum() + y.sum()) * jnp.where(y.shape[1] == 2, jnp.nan, 1.0)


@pytest.mark.parametrize(("change", "words"), [
    (lambda xs, ys: dict(x=[]), "x: expected a matrix .* or a sequence of them; got an empty sequence"),
    (lambda xs, ys: dict(y=()), "y: expected a matrix .* or a sequence of them; got an empty sequence"),
    (lambda xs, ys: dict(x=[xs[0], xs[1][:-1]]), r"layers: expected one number of samples; got \[12, 13\]"),
    (lambda xs, ys: dict(x=xs[0][:-1], y=ys[0]), "x and y: expected one row per sample"),
    (lambda xs, ys: dict(y=[ys[0], ys[1] * np.nan]), r"y\[1\]: expected finite values; got 26 NaN"),
    (lambda xs, ys: dict(x=[xs[0] * 0]), r"x\[0\]: expected rows that differ"),
    (lambda xs, ys: dict(x=xs[0][:, 0]), "x: expected a matrix"),
    (lambda xs, ys: dict(x=[xs[0][:3]], y=[ys[0][:3]]), "expected at least 4 samples"),
    (lambda xs, ys: dict(rounds=0), "rounds: expected 1 <= rounds"),
    (lambda xs, ys: dict(batch=0), "batch: expected"),
    (lambda xs, ys: dict(alternative="two-sided"), "alternative: expected one of greater, less"),
    (lambda xs, ys: dict(measure=sim.mutual_knn, k=N), "k: expected 1 <= k <= 12"),
    (lambda xs, ys: dict(measure=broken_on_narrow), r"not finite on x\[0\] and y\[1\] or on a shuffled one"),
    (lambda xs, ys: dict(measure=broken_on_narrow, x=xs[0]), r"not finite on x and y\[1\] or on a shuffled one"),
    (lambda xs, ys: dict(measure=lambda x, y: x.sum(0)), r"expected one number for a pair, got shape"),
])  # fmt: skip
def test_bad_input_is_named(change, words):
    xs, ys = layers([3, 4]), layers([4, 2], seed=1)
    with pytest.raises(ValueError, match=words):
        chance.calibrated(**(dict(measure=sim.cka_debiased, x=xs, y=ys, key=KEY, rounds=3) | change(xs, ys)))


def test_a_row_without_direction_is_not_compared_silently():
    xs, ys = layers([3]), layers([4, 2], seed=1)
    ys[1][3] = 0
    with pytest.raises(ValueError, match="direction"):
        chance.calibrated(sim.mutual_knn, xs, ys, key=KEY, rounds=3, k=2)


def test_a_record_without_the_new_fields_is_enough():
    def own(x, y):
        return -plain_overlap(x, y)

    own.record = SimpleNamespace(kind="distance")
    xs = layers([3, 3], n=40, signal=2.0)
    assert float(chance.calibrated(own, *xs, key=KEY, rounds=19).p) == pytest.approx(0.05)
