"""What every score of one matrix promises: its textbook value, traces, gradients, invariances, honest errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.spectrum import (
    alignment,
    alpha_req,
    coding_rate,
    condition,
    dims_for_variance,
    farms_exponent,
    isoscore_star,
    lidar,
    marchenko_pastur_edge,
    participation_ratio_corrected,
    renyi_rank,
    spike_projector,
    spikes,
    tail_exponent,
    uniformity,
    vendi_score,
)
from tests.spectrum.scores import INF, NEEDS_SCALE, OF_MATRIX, UNCENTRED, points, rotation

ALL_EQUAL = {
    "vendi_score": 1, "average_cosine": 1, "uniformity": 0, "self_cluster": 1, "coherence": 1, "coding_rate": None,
    "partition_score": None,
}  # fmt: skip
RANK_ONE = {"nesum": 1, "renyi_rank inf": 1, "isoscore": 0, "vendi_score": 1, "self_cluster": 1, "average_cosine": 1,
            "uniformity": 0}  # fmt: skip
each_score = pytest.mark.parametrize("score", OF_MATRIX.values(), ids=OF_MATRIX)


def test_the_textbook_gives_the_same_numbers():
    x, y = points(), points(seed=1)
    s = np.linalg.svd(x, compute_uv=False)
    variance = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    share = variance / variance.sum()
    n, p = x.shape
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    pairs = np.array([np.sum((u[i] - u[j]) ** 2) for i in range(n) for j in range(i)])
    leverage = np.diag(x @ np.linalg.solve(x.T @ x, x.T))
    k, start = p // 2, s[p // 2]
    expected = {
        "condition": s[0] / s[-1],
        "coding_rate": np.linalg.slogdet(np.eye(p) + p / (n * 0.25) * x.T @ x)[1] / 2,
        "renyi_rank 1/2": np.sqrt(share).sum() ** 2,
        "average_cosine": np.mean([u[i] @ u[j] for i in range(n) for j in range(i)]),
        "uniformity": np.log(np.exp(-2 * pairs).mean()),
        "coherence": leverage.max() * n / p,
        "tail_exponent": 1 + k / np.sum(np.log(s[:k] ** 2 / start**2)),
    }
    with jax.enable_x64(True):
        for name, value in expected.items():
            assert float(OF_MATRIX[name](jnp.asarray(x))) == pytest.approx(value, rel=1e-10), name
        value = alignment(jnp.asarray(x), jnp.asarray(y), power=3.0)
        assert float(value) == pytest.approx(np.mean(np.linalg.norm(u - v, axis=1) ** 3), rel=1e-12)
        reference = np.cov(y.T)
        mixed = np.linalg.eigvalsh(0.7 * np.cov(x.T) + 0.3 * reference)
        ratio = mixed.sum() ** 2 / (mixed**2).sum()
        value = isoscore_star(jnp.asarray(x), zeta=0.3, reference=jnp.asarray(reference))
        assert float(value) == pytest.approx((ratio - 1) / (p - 1), rel=1e-10)
        for wanted in (0.3, 0.9, 0.99):
            assert int(dims_for_variance(jnp.asarray(x), share=wanted)) == np.argmax(np.cumsum(share) >= wanted) + 1


@each_score
def test_jit_and_vmap_return_what_plain_calls_return(score):
    batch = jnp.stack([jnp.asarray(points(seed=seed, dtype=np.float32)) for seed in range(2)])
    plain = [float(score(x)) for x in batch]
    np.testing.assert_allclose([jax.jit(score)(x) for x in batch], plain, rtol=1e-4)
    np.testing.assert_allclose(jax.vmap(score)(batch), plain, rtol=1e-4)


@each_score
def test_rotation_shift_and_scale_change_what_the_docstring_says(score):
    name = next(name for name, function in OF_MATRIX.items() if function is score)
    x = points()
    with jax.enable_x64(True):
        value = float(score(jnp.asarray(x)))
        if name != "farms_exponent":
            assert float(score(jnp.asarray(x @ rotation(7)))) == pytest.approx(value, rel=1e-8)
        for changes, moved in ((name in UNCENTRED, x + 3), (name in NEEDS_SCALE, x * 3)):
            if changes:
                assert abs(float(score(jnp.asarray(moved))) / value - 1) > 1e-3
            else:
                assert float(score(jnp.asarray(moved))) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("name", [n for n in OF_MATRIX if n not in ("partition_score", "coherence")])
def test_the_gradient_is_that_of_finite_differences(name):
    score = OF_MATRIX[name]
    with jax.enable_x64(True):
        x, step = jnp.asarray(points()), jnp.asarray(points(seed=1))
        slope = float(jnp.sum(jax.grad(score)(x) * step))
        numeric = float((score(x + 1e-6 * step) - score(x - 1e-6 * step)) / 2e-6)
        assert slope == pytest.approx(numeric, rel=1e-4)


def test_gradients_of_two_views_are_those_of_finite_differences():
    with jax.enable_x64(True):
        x, y, step = (jnp.asarray(points(seed=seed)) for seed in range(3))
        for score in (lambda a: alignment(a, y, power=1.0), lambda a: lidar(a.reshape(12, 5, 7))):
            slope = float(jnp.sum(jax.grad(score)(x) * step))
            numeric = float((score(x + 1e-6 * step) - score(x - 1e-6 * step)) / 2e-6)
            assert slope == pytest.approx(numeric, rel=1e-4)


@pytest.mark.parametrize("what", ["flat", "rank one", "duplicates"])
@pytest.mark.parametrize("name", ["renyi_rank 1/2", "isoscore", "isoscore_star", "uniformity", "vendi_score"])
def test_the_gradient_is_finite_where_singular_values_repeat_or_vanish(name, what):
    x = {
        "flat": jnp.concatenate([jnp.eye(4), -jnp.eye(4)]),
        "rank one": jnp.outer(jnp.arange(1.0, 7), jnp.arange(1.0, 4)),
        "duplicates": jnp.concatenate([jnp.asarray(points(5, 4, dtype=np.float32))] * 2),
    }[what]
    assert bool(jnp.isfinite(jax.grad(OF_MATRIX[name])(x)).all())


@each_score
@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (np.ones(5), ValueError, r"(x|w): expected a matrix"),
        (np.ones((1, 5)), ValueError, r"(x|w): expected at least \d samples"),
        (np.ones((5, 0)), ValueError, r"(x|w): expected at least \d samples"),
        (np.array([[1.0, np.nan]] * 5), ValueError, r"(x|w): expected finite values"),
        (np.array([[1.0, np.inf]] * 5), ValueError, r"(x|w): expected finite values"),
        (np.array([["a", "b"]] * 5), TypeError, r"(x|w): expected real numbers"),
    ],
)
def test_bad_input_gets_one_clear_error(score, bad, error, words):
    with pytest.raises(error, match=words):
        score(bad)


@each_score
def test_all_points_equal_give_the_number_of_a_collapse_or_an_error(score):
    name = next(name for name, function in OF_MATRIX.items() if function is score)
    same = np.tile(np.array([3.0, -1.0, 2.0, 5.0], np.float32), (6, 1))
    if name not in ALL_EQUAL:
        with pytest.raises(ValueError, match=r"rows that differ|undefined for these inputs"):
            score(same)
    elif ALL_EQUAL[name] is None:
        assert np.isfinite(float(score(same)))
    else:
        assert float(score(same)) == pytest.approx(ALL_EQUAL[name], abs=1e-5)


@each_score
def test_one_duplicate_pair_is_two_rows_like_others(score):
    x = points(dtype=np.float32)
    x[7] = x[3]
    with jax.enable_x64(True):
        expected = float(score(jnp.asarray(x, jnp.float64)))
    assert float(score(x)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", RANK_ONE)
def test_rank_one_is_one_direction(name):
    x = np.outer(np.arange(1.0, 9), np.array([1.0, -2.0, 0.5])).astype(np.float32)
    assert float(OF_MATRIX[name](x)) == pytest.approx(RANK_ONE[name], abs=1e-5)


@pytest.mark.parametrize("name", ["condition", "alpha_req", "tail_exponent"])
def test_what_rank_one_leaves_undefined_is_an_error(name):
    x = np.zeros((9, 7), np.float32)
    x[:, 0] = np.arange(9)
    with pytest.raises(ValueError, match="undefined for these inputs"):
        OF_MATRIX[name](x)
    if name == "condition":
        assert float(jax.jit(condition)(x)) == INF


@each_score
def test_one_feature_is_a_number_or_an_error_that_says_so(score):
    name = next(name for name, function in OF_MATRIX.items() if function is score)
    x = np.arange(1.0, 9)[:, None].astype(np.float32)
    if name in ("isoscore", "isoscore_star", "self_cluster"):
        with pytest.raises(ValueError, match="x: expected at least 2 features"):
            score(x)
    elif name in ("alpha_req", "tail_exponent", "farms_exponent"):
        with pytest.raises(ValueError, match=r"between: expected at most 1|share: expected a tail|side: expected 2"):
            score(x)
    else:
        assert np.isfinite(float(score(x)))


@each_score
def test_fewer_rows_than_features_are_a_number(score):
    x = points(9, 30, dtype=np.float32)
    with jax.enable_x64(True):
        expected = float(score(jnp.asarray(x, jnp.float64)))
    assert float(score(x)) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: renyi_rank(x, order=0), ValueError, "order: expected a finite number"),
        (lambda x: renyi_rank(x, order="2"), TypeError, "order: expected a number"),
        (lambda x: vendi_score(x, order=-1), ValueError, "order: expected a finite number"),
        (lambda x: alpha_req(x), ValueError, r"between: expected at most 7, the number.*; got \(10, 100\)"),
        (lambda x: alpha_req(x, between=(3, 4)), ValueError, r"between\[1\]: expected 5 <="),
        (lambda x: alpha_req(x, between=10), TypeError, "between: expected two integers"),
        (lambda x: dims_for_variance(x, share=0), ValueError, "share: expected a finite number"),
        (lambda x: dims_for_variance(x, share=1.1), ValueError, "share: expected a finite number"),
        (lambda x: dims_for_variance(x * 0, share=0.5), ValueError, "rows that differ"),
        (lambda x: coding_rate(x, eps=0), ValueError, "eps: expected a finite number"),
        (lambda x: isoscore_star(x, zeta=1.5), ValueError, "zeta: expected a finite number"),
        (lambda x: isoscore_star(x, zeta=0.5, reference=np.eye(3)), ValueError, "reference: expected a covariance"),
        (lambda x: isoscore_star(x, zeta=0.5, reference=x[:7]), ValueError, "reference: expected a symmetric"),
        (lambda x: uniformity(x, t=0), ValueError, "t: expected a finite number"),
        (lambda x: alignment(x, x[:, :3]), ValueError, "x and y: expected views of one shape"),
        (lambda x: alignment(x, x[:3]), ValueError, "x and y: expected one row per sample"),
        (lambda x: alignment(x, x, power=0), ValueError, "power: expected a finite number"),
        (lambda x: participation_ratio_corrected(x[:3]), ValueError, "x: expected at least 4 samples"),
        (lambda x: spikes(x, variance=-1), ValueError, "variance: expected a finite number"),
        (lambda x: spikes(np.outer(x[:, 0], np.arange(5.0))), ValueError, "noise cannot be told apart"),
        (lambda x: spike_projector(x[:2]), ValueError, "x: expected at least 3 samples"),
        (lambda x: marchenko_pastur_edge(0, 3), ValueError, "n: expected 1 <= n"),
        (lambda x: lidar(x), ValueError, r"z: expected \(objects, views, features\)"),
        (lambda x: lidar(x.reshape(60, 1, 7)), ValueError, r"z: expected \(objects, views, features\)"),
        (lambda x: lidar(np.ones((4, 3, 2))), ValueError, "the means of the objects are all the same"),
        (lambda x: lidar(np.full((4, 3, 2), np.nan)), ValueError, "z: expected finite values"),
        (lambda x: lidar(x.reshape(12, 5, 7), delta=-1), ValueError, "delta: expected a finite number"),
        (lambda x: tail_exponent(x, share=0.1), ValueError, "share: expected a tail of 1 to 6 eigenvalues of w of"),
        (lambda x: farms_exponent(x), ValueError, "side: expected 2 <= side <= 7 .the shorter side of w."),
        (lambda x: farms_exponent(x, side=7, ratio=20), ValueError, "the longer side"),
        (lambda x: farms_exponent(x, side=4, step=0), ValueError, "step: expected 1 <="),
    ],
)  # fmt: skip
def test_options_are_checked(call, error, words):
    with pytest.raises(error, match=words):
        call(points())
