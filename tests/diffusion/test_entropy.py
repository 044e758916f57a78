"""Diffusion spectral entropy: beside the literal formula and the official program, and what it promises of a walk."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.diffusion import (
    diffusion_operator,
    dse,
    dse_by_subsamples,
    dse_curve,
    dse_lanczos,
    knn_sigma,
    median_sigma,
)
from repgeo.diffusion.lanczos import _parabola
from tests.diffusion import oracle

pytestmark = pytest.mark.optimized
FOLDER = Path(__file__).parent.parent / "golden"
GOLDEN = dict(np.load(FOLDER / "diffusion.npz", allow_pickle=False))
ARRAYS = dict(np.load(FOLDER / "spectrum.npz", allow_pickle=False))
NAMES = ("gauss5_in50", "swissroll", "sphere10_in20", "cube6_in6", "aniso64_first1000")
SETTINGS = ((10, 1), (1, 1), (1, 2), (2, 3))
KEY = jax.random.key(0)


def golden(name):
    return ARRAYS[f"data/{name.removesuffix('_first1000')}/full"][:1000]


def points(n=60, p=5, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal((n, p)).astype(dtype)


@pytest.fixture(scope="module", params=NAMES)
def curves(request):
    """The name of an array and its entropies at `SETTINGS`, by operator and dtype: features of 0 move no distance."""
    name = request.param
    x = golden(name)
    x, found = np.pad(x, ((0, 0), (0, 64 - x.shape[1]))), {}
    with jax.enable_x64(True):
        for operator, dtype in (("official", np.float64), ("anisotropic", np.float64), ("official", np.float32)):
            of = dse_curve(x.astype(dtype), sigmas=[10, 1, 2], ts=[1, 2, 3], operator=operator)
            found[operator, dtype] = {(s, t): float(of.bits[[10, 1, 2].index(s), t - 1]) for s, t in SETTINGS}
    return name, found


def test_float64_equals_the_official_program_and_both_references_to_1e_9(curves):
    name, found = curves
    for (sigma, t), value in found["official", np.float64].items():
        assert value == pytest.approx(float(GOLDEN[f"dse/{name}/sigma{sigma}_t{t}"]), rel=1e-9)
        assert value == pytest.approx(float(GOLDEN[f"ours/{name}/dse_sigma{sigma}_t{t}"]), rel=1e-9)
    for (sigma, t), value in found["anisotropic", np.float64].items():
        assert value == pytest.approx(float(GOLDEN[f"ours/{name}/dse_rownorm_sigma{sigma}_t{t}"]), rel=1e-9)


def test_float32_equals_the_official_program_to_1e_3_bits(curves):
    name, found = curves
    for (sigma, t), value in found["official", np.float32].items():
        assert value == pytest.approx(float(GOLDEN[f"dse/{name}/sigma{sigma}_t{t}"]), abs=1e-3)


def test_the_two_walks_have_the_eigenvalues_that_were_measured():
    with jax.enable_x64(True):
        x = jnp.asarray(golden("swissroll")[:500])
        values = [np.linalg.eigvalsh(diffusion_operator(x, sigma=2.0, alpha=a).symmetric)[::-1] for a in (0.0, 0.5)]
    for found, key in zip(values, ("eig_DG^-1G_top4", "eig_DK^-1K_top4"), strict=True):
        np.testing.assert_allclose(found[:4], GOLDEN[f"check/swissroll_sigma2/{key}"], rtol=1e-9)
    gap = abs(np.sort(values[0]) - np.sort(values[1])).max()
    assert gap == pytest.approx(float(GOLDEN["check/max|eig(K)-eig(DK^-1K)|"]), rel=1e-9)


def test_the_shortcuts_of_the_official_program_are_not_the_number():
    first, other, cached = GOLDEN["trap/float16 cache: first call, then another array at the same path"]
    assert np.isnan(first) and abs(other - cached) < 1e-4
    once, again, exact = GOLDEN["trap/chebyshev: two calls and the exact value"]
    assert min(once, again) > 3 * exact


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("t", [0.5, 1.0, 3.0])
def test_every_walk_equals_the_literal_formula(seed, t):
    x = points(seed=seed)
    with jax.enable_x64(True):
        adaptive = knn_sigma(x, k=4)
        for sigma in (0.7, 2.0, np.asarray(adaptive)):
            for operator, alpha in (("official", 0.0), ("anisotropic", 0.5)):
                found = dse(x, sigma=sigma, t=t, operator=operator)
                assert float(found.bits) == pytest.approx(oracle.dse(x, sigma, t, alpha), rel=1e-8)
                np.testing.assert_array_equal(found.sigma, sigma)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_walk_is_a_walk(alpha):
    x = points()
    with jax.enable_x64(True):
        found = diffusion_operator(x, sigma=1.3, alpha=alpha)
        walk, symmetric, stationary = (np.asarray(a) for a in (found.walk, found.symmetric, found.root**2))
    np.testing.assert_allclose(walk, oracle.walk(x, 1.3, alpha), atol=1e-13)
    np.testing.assert_allclose(walk.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-15)
    np.testing.assert_allclose(stationary @ walk, stationary, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_k_tight_far_groups_have_log2_k_bits(k):
    x, _ = oracle.blobs(k, 64, p=8)
    found = dse(x.astype(np.float32), sigma=1.0, t=5)
    assert float(found.bits) == pytest.approx(np.log2(k), abs=1e-5)
    assert float(found.share) == pytest.approx(np.log2(k) / 6, abs=1e-5) and found.log2_n == 6


def test_groups_count_alike_whatever_their_size():
    x = np.repeat(20 * np.eye(3), [1, 3, 60], axis=0)
    assert float(dse(x, sigma=1.0).bits) == pytest.approx(np.log2(3), abs=1e-4)


def test_a_far_row_does_not_blur_the_rest_in_float32():
    x = points(dtype=np.float32)
    x[0] = 1e6
    expected = oracle.dse(x, 1.0)
    assert float(dse(x, sigma=1.0).bits) == pytest.approx(expected, abs=1e-3)
    far = oracle.distances(x)[np.triu_indices(60, 1)]
    assert float(median_sigma(x, share=1)) == pytest.approx(np.median(far), rel=1e-4)


def test_the_ends_are_0_and_log2_n_bits():
    x = points(dtype=np.float32)
    assert float(dse(x, sigma=1e-3).bits) == pytest.approx(np.log2(60), abs=1e-5)
    assert float(dse(x, sigma=1e5).bits) == pytest.approx(0, abs=1e-3)
    assert float(dse(x, sigma=1.0, t=0).bits) == pytest.approx(np.log2(60), abs=1e-5)
    assert float(dse(x, sigma=1.0, t=1e4).bits) == pytest.approx(0, abs=1e-5)


def test_the_curve_is_each_of_its_points():
    x, sigmas, ts = points(dtype=np.float32), [0.5, 1.0, 4.0], [0.0, 1.0, 2.5]
    curve = dse_curve(x, sigmas=sigmas, ts=ts)
    assert curve.bits.shape == curve.error.shape == (3, 3)
    for i, sigma in enumerate(sigmas):
        for j, t in enumerate(ts):
            assert float(curve.bits[i, j]) == pytest.approx(float(dse(x, sigma=sigma, t=t).bits), abs=1e-5)
    np.testing.assert_allclose(curve.share, curve.bits / np.log2(60), rtol=1e-6)


def test_shift_and_rotation_change_nothing_and_scale_goes_with_sigma():
    x = points()
    turn = np.linalg.qr(points(5, 5, 1))[0]
    with jax.enable_x64(True):
        value = float(dse(x, sigma=1.0).bits)
        assert float(dse(x @ turn + 7, sigma=1.0).bits) == pytest.approx(value, rel=1e-10)
        assert float(dse(3e5 * x, sigma=3e5).bits) == pytest.approx(value, rel=1e-10)
        assert float(dse(3e-200 * x, sigma=3e-200).bits) == pytest.approx(value, rel=1e-10)


def test_float32_far_from_the_origin_is_float64_to_1e_3_bits():
    x = points(2000, 16, dtype=np.float32) + np.float32(1000)
    found = float(dse(x, sigma=2.0).bits)
    with jax.enable_x64(True):
        exact = float(dse(x.astype(np.float64), sigma=2.0).bits)
    assert 1 < exact < 10
    assert found == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize("operator", ["official", "anisotropic"])
def test_the_gradient_is_that_of_the_formula(operator):
    x, step = points(20, 3), 1e-6
    direction = points(20, 3, 1)

    def bits(x, sigma, t):
        return dse(x, sigma=sigma, t=t, operator=operator).bits

    with jax.enable_x64(True):
        x = jnp.asarray(x)
        of_x, of_sigma, of_t = jax.grad(bits, argnums=(0, 1, 2))(x, 0.8, 2.0)
        for slope, up, down in (
            (jnp.sum(of_x * direction), (x + step * direction, 0.8, 2.0), (x - step * direction, 0.8, 2.0)),
            (of_sigma, (x, 0.8 + step, 2.0), (x, 0.8 - step, 2.0)),
            (of_t, (x, 0.8, 2.0 + step), (x, 0.8, 2.0 - step)),
        ):
            assert float(slope) == pytest.approx(float(bits(*up) - bits(*down)) / (2 * step), rel=1e-6)


def test_gradients_stay_finite_where_eigenvalues_repeat():
    x, _ = oracle.blobs(4, 60, spread=0.0)
    for t in (0.0, 0.5, 1.0, 2.0):
        found = jax.grad(lambda x, t=t: dse(x, sigma=1.0, t=t).bits)(jnp.asarray(x, jnp.float32))
        assert np.isfinite(found).all()


def test_climbing_the_gradient_raises_the_entropy():
    x = jnp.asarray(points(dtype=np.float32))
    before, slope = jax.value_and_grad(lambda x: dse(x, sigma=2.0).bits)(x)
    assert float(dse(x + 0.1 * slope / jnp.abs(slope).max(), sigma=2.0).bits) > float(before)


def test_jit_and_vmap_give_the_same_numbers():
    stack = jnp.asarray(np.stack([points(seed=s, dtype=np.float32) for s in range(2)]))
    expected = [float(dse(x, sigma=1.0, t=2).bits) for x in stack]
    found = jax.jit(jax.vmap(partial(dse, sigma=1.0, t=2)))(stack)
    np.testing.assert_allclose(found.bits, expected, atol=1e-5)
    np.testing.assert_allclose(found.share, np.asarray(expected) / np.log2(60), atol=1e-5)
    assert found.n == 60


def test_the_width_rules_are_what_they_say():
    x = points()
    far = oracle.distances(x)
    with jax.enable_x64(True):
        median = float(median_sigma(x, share=0.25))
        nearest = np.asarray(knn_sigma(x, k=3))
    assert median == pytest.approx(0.25 * np.median(far[np.triu_indices(60, 1)]), rel=1e-12)
    np.testing.assert_allclose(nearest, np.sort(far, 1)[:, 3], rtol=1e-12)


def test_a_share_of_the_median_distance_is_blind_to_scale_and_a_fixed_width_is_not():
    x = points(dtype=np.float32)
    values = [[float(dse(s * x, sigma=w).bits) for w in (1.0, float(median_sigma(s * x, share=0.3)))] for s in (1, 2)]
    assert values[0][1] == pytest.approx(values[1][1], abs=1e-4)
    assert values[1][0] > values[0][0] + 0.3


@pytest.mark.parametrize(
    ("sigma", "t", "most"), [(0.8, 1.0, 0.01), (1.5, 1.0, 0.01), (1.5, 2.0, 0.002), (4.0, 1.0, 0.0003)]
)
def test_lanczos_states_the_error_that_it_makes(sigma, t, most):
    x = points(500, 4, dtype=np.float32)
    exact = float(dse(x, sigma=sigma, t=t).bits)
    found = [dse_lanczos(x, sigma=sigma, t=t, key=k) for k in jax.random.split(KEY, 10)]
    off = np.asarray([float(f.bits) for f in found]) - exact
    stated = np.mean([float(f.error) for f in found])
    assert np.sqrt((off**2).mean()) < 0.015
    assert np.sqrt((off**2).mean()) < 2 * stated + 0.01
    assert stated < most  # .018, .022, .0030 and .0005 without the sums that are known exactly


def test_the_probes_sum_of_a_parabola_is_exact_and_rounding_corrects_nothing():
    values = jax.random.uniform(KEY, (6, 5))
    weights = jax.random.uniform(jax.random.key(1), (6, 5))
    weights = weights * 20 / weights.sum(1, keepdims=True)  # each probe stands for 20 eigenvalues
    total, squares = 9.0, 5.0
    corrected = _parabola(values, weights, total, squares, 0.0, 0.0)
    np.testing.assert_allclose(corrected(3 * values**2 - values + 2), 3 * squares - total + 40, rtol=1e-4)
    blurred = _parabola(values, weights, total, squares, 1e9, 1e9)
    np.testing.assert_allclose(blurred(values), jnp.sum(weights * values, 1), rtol=1e-6)


def test_more_probes_err_less_and_say_so():
    x = points(500, 4, dtype=np.float32)
    few, many = (float(dse_lanczos(x, sigma=1.5, key=KEY, probes=p).error) for p in (8, 128))
    assert many < few / 2


def test_lanczos_is_exact_where_a_probe_sees_everything():
    x, _ = oracle.blobs(1, 64, p=8, spread=0.0)
    found = dse_lanczos(x, sigma=1.0, key=KEY)
    assert float(found.bits) == pytest.approx(0, abs=1e-5) and float(found.error) < 1e-5
    assert float(dse_lanczos(points(64), sigma=1e-3, key=KEY).bits) == pytest.approx(6, abs=1e-4)


def test_a_subsample_has_less_entropy_by_what_was_measured_and_an_interval_for_its_size():
    x = points(1000, 8, dtype=np.float32)
    whole = float(dse(x, sigma=1.0).bits)
    part = dse_by_subsamples(x, sigma=1.0, size=250, key=KEY)
    assert part.each.shape == (4,) and part.log2_n == np.log2(250)
    assert float(part.low) < float(part.bits) < float(part.high)
    assert 1 < whole - float(part.bits) < 2 + 1e-3  # no row is near another: log2(1000 / 250) is lost
    groups = oracle.blobs(4, 1000, p=8)[0].astype(np.float32)
    found = dse_by_subsamples(groups, sigma=1.0, t=5, size=250, key=KEY)
    assert float(found.bits) == pytest.approx(2, abs=1e-3)


def test_the_interval_of_subsamples_covers_the_mean_at_that_size():
    truth = np.mean([float(dse(points(50, 3, s, np.float32), sigma=1.0).bits) for s in range(1000, 1060)])
    hits = 0
    for seed in range(40):
        part = dse_by_subsamples(points(250, 3, seed, np.float32), sigma=1.0, size=50, key=jax.random.key(seed))
        hits += float(part.low) <= truth <= float(part.high)
    assert hits >= 33
