"""Units matched one to one, few to one and many to many, against scikit-learn and planted truth."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import SpectralCoclustering
from sklearn.linear_model import Lasso
from sklearn.metrics import adjusted_rand_score, r2_score

from repgeo import chance
from repgeo import similarity as sim

PENALTIES = (0.3, 0.1, 0.02)


def problem(name):
    """A pair (x, y) in float64, by what makes it hard."""
    random = np.random.default_rng(3)
    if name == "independent columns":
        x = random.normal(size=(300, 20))
        return x, x @ (random.normal(size=(20, 6)) * (random.random((20, 6)) < 0.3)) + random.normal(size=(300, 6))
    if name == "more features than samples":
        x = random.normal(size=(40, 90))
        return x, x[:, :4] + 0.5 * random.normal(size=(40, 4))
    z = random.normal(size=(300, 3))
    x = z @ random.normal(size=(3, 25)) + 0.1 * random.normal(size=(300, 25))
    y = z @ random.normal(size=(3, 5)) + 0.3 * random.normal(size=(300, 5)) + 7
    if name == "dead units":
        x[:, [3, 7]], y[:, 1] = 2.5, 1 / 3
    return x, y  # "correlated columns"


NAMES = ["independent columns", "more features than samples", "correlated columns", "dead units"]
each_problem = pytest.mark.parametrize("name", NAMES)


def standardised(a):
    a = a - a.mean(0)
    return np.where(np.ptp(a, axis=0) > 1e-9, a / np.maximum(a.std(0), 1e-9), 0)


def lasso(x, y, penalty):
    """scikit-learn's weights, one target at a time."""
    x, y = standardised(x), standardised(y)
    model = Lasso(alpha=penalty, fit_intercept=False, tol=1e-13, max_iter=10**6)
    return np.stack([model.fit(x, target).coef_ for target in y.T], 1)


def traced(x, y, **options):
    return jax.jit(lambda a, b: sim.sparse_predict_units(a, b, **options))(x, y)


@each_problem
def test_weights_are_those_of_scikit_learn(name):
    x, y = problem(name)
    for penalty in PENALTIES:
        expected = lasso(x, y, penalty)
        with jax.enable_x64(True):
            found = sim.sparse_predict_units(x, y, penalty=penalty)
        np.testing.assert_allclose(found.weights, expected, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found.used, (expected != 0).sum(0))
        assert 0 < np.abs(expected).max() and found.converged


@each_problem
def test_in_float32_they_agree_as_far_as_collinearity_lets_them(name):
    x, y = problem(name)
    tight = 2e-6 if name == "independent columns" else 1e-4  # the columns of the others are nearly collinear
    for penalty in PENALTIES:
        found = sim.sparse_predict_units(x.astype(np.float32), y.astype(np.float32), penalty=penalty)
        assert found.weights.dtype == jnp.float32
        np.testing.assert_allclose(found.weights, lasso(x, y, penalty), rtol=0, atol=tight)
        assert float(found.gap.max()) < 1e-5


@each_problem
def test_the_explained_share_and_the_gap_are_the_textbook_ones(name):
    x, y = problem(name)
    penalty = 0.05
    with jax.enable_x64(True):
        found = traced(x, y, penalty=penalty, max_rounds=1)  # far from the optimum, where the gap is wide
        found = jax.tree.map(np.asarray, found)
    weights = found.weights
    x, y = standardised(x), standardised(y)
    live = y.any(0)
    residual = y - x @ weights
    expected = r2_score(y[:, live], x @ weights[:, live], multioutput="raw_values")
    np.testing.assert_allclose(found.r2[live], expected, atol=1e-12)
    assert not found.r2[~live].any() and not weights[:, ~live].any()
    primal = np.sum(residual**2, 0) / (2 * len(x)) + penalty * np.abs(weights).sum(0)
    dual_point = residual * np.minimum(1, penalty * len(x) / np.abs(x.T @ residual).max(0).clip(1e-300))
    dual = (np.sum(y**2, 0) - np.sum((y - dual_point) ** 2, 0)) / (2 * len(x))
    np.testing.assert_allclose(found.gap, primal - dual, atol=1e-12)
    assert found.gap.max() > 1e-4 and not found.converged and int(found.rounds) == 1


def test_the_gap_bounds_what_the_objective_can_still_fall():
    x, y = problem("correlated columns")
    objective = lambda w: (np.sum((standardised(y) - standardised(x) @ w) ** 2, 0) / 600) + 0.05 * np.abs(w).sum(0)  # noqa: E731
    with jax.enable_x64(True):
        best = objective(np.asarray(sim.sparse_predict_units(x, y, penalty=0.05).weights))
        for rounds in (1, 16):
            found = traced(x, y, penalty=0.05, max_rounds=rounds)
            above = objective(np.asarray(found.weights)) - best
            assert (above <= np.asarray(found.gap) + 1e-12).all() and (above > 0).any()


