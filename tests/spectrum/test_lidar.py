"""LiDAR: planted directions are counted, and what must not move it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.spectrum import lidar
from tests.spectrum.scores import rotation


def views(objects=300, count=6, p=8, used=3, noise=0.1, seed=0):
    """Objects that differ along `used` directions alike, seen with noise in all."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(objects, 1, used)) @ rotation(p)[:used]
    return (means + noise * random.normal(size=(objects, count, p))).astype(np.float32)


@pytest.mark.parametrize("used", [1, 3, 8])
def test_planted_directions_are_counted(used):
    assert float(lidar(views(used=used, noise=0.01))) == pytest.approx(used, rel=0.02)


def test_noise_along_a_direction_takes_it_out_of_use():
    z = views(used=2, noise=0.05) @ rotation(8).T
    random = np.random.default_rng(1)
    z[..., 0] += 3 * random.normal(size=z.shape[:2]).astype(np.float32)
    assert float(lidar(views(used=2, noise=0.05))) == pytest.approx(2, rel=0.05)
    assert float(lidar(z)) < 1.3


def test_rotation_and_shift_change_nothing():
    z = views()
    moved = (z @ rotation(8, 5) + 50).astype(np.float32)
    assert float(lidar(moved)) == pytest.approx(float(lidar(z)), rel=1e-4)


def test_two_objects_differ_along_one_direction_whatever_the_width():
    assert float(lidar(views(objects=2, p=20, used=8))) == pytest.approx(1, abs=1e-4)


def test_jit_and_vmap_return_what_plain_calls_return():
    batch = jnp.stack([jnp.asarray(views(60, seed=seed)) for seed in range(3)])
    plain = [float(lidar(z)) for z in batch]
    np.testing.assert_allclose([jax.jit(lidar)(z) for z in batch], plain, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(lidar)(batch), plain, rtol=1e-5)


def test_what_is_undefined_is_an_error_or_nan_under_a_trace():
    same = np.ones((5, 4, 3), np.float32)
    with pytest.raises(ValueError, match="the means of the objects are all the same"):
        lidar(same)
    assert bool(jnp.isnan(jax.jit(lidar)(same)))
    with pytest.raises(ValueError, match="delta is 0"):
        lidar(np.tile(views(20)[:, :1], (1, 4, 1)), delta=0)
