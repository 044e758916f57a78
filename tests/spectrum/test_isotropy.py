"""Isotropy: identities, blocks that change nothing, exponents that do not overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repgeo.spectrum import (
    average_cosine,
    isoscore,
    participation_ratio,
    partition_score,
    self_cluster,
    uniformity,
    vendi_score,
)
from tests.spectrum.scores import points


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_isoscore_is_an_affine_map_of_the_participation_ratio_and_equals_its_algorithm(seed):
    x = points(seed=seed)
    p = x.shape[1]
    values = np.linalg.eigvalsh(np.cov(x.T))
    defect = np.linalg.norm(np.sqrt(p) * values / np.linalg.norm(values) - 1) / np.sqrt(2 * (p - np.sqrt(p)))
    literal = ((p - defect**2 * (p - np.sqrt(p))) ** 2 - p) / (p * (p - 1))
    with jax.enable_x64(True):
        assert float(isoscore(jnp.asarray(x))) == pytest.approx(literal, rel=1e-12)
        assert (float(participation_ratio(jnp.asarray(x))) - 1) / (p - 1) == pytest.approx(literal, rel=1e-12)


def test_uniformity_in_blocks_is_uniformity(monkeypatch):
    x = points(101, 5, dtype=np.float32)
    whole = float(uniformity(x))
    monkeypatch.setattr("repgeo.spectrum.isotropy._BLOCK_BYTES", 101 * 4 * 10)
    jax.clear_caches()
    assert float(uniformity(x)) == pytest.approx(whole, rel=1e-6)
    jax.clear_caches()


def test_large_exponents_do_not_overflow():
    x = 100 * points(dtype=np.float32)
    assert 0 <= float(partition_score(x)) < 1e-6
    assert float(uniformity(x, t=1e4)) < -10


@pytest.mark.parametrize("score", [vendi_score, average_cosine, uniformity, self_cluster])
def test_a_row_of_zeros_has_no_direction(score):
    x = points(dtype=np.float32)
    x[3] = 0
    with pytest.raises(ValueError, match="x: expected rows with a direction; got 1 zero rows, the first at row 3"):
        score(x)
    assert bool(jnp.isnan(jax.jit(score)(x)))
