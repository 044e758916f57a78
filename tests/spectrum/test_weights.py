"""Heavy tails: planted exponents are found, and windows of one shape forget the shape of the matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.spectrum import (
    farms_exponent,
    tail_exponent,
)
from tests.spectrum.scores import points, rotation


def test_the_tail_exponent_of_power_law_eigenvalues_is_recovered():
    n = 400
    values = (np.arange(1, n + 1) / n) ** (-1 / 2.0)  # quantiles of a density of exponent 3
    w = rotation(n) * np.sqrt(values)[None] @ rotation(n, 1)
    assert float(tail_exponent(w.astype(np.float32))) == pytest.approx(3, rel=0.02)
    assert float(tail_exponent(w.T.astype(np.float32))) == pytest.approx(float(tail_exponent(w)), rel=1e-3)


def test_the_shape_of_a_random_matrix_moves_its_exponent_but_not_that_of_fixed_windows():
    matrices = [np.random.default_rng(0).normal(size=shape).astype(np.float32) for shape in ((96, 96), (96, 960))]
    whole = [float(tail_exponent(w)) for w in matrices]
    windows = [float(farms_exponent(w, side=48)) for w in matrices]
    assert whole[1] - whole[0] > 1.5
    assert windows[0] == pytest.approx(windows[1], rel=0.05)
    assert float(farms_exponent(matrices[1].T, side=48)) == pytest.approx(windows[1], rel=1e-5)


def test_windows_are_pooled_as_said():
    w = points(10, 23)
    pooled = np.sort(np.concatenate([np.linalg.svd(w[i : i + 6, j : j + 9], compute_uv=False) ** 2
                                     for i in range(0, 5, 3) for j in range(0, 15, 4)]))[::-1]  # fmt: skip
    k = int(0.3 * len(pooled))
    expected = 1 + k / np.sum(np.log(pooled[:k] / pooled[k]))
    with jax.enable_x64(True):
        assert float(farms_exponent(jnp.asarray(w), side=6, ratio=1.5, share=0.3)) == pytest.approx(expected, rel=1e-10)
