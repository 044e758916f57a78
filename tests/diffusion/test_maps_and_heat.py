"""Coordinates and distances of a walk, beside literal matrix functions and spaces whose geodesics are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.diffusion import (
    diffusion_distance,
    diffusion_map,
    dse,
    heat_geodesic,
    heat_kernel,
    nystrom_extend,
    phate_entropy_knee,
    potential_distance,
)
from tests.diffusion import oracle
from tests.diffusion.test_entropy import points
from tests.oracles import distances

ALPHAS = (0.0, 0.5, 1.0)


def ring(n=80, radius=1.0):
    angle = np.arange(n) * 2 * np.pi / n
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_diffusion_coordinates_are_eigenvectors_of_the_walk(alpha):
    x, t = points(), 2.0
    walk = oracle.walk(x, 1.5, alpha)
    with jax.enable_x64(True):
        found = diffusion_map(x, k=3, sigma=1.5, t=t, alpha=alpha)
        z, values = np.asarray(found.coordinates), np.asarray(found.values)
    np.testing.assert_allclose(walk @ z, z * values, atol=1e-10)
    np.testing.assert_allclose(values, np.sort(np.linalg.eigvals(walk).real)[::-1][1:4], rtol=1e-9)
    pull = np.linalg.matrix_power(walk, 10_000)[0]  # the walk's own weights
    np.testing.assert_allclose(pull @ z**2, values ** (2 * t), rtol=1e-8)
    np.testing.assert_allclose(pull @ z, 0, atol=1e-10)
    assert (z[abs(z).argmax(0), range(3)] > 0).all()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_diffusion_distances_are_those_of_all_coordinates_and_of_rows_of_the_walk(alpha):
    x = points(40)
    walk = np.linalg.matrix_power(oracle.walk(x, 1.5, alpha), 3)
    pull = np.linalg.matrix_power(walk, 10_000)[0]
    expected = distances(walk / np.sqrt(pull))
    with jax.enable_x64(True):
        found = np.asarray(diffusion_distance(x, sigma=1.5, t=3, alpha=alpha))
        z = np.asarray(diffusion_map(x, k=39, sigma=1.5, t=3, alpha=alpha).coordinates)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    np.testing.assert_allclose(distances(z), expected, atol=1e-7)


def test_a_map_of_a_ring_is_a_ring():
    z = np.asarray(diffusion_map(ring().astype(np.float32), k=2, sigma=0.3).coordinates)
    radius = np.linalg.norm(z, axis=1)
    assert radius.std() / radius.mean() < 1e-3
    turns = np.unwrap(np.arctan2(z[:, 1], z[:, 0]))
    assert abs(turns[-1] - turns[0]) == pytest.approx(2 * np.pi * 79 / 80, rel=1e-3)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_extension_returns_rows_of_the_map_to_their_place(alpha):
    x = points(dtype=np.float32)
    fitted = diffusion_map(x, k=3, sigma=1.5, t=2, alpha=alpha)
    np.testing.assert_allclose(nystrom_extend(fitted, x), fitted.coordinates, atol=1e-4)


def test_extension_places_new_rows_of_a_ring_between_their_neighbours_and_far_rows_somewhere():
    x = ring().astype(np.float32)
    fitted = diffusion_map(x[::2], k=2, sigma=0.3)
    z = np.asarray(nystrom_extend(fitted, x))
    middle = (z[0:-2:2] + z[2::2]) / 2
    np.testing.assert_allclose(z[1:-1:2], middle, atol=0.02)
    radius = np.linalg.norm(np.asarray(fitted.coordinates), axis=1).mean()
    far = np.asarray(nystrom_extend(fitted, np.asarray([[1e6, 0.0], [1e30, 1e30]], np.float32)))
    assert np.isfinite(far).all() and (np.linalg.norm(far, axis=1) < 2 * radius).all()


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("t", [0.02, 1.0, 37.0])
def test_the_heat_kernel_is_the_matrix_exponential(alpha, t):
    x = points(40)
    with jax.enable_x64(True):
        found = np.asarray(heat_kernel(x, sigma=1.0, t=t, alpha=alpha))
    np.testing.assert_allclose(found, oracle.heat(x, 1.0, t, alpha), atol=1e-11)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-10)


def test_heat_far_away_keeps_its_digits():
    x = np.arange(40.0)[:, None]
    with jax.enable_x64(True):
        exact = np.asarray(heat_kernel(x, sigma=0.6, t=1.0))
        precise = np.asarray(heat_geodesic(x, sigma=0.6, t=1.0))
    assert 1e-30 < exact[0, 20] < 1e-20
    found = np.asarray(heat_kernel(x.astype(np.float32), sigma=0.6, t=1.0))
    np.testing.assert_allclose(found[0, :21], exact[0, :21], rtol=1e-3)
    single = np.asarray(heat_geodesic(x.astype(np.float32), sigma=0.6, t=1.0))
    np.testing.assert_allclose(single[0, :21], precise[0, :21], rtol=1e-3)


def test_heat_geodesics_are_arc_lengths_on_a_ring_within_reach():
    x = ring(80, 2.0)
    steps = np.minimum(np.arange(80), 80 - np.arange(80))
    arcs = steps * 2 * 2 * np.pi / 80
    found = np.asarray(heat_geodesic(x.astype(np.float32), sigma=0.25, t=60.0))
    within = (arcs > 0.25) & (arcs < 4)
    np.testing.assert_allclose(found[0, within], arcs[within], rtol=0.04)
    np.testing.assert_allclose(found, found.T, atol=1e-5)
    assert (np.diagonal(found) == 0).all()
    early = np.asarray(heat_geodesic(x.astype(np.float32), sigma=0.25, t=3.0))
    assert early[0, 25] < 0.8 * arcs[25]  # beyond t sigma a walk takes large steps


def test_heat_geodesics_scale_with_the_data_and_end_where_no_heat_comes():
    x = points(dtype=np.float32)
    found = np.asarray(heat_geodesic(x, sigma=1.0, t=4.0))
    np.testing.assert_allclose(heat_geodesic(100 * x, sigma=100.0, t=4.0), 100 * found, rtol=1e-4, atol=1e-2)
    apart = np.asarray(heat_geodesic(np.asarray([[0.0], [1.0], [1e6]], np.float32), sigma=1.0, t=4.0))
    assert np.isfinite(apart[0, 1]) and apart[0, 2] == np.inf and apart[2, 2] == 0


def test_potential_distances_equal_the_literal_formula():
    x = points(40)
    chances = np.linalg.matrix_power(oracle.walk(x, 1.0, 1.0), 6)
    with jax.enable_x64(True):
        found = np.asarray(potential_distance(x, sigma=1.0, t=6))
    np.testing.assert_allclose(found, distances(np.log(chances)), rtol=1e-6, atol=1e-6)


def test_the_knee_is_the_best_split_into_two_lines():
    x = points()
    with jax.enable_x64(True):
        found = phate_entropy_knee(x, sigma=1.0, t_max=30, operator="official")
        t, bits = int(found.t), np.asarray(found.bits)
    assert bits[6] == pytest.approx(oracle.dse(x, 1.0, 7.0), rel=1e-8)

    def misfit(part):
        times = np.arange(1, 31)[part]
        return np.polyfit(times, bits[part], 1, full=True)[1].sum() if len(times) > 2 else 0.0

    costs = [misfit(slice(0, at)) + misfit(slice(at - 1, 30)) for at in range(2, 30)]
    assert t == 2 + int(np.argmin(costs))


def test_maps_and_distances_run_under_jit_and_vmap():
    stack = jnp.asarray(np.stack([points(40, seed=s, dtype=np.float32) for s in range(2)]))
    for call, tolerance in (
        (lambda x: heat_kernel(x, sigma=1.0, t=2.0), 1e-5),
        (lambda x: heat_geodesic(x, sigma=1.0, t=2.0), 1e-3),
        (lambda x: potential_distance(x, sigma=1.0, t=2), 1e-2),
        (lambda x: diffusion_distance(x, sigma=1.0, t=2), 1e-3),
        (lambda x: phate_entropy_knee(x, sigma=1.0, t_max=9).bits, 1e-4),
    ):
        found = jax.jit(jax.vmap(call))(stack)
        np.testing.assert_allclose(found, np.stack([call(x) for x in stack]), atol=tolerance)


def test_heat_geodesics_have_a_gradient_that_is_that_of_the_formula():
    x, step = points(20, 3), 1e-6
    direction = points(20, 3, 1)
    with jax.enable_x64(True):

        def total(x):
            return heat_geodesic(x, sigma=1.0, t=2.0).sum()

        slope = float(jnp.sum(jax.grad(total)(jnp.asarray(x)) * direction))
        finite = float(total(x + step * direction) - total(x - step * direction)) / (2 * step)
    assert slope == pytest.approx(finite, rel=1e-5)


def test_more_steps_lose_entropy():
    x = points(dtype=np.float32)
    bits = np.asarray(phate_entropy_knee(x, sigma=1.0, t_max=20).bits)
    assert (np.diff(bits) < 1e-5).all() and bits[0] > bits[-1] + 1
    assert bits[0] == pytest.approx(float(dse(x, sigma=1.0, operator="anisotropic").bits), abs=1e-4)