def test_copies_of_a_unit_share_its_weight_at_the_same_objective():
    x, y = problem("independent columns")
    with jax.enable_x64(True):
        once = sim.sparse_predict_units(x, y, penalty=0.05)
        twice = sim.sparse_predict_units(np.column_stack([x, x]), y, penalty=0.05)
    weights = np.asarray(twice.weights)
    np.testing.assert_allclose(weights[:20] + weights[20:], once.weights, atol=1e-8)
    np.testing.assert_allclose(twice.r2, once.r2, atol=1e-9)


def test_a_penalty_at_the_largest_correlation_uses_nothing_and_just_below_it_one_unit():
    x, y = problem("independent columns")
    with jax.enable_x64(True):
        top = np.abs(np.asarray(sim.unit_correlations(x, y[:, :1]))).max()
        none = sim.sparse_predict_units(x, y[:, :1], penalty=top * (1 + 1e-12))
        one = sim.sparse_predict_units(x, y[:, :1], penalty=top * (1 - 1e-6))
    assert none.used.tolist() == [0] and float(none.r2[0]) == 0 and int(none.rounds) == 1
    assert one.used.tolist() == [1]


def test_few_to_one_is_told_from_one_to_one():
    """Two units of y: a copy of a unit of x, and the sum of three others."""
    random = np.random.default_rng(0)
    x = random.normal(size=(2000, 12))
    y = np.column_stack([-3 * x[:, 4] + 1, x[:, 0] + x[:, 1] + x[:, 2]]) + 0.1 * random.normal(size=(2000, 2))
    found = sim.sparse_predict_units(x, y, penalty=0.1)
    assert found.used.tolist() == [1, 3]
    assert set(np.flatnonzero(found.weights[:, 1])) == {0, 1, 2} and float(found.weights[4, 0]) < -0.85
    alone = np.abs(sim.unit_correlations(x, y)).max(0) ** 2
    assert alone[0] > 0.98 and alone[1] < 0.45 and float(found.r2[1]) > 0.9


def test_a_path_of_penalties_is_a_vmap_and_compiles():
    x, y = (a.astype(np.float32) for a in problem("independent columns"))
    path = jax.vmap(lambda penalty: sim.sparse_predict_units(x, y, penalty=penalty))(jnp.asarray(PENALTIES))
    for i, penalty in enumerate(PENALTIES):
        alone = sim.sparse_predict_units(x, y, penalty=penalty)
        np.testing.assert_allclose(path.weights[i], alone.weights, atol=1e-5)
        np.testing.assert_allclose(traced(x, y, penalty=penalty).weights, alone.weights, atol=1e-6)
    assert (np.diff(path.used.sum(1)) > 0).all() and (np.diff(path.r2.mean(1)) > 0).all()


def test_pairs_stack_under_vmap_and_forward_derivatives_are_right():
    pairs = [problem("independent columns"), tuple(a[:, ::-1] + 1 for a in problem("independent columns"))]
    with jax.enable_x64(True):
        xs, ys = (jnp.asarray(np.stack(side)) for side in zip(*pairs, strict=True))
        explained = lambda x, y: sim.sparse_predict_units(x, y, penalty=0.1).r2.mean()  # noqa: E731
        mapped = jax.vmap(explained)(xs, ys)
        np.testing.assert_allclose(mapped, [explained(x, y) for x, y in zip(xs, ys, strict=True)], rtol=1e-9)
        step = jnp.asarray(np.random.default_rng(1).normal(size=xs[0].shape))
        _, slope = jax.jvp(lambda x: explained(x, ys[0]), (xs[0],), (step,))
        h = 1e-5
        expected = (explained(xs[0] + h * step, ys[0]) - explained(xs[0] - h * step, ys[0])) / (2 * h)
        assert float(slope) == pytest.approx(float(expected), rel=1e-4)


def test_too_few_rounds_are_an_error_and_under_a_trace_a_flag():
    x, y = problem("correlated columns")
    with pytest.raises(ValueError, match=r"max_rounds: .*; got 5, with a duality gap of .*: raise max_rounds"):
        sim.sparse_predict_units(x, y, penalty=0.02, max_rounds=5)
    assert not traced(x, y, penalty=0.02, max_rounds=5).converged
    assert traced(x, y, penalty=0.02).converged
    with pytest.raises(ValueError, match="tolerance"):
        sim.sparse_predict_units(x, y, penalty=0.02, tolerance=0.0)
    with pytest.raises(TypeError, match="max_rounds"):
        sim.sparse_predict_units(x, y, penalty=0.02, max_rounds=10.0)


def test_no_problem_of_float32_ends_in_the_jitter_of_its_rounding():
    random = np.random.default_rng(0)
    hidden, noise = random.normal(size=(30, 80, 4)), random.normal(size=(30, 80, 24))
    data = np.einsum("snk,skp->snp", hidden, random.normal(size=(30, 4, 24))) + noise * 0.2
    fit = jax.jit(jax.vmap(lambda a, penalty: sim.sparse_predict_units(a[:, :16], a[:, 16:], penalty=penalty)))
    for penalty in PENALTIES:
        assert fit(data.astype(np.float32), jnp.full(30, penalty)).converged.all()


