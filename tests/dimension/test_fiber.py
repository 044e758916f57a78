"""Growth of volume: slopes without bias, p-values that are uniform when nothing is there, corrections as named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from repgeo.dimension import fiber_bundle_test, volume_slopes
from repgeo.neighbors import Neighborhoods, neighborhoods


def random(seed=0):
    return np.random.default_rng(seed)


def flat_distances(n, k, d, seed=0):
    """Distances (n, k) in a flat density of dimension d around every row, each row drawn anew."""
    arrivals = np.cumsum(random(seed).exponential(size=(n, k)), 1)
    return arrivals ** (1 / d)


def independent(distances):
    """Neighbourhoods whose rows do not share distances, so that the tests are independent."""
    distances = jnp.asarray(distances, jnp.float32)
    n, k = distances.shape
    return Neighborhoods(distances, jnp.zeros((n, k), jnp.int32), jnp.ones(n, bool))


def line_in_a_cube():
    cube = random().uniform(-1, 1, (2000, 5))
    line = np.zeros((100, 5))
    line[:, 0] = np.linspace(-1, 1, 100)
    return np.concatenate([line, cube]).astype(np.float32)


def test_slopes_are_the_formula_on_every_window():
    x = random().normal(size=(300, 4)).astype(np.float32)
    far = np.sort(np.linalg.norm(x[:, None].astype(np.float64) - x[None], axis=-1), 1)[:, 1:]
    found = np.asarray(volume_slopes(x, window=20, windows=3))
    assert found.shape == (300, 3)
    for w in range(3):
        ranks = np.arange(20 * w, 20 * w + 20)
        total = sum((j + 1) * np.log(far[:, j + 1] / far[:, j]) for j in ranks)
        np.testing.assert_allclose(found[:, w], 19 / total, rtol=1e-3)


@pytest.mark.parametrize("d", [1, 3, 12])
def test_slopes_have_no_bias_and_the_stated_error_in_a_flat_density(d):
    near = independent(flat_distances(4000, 121, d))
    found = np.asarray(volume_slopes(near, window=30, windows=4))
    np.testing.assert_allclose(found.mean(0), d, rtol=4 / np.sqrt(28 * 4000))
    np.testing.assert_allclose(found.std(0) / d, 1 / np.sqrt(28), rtol=0.1)


@pytest.mark.parametrize("null", ["fiber bundle", "manifold"])
def test_p_values_of_two_windows_are_uniform_in_a_flat_density(null):
    near = independent(flat_distances(4000, 61, 3))
    p = np.asarray(fiber_bundle_test(near, window=30, windows=2, null=null).p)
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_p_values_of_more_windows_are_safe_and_not_by_much():
    near = independent(flat_distances(4000, 201, 3))
    p = np.asarray(fiber_bundle_test(near).p)
    assert 0.03 < (p < 0.05).mean() < 0.06


def test_p_values_are_scipys_far_into_the_tail():
    far, slope = flat_distances(300, 101, 1), random(1).uniform(1, 6, (300, 1))
    edge = far[:, 50:51]
    far = np.where(np.arange(101) <= 50, far, edge * (far / edge) ** (1 / slope))
    found = fiber_bundle_test(independent(far), window=50, windows=2)
    steps = np.arange(1, 101) * np.log(far[:, 1:] / far[:, :-1])
    ratio = steps[:, :50].sum(1) / steps[:, 50:].sum(1)
    expected = stats.f.sf(ratio, 100, 100)
    assert expected.min() < 1e-9
    np.testing.assert_allclose(found.p, expected, rtol=1e-2)
    np.testing.assert_allclose(found.radius, far[:, 50], rtol=1e-5)
    np.testing.assert_allclose(found.after / found.before, ratio, rtol=1e-3)


@pytest.mark.parametrize(("before", "after"), [(1, 5), (5, 1)])
def test_a_rise_of_the_slope_is_found_and_a_fall_only_as_no_manifold(before, after):
    far = flat_distances(200, 101, before)
    edge = far[:, 50:51]
    far = np.where(np.arange(101) <= 50, far, edge * (far / edge) ** (before / after))
    near = independent(far)
    bundle = fiber_bundle_test(near, windows=2)
    manifold = fiber_bundle_test(near, windows=2, null="manifold", correction="bonferroni")
    assert (bundle.adjusted <= 0.01).mean() == (1 if before < after else 0)
    assert (manifold.adjusted <= 0.01).all()
    np.testing.assert_allclose(np.median(manifold.before), before, rtol=0.1)
    np.testing.assert_allclose(np.median(manifold.after), after, rtol=0.1)


def test_a_line_through_a_cube_is_no_fibre_bundle_and_neither_part_alone_is_rejected():
    x = line_in_a_cube()
    assert (fiber_bundle_test(x).adjusted[:100] <= 0.01).sum() > 20
    assert (fiber_bundle_test(x[100:]).adjusted > 0.05).all()


@pytest.mark.parametrize("name", ["gauss2", "gauss20", "sphere", "anisotropic"])
def test_smooth_controls_are_not_rejected(name):
    z = random(3).normal(size=(2000, {"gauss2": 2, "gauss20": 20, "sphere": 6, "anisotropic": 40}[name]))
    if name == "sphere":
        z /= np.linalg.norm(z, axis=1, keepdims=True)
    if name == "anisotropic":
        z *= np.arange(1, 41) ** -0.7
    assert (fiber_bundle_test(z.astype(np.float32)).adjusted > 0.05).all()


def test_a_heavy_tail_is_rejected_too_because_its_density_rises_towards_the_middle():
    x = random().standard_t(2, size=(2000, 5)).astype(np.float32)
    rejected = np.asarray(fiber_bundle_test(x).adjusted <= 0.01)
    assert 0.005 < rejected.mean() < 0.1
    length = np.linalg.norm(x, axis=1)
    assert np.median(length[rejected]) > 2 * np.median(length)  # in the tail, as the docstring warns


def test_corrections_are_the_named_ones_and_copies_are_no_tests():
    x = line_in_a_cube()
    near = neighborhoods(x, k=201)
    found = fiber_bundle_test(near)
    np.testing.assert_allclose(found.adjusted, stats.false_discovery_control(np.asarray(found.p)), rtol=1e-4)
    bonferroni = fiber_bundle_test(near, correction="bonferroni")
    np.testing.assert_allclose(bonferroni.adjusted, np.minimum(1, len(x) * np.asarray(found.p)), rtol=1e-5)
    doubled = np.concatenate([x, x[:300]])
    for correction, expected in (("benjamini-hochberg", found), ("bonferroni", bonferroni)):
        again = fiber_bundle_test(doubled, correction=correction)
        np.testing.assert_allclose(again.adjusted[: len(x)], expected.adjusted, rtol=1e-5)
        np.testing.assert_array_equal(again.adjusted[len(x) :], again.adjusted[:300])


def test_it_runs_under_jit_and_vmap():
    x = jnp.asarray(random().normal(size=(80, 3)), jnp.float32)
    expected = fiber_bundle_test(x, window=10, windows=3)
    jitted = jax.jit(lambda a: fiber_bundle_test(a, window=10, windows=3))(x)
    mapped = jax.vmap(lambda a: fiber_bundle_test(a, window=10, windows=3))(x[None])
    for a, b, c in zip(*map(jax.tree.leaves, (expected, jitted, mapped)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3)
        np.testing.assert_allclose(c[0], a, rtol=1e-3)


def test_bad_input_is_named():
    x = random().normal(size=(80, 3))
    with pytest.raises(ValueError, match="window: expected windows x window .* = 79 neighbours; got 4 x 50"):
        fiber_bundle_test(x)
    with pytest.raises(ValueError, match="windows: expected 2 <="):
        fiber_bundle_test(x, window=10, windows=1)
    with pytest.raises(ValueError, match="window: expected 3 <="):
        volume_slopes(x, window=2, windows=2)
    with pytest.raises(ValueError, match="null: expected one of fiber bundle, manifold"):
        fiber_bundle_test(x, window=10, null="sphere")
    with pytest.raises(ValueError, match="correction: expected one of"):
        fiber_bundle_test(x, window=10, correction="none")
    with pytest.raises(ValueError, match="window of a row's neighbours is equally far"):
        volume_slopes(np.eye(80), window=10, windows=2)
