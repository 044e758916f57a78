"""Noise: its law, its edge, and the directions that pass it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from repgeo.spectrum import (
    marchenko_pastur_edge,
    noise_variance,
    spectrum,
    spike_projector,
    spikes,
)
from tests.spectrum.scores import rotation


def marchenko_pastur_share(ratio, level):
    """Mass of the law below `level`, by adaptive quadrature of its density."""
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    density = lambda t: np.sqrt((high - t) * (t - low)) / (2 * np.pi * ratio * t)  # noqa: E731
    return quad(density, low, level, limit=200)[0]


@pytest.mark.parametrize("ratio", [0.05, 0.5, 1.0])
def test_the_median_of_noise_halves_its_law(ratio):
    from repgeo.spectrum.noise import _median

    with jax.enable_x64(True):
        assert marchenko_pastur_share(ratio, float(_median(jnp.asarray(ratio)))) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("shape", [(2000, 200), (200, 1000)])
def test_planted_spikes_are_counted_and_their_subspace_found(shape):
    n, p = shape
    random = np.random.default_rng(0)
    axes = rotation(p)[:, :4]
    strength = 3 * np.sqrt(1 + np.sqrt(p / n)) * np.arange(1, 5) ** 0.5
    noise = 2 * random.normal(size=shape)
    x = (noise + random.normal(size=(n, 4)) * 2 * strength @ axes.T).astype(np.float32)
    assert float(noise_variance(x)) == pytest.approx(4, rel=0.03)
    assert int(spikes(x, margin=2.02)) == int(spikes(spectrum(x, center=True), margin=2.02, variance=4.0)) == 4
    projector = np.asarray(spike_projector(x, margin=2.02))
    np.testing.assert_allclose(projector, projector @ projector, atol=1e-5)
    assert np.trace(projector) == pytest.approx(4, abs=1e-3)
    assert np.sum((projector @ axes) ** 2) > 4 * 0.8
    assert int(spikes(noise + 50, margin=2.02)) == 0


def test_pure_noise_passes_the_bare_edge_one_time_in_six_and_the_margin_one_in_twenty():
    batch = jax.random.normal(jax.random.key(0), (400, 100, 40))
    spectra = jax.vmap(partial(spectrum, center=True))(batch)
    false = [float(jnp.mean(jax.vmap(partial(spikes, variance=1.0, margin=m))(spectra) > 0)) for m in (0.0, 0.98)]
    assert 0.1 < false[0] < 0.24 and 0.02 < false[1] < 0.09


def test_the_edge_is_where_noise_ends():
    assert marchenko_pastur_edge(1000, 250, variance=3.0) == pytest.approx(6.75)
    x = jax.random.normal(jax.random.key(1), (1000, 250))
    top = float(spectrum(x, center=True).values[0] ** 2 / 999)
    # Of this shape the largest eigenvalue is, by Johnstone's law, 1.2 % below the edge with a deviation of 1.2 %.
    assert top == pytest.approx(0.988 * marchenko_pastur_edge(999, 250), rel=0.036)