def planted(seed, c, noise=0.6):
    """Units of two nets that each follow one of c latents, signs and sizes at random, one dead unit in each."""
    random = np.random.default_rng(seed)
    z = random.normal(size=(800, c))
    truth = [np.concatenate([np.arange(c), random.integers(0, c, size)]) for size in (24, 17)]
    sides = [random.choice([-2.0, 1.0], len(t)) * z[:, t] + noise * random.normal(size=(800, len(t))) for t in truth]
    sides[0][:, 5] = sides[1][:, 0] = 0.7
    truth[0][5] = truth[1][0] = -1
    return *sides, *truth


@pytest.mark.parametrize("c", [2, 3, 5, 8])
def test_planted_groups_are_found_and_scikit_learn_finds_the_same(c):
    for seed in range(5):
        x, y, truth_x, truth_y = planted(seed, c)
        found = sim.spectral_match_units(x, y, c=c, key=jax.random.key(seed))
        labels, truth = np.concatenate([found.labels_x, found.labels_y]), np.concatenate([truth_x, truth_y])
        assert adjusted_rand_score(truth, labels) >= 0.95
        np.testing.assert_array_equal(labels == -1, truth == -1)
        strength = np.abs(np.asarray(sim.unit_correlations(x, y)))[np.ix_(truth_x >= 0, truth_y >= 0)]
        peer = SpectralCoclustering(c, n_init=20, random_state=seed).fit(strength)
        assert adjusted_rand_score(np.concatenate([peer.row_labels_, peer.column_labels_]), labels[truth >= 0]) >= 0.95


def test_within_and_between_are_means_of_absolute_correlations():
    x, y, *_ = planted(0, 3)
    found = sim.spectral_match_units(x, y, c=3, key=jax.random.key(0))
    x, y = x[:, found.labels_x >= 0], y[:, found.labels_y >= 0]
    strength = np.abs(np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :])
    same = found.labels_x[found.labels_x >= 0][:, None] == found.labels_y[found.labels_y >= 0]
    assert found.within == pytest.approx(strength[same].mean(), abs=1e-6)
    assert found.between == pytest.approx(strength[~same].mean(), abs=1e-6)
    assert float(found) == found.within - found.between > 0.5


def test_groups_ignore_what_the_record_says_and_follow_a_permutation():
    assert sim.spectral_match_units.record.invariant == {"shift", "scale", "order"}
    x, y, *_ = planted(1, 4)
    options = dict(c=4, key=jax.random.key(0))
    before, again = (sim.spectral_match_units(x, y, **options) for _ in range(2))
    np.testing.assert_array_equal(before.labels_x, again.labels_x)
    moved = sim.spectral_match_units(5 * x - 3, 0.1 * y + 1, **options)
    order = np.random.default_rng(0).permutation(x.shape[1])
    permuted = sim.spectral_match_units(x[:, order], y, **options)
    assert adjusted_rand_score(before.labels_x, moved.labels_x) == 1
    assert adjusted_rand_score(before.labels_x[order], permuted.labels_x) == 1


def test_one_few_and_many_to_many_beat_shuffled_rows_together():
    """The three mappings of Li et al. on one pair, each inside `chance`."""
    x, y, *_ = planted(0, 3, noise=2.0)
    x, y = x[:200].astype(np.float32), y[:200].astype(np.float32)
    for measure in (
        sim.match_units,
        lambda x, y: sim.sparse_predict_units(x, y, penalty=0.1).r2.mean(),
        partial(sim.spectral_match_units, c=3, key=jax.random.key(0), starts=3),
    ):
        found = chance.permutation_test(measure, x, y, key=jax.random.key(1), rounds=19)
        assert float(found.p) == pytest.approx(1 / 20)
        shuffled = chance.permutation_test(measure, x, y[::-1], key=jax.random.key(1), rounds=19)
        assert float(shuffled.score) < float(found.score) and abs(float(shuffled.z)) < 4


def test_groups_refuse_what_cannot_be_cut():
    x, y, *_ = planted(0, 3)
    cut = partial(sim.spectral_match_units, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"^c: expected 2 <= c <= 45 \(live units of x and y\); got 1"):
        cut(x, y, c=1)
    with pytest.raises(ValueError, match="^c: expected 2 <= c <= 45"):
        cut(x, y, c=46)
    with pytest.raises(TypeError, match="^c: expected an integer"):
        cut(x, y, c=2.0)
    with pytest.raises(ValueError, match=r"^c: expected log2\(c\) below the live units of either side"):
        cut(x, y[:, :2], c=2)  # one of the two units is dead
    with pytest.raises(ValueError, match="^starts: expected 1 <= starts"):
        cut(x, y, c=2, starts=0)
    copies = np.random.default_rng(0).normal(size=(50, 2))[:, [0, 0, 0, 1, 1, 1]]
    with pytest.raises(ValueError, match=r"^c: expected at most the \d units that can be told apart; got 5"):
        cut(copies, copies, c=5)
    with pytest.raises(ValueError, match="^x: expected finite values"):
        cut(np.where(x > 3, np.nan, x)[:90], y[:90], c=2)
    with pytest.raises(TypeError, match="spectral_match_units: .* cannot be traced"):
        jax.jit(lambda a: cut(a, y, c=2).within)(x)
