"""Effective ranks: equal to the textbook, unmoved by what must not move them."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repgeo import worlds
from repgeo.spectrum import (
    effective_rank,
    participation_ratio,
    participation_ratio_corrected,
    rankme,
    spectrum,
    stable_rank,
)
from tests.spectrum.scores import points

MEASURES = {
    "rankme": rankme,
    "effective_rank": effective_rank,
    "effective_rank_variance": partial(effective_rank, on="variance"),
    "participation_ratio": participation_ratio,
    "stable_rank": stable_rank,
}
each_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


@each_measure
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_the_textbook_gives_the_same_number(measure, seed):
    x = points(seed=seed)
    s = np.linalg.svd(x - x.mean(0) if measure is participation_ratio else x, compute_uv=False)
    share = s / s.sum()
    variance = s**2 / (s**2).sum()
    expected = {
        "rankme": np.exp(-np.sum((share + 1e-7) * np.log(share + 1e-7))),
        "effective_rank": np.exp(-np.sum(share * np.log(share))),
        "effective_rank_variance": np.exp(-np.sum(variance * np.log(variance))),
        "participation_ratio": 1 / np.sum(variance**2),
        "stable_rank": 1 / variance[0],
    }
    name = next(name for name, function in MEASURES.items() if function is measure)
    with jax.enable_x64(True):
        assert float(measure(jnp.asarray(x))) == pytest.approx(expected[name], rel=1e-12)


@each_measure
@pytest.mark.parametrize("k", [1, 4])
def test_a_flat_spectrum_of_k_directions_counts_k(measure, k):
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(40, k)))[0]
    q = np.concatenate([q, -q])  # of mean 0, so that centring changes nothing
    x = q @ np.linalg.qr(np.random.default_rng(1).normal(size=(9, 9)))[0][:k]
    with jax.enable_x64(True):
        assert float(measure(jnp.asarray(x))) == pytest.approx(k, abs=1e-4 if measure is rankme else 1e-9)


@each_measure
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_rotation_and_scale_change_nothing(measure, seed):
    x = jnp.asarray(points(seed=seed, dtype=np.float32))
    moved = worlds.rotated_copy(jax.random.key(seed), x, scale=1e-3)
    assert float(measure(moved)) == pytest.approx(float(measure(x)), rel=1e-5)


@each_measure
def test_a_shift_changes_every_measure_of_the_matrix_as_it_is(measure):
    x = points(dtype=np.float32)
    change = abs(float(measure(x + 100)) / float(measure(x)) - 1)
    assert change < 1e-3 if measure is participation_ratio else change > 0.1


@pytest.mark.parametrize("measure", [m for m in MEASURES.values() if m is not rankme])  # which takes none
def test_a_centred_spectrum_forgets_a_shift(measure):
    x = points(dtype=np.float32)
    values = [float(measure(spectrum(z, center=True))) for z in (x, x + 100)]
    assert values[0] == pytest.approx(values[1], rel=1e-3)


@each_measure
@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (2, 1)])
def test_the_number_lies_between_one_and_the_smaller_side(measure, shape):
    value = float(measure(points(*shape, dtype=np.float32)))
    assert 1 - 1e-5 <= value <= min(shape) * (1 + 1e-5)


def test_squaring_shares_never_gives_more():
    for seed in range(20):
        s = spectrum(points(seed=seed), center=bool(seed % 2))
        by_singular, by_variance = float(effective_rank(s)), float(effective_rank(s, on="variance"))
        assert float(stable_rank(s)) <= float(participation_ratio(s)) <= by_variance <= by_singular


@each_measure
def test_one_spectrum_serves_every_measure(measure):
    x = points(dtype=np.float32)
    s = spectrum(x, center=measure is participation_ratio)
    assert float(measure(s)) == pytest.approx(float(measure(x)), rel=1e-6)


@each_measure
def test_jit_and_vmap_return_what_plain_calls_return(measure):
    batch = jnp.stack([jnp.asarray(points(seed=seed, dtype=np.float32)) for seed in range(3)])
    plain = [float(measure(x)) for x in batch]
    np.testing.assert_allclose([jax.jit(measure)(x) for x in batch], plain, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(measure)(batch), plain, rtol=1e-5)
    spectra = jax.vmap(partial(spectrum, center=measure is participation_ratio))(batch)
    np.testing.assert_allclose(jax.vmap(measure)(spectra), plain, rtol=1e-5)


@each_measure
def test_the_gradient_is_that_of_finite_differences(measure):
    with jax.enable_x64(True):
        x, step = jnp.asarray(points()), jnp.asarray(points(seed=1))
        slope = jnp.sum(jax.grad(measure)(x) * step)
        numeric = (measure(x + 1e-6 * step) - measure(x - 1e-6 * step)) / 2e-6
        assert float(slope) == pytest.approx(float(numeric), rel=1e-5)


@each_measure
@pytest.mark.parametrize("what", ["flat", "rank one", "a column of zeros"])
def test_the_gradient_is_finite_where_singular_values_repeat_or_vanish(measure, what):
    x = {
        "flat": jnp.concatenate([jnp.eye(4), -jnp.eye(4)]),
        "rank one": jnp.outer(jnp.arange(1.0, 7), jnp.arange(1.0, 4)),
        "a column of zeros": jnp.asarray(points(dtype=np.float32)).at[:, 2].set(0),
    }[what]
    assert bool(jnp.isfinite(jax.grad(measure)(x)).all())


@each_measure
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_neither_tiny_nor_huge_units_matter(measure, scale):
    x = points(dtype=np.float32)
    assert float(measure(x * np.float32(scale))) == pytest.approx(float(measure(x)), rel=1e-5)


def test_rankme_refuses_a_centred_spectrum_and_says_what_takes_one():
    with pytest.raises(ValueError, match="x: RankMe is of an uncentred spectrum.*use effective_rank"):
        rankme(spectrum(points(), center=True))


@each_measure
@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (np.ones(5), ValueError, r"x: expected a matrix"),
        (np.ones((1, 5)), ValueError, r"x: expected at least 2 samples"),
        (np.ones((5, 0)), ValueError, r"x: expected at least 2 samples"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), ValueError, r"x: expected finite values"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), ValueError, r"x: expected finite values"),
        (np.array([["a", "b"], ["c", "d"]]), TypeError, r"x: expected real numbers"),
        (np.zeros((4, 3)), ValueError, r"every singular value is 0|rows that differ"),
    ],
)
def test_bad_input_gets_one_clear_error(measure, bad, error, words):
    with pytest.raises(error, match=words):
        measure(bad)


@each_measure
def test_a_matrix_of_zeros_is_nan_under_a_trace(measure):
    assert bool(jnp.isnan(jax.jit(measure)(jnp.zeros((4, 3)))))


@each_measure
def test_a_batch_of_spectra_is_told_about_vmap(measure):
    center = measure is participation_ratio
    batch = jax.vmap(partial(spectrum, center=center))(jnp.stack([jnp.asarray(points())] * 2))
    with pytest.raises(ValueError, match="expected one spectrum; got a batch.*use vmap"):
        measure(batch)


@pytest.mark.parametrize("eps", [-1e-7, np.nan])
def test_rankme_checks_eps(eps):
    with pytest.raises(ValueError, match="eps: expected a finite number"):
        rankme(points(), eps=eps)


def test_an_unknown_kind_of_share_is_named():
    with pytest.raises(ValueError, match="on: expected one of singular, variance; got 'energy'"):
        effective_rank(points(), on="energy")


def test_the_corrected_participation_ratio_is_made_of_two_exact_u_statistics():
    x = points(6, 3)
    quads = list(itertools.permutations(range(6), 4))
    distance = lambda i, j: np.sum((x[i] - x[j]) ** 2) / 2  # noqa: E731
    trace_squared = np.mean([distance(i, j) * distance(k, l) for i, j, k, l in quads])
    of_squares = np.mean([(x[i] @ x[j]) ** 2 - 2 * (x[i] @ x[j]) * (x[j] @ x[k]) + (x[i] @ x[j]) * (x[k] @ x[l])
                          for i, j, k, l in quads])  # fmt: skip
    with jax.enable_x64(True):
        value = float(participation_ratio_corrected(jnp.asarray(x)))
    assert value == pytest.approx(trace_squared / of_squares, rel=1e-10)


def test_the_corrected_participation_ratio_takes_more_rows_than_an_integer_holds_fourth_powers_of():
    x = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    assert float(participation_ratio_corrected(jnp.asarray(x))) == pytest.approx(3, rel=1e-2)


def test_the_corrected_participation_ratio_sees_through_a_small_sample():
    draws = [points(40, 100, seed) * np.sqrt(np.arange(1, 101)) for seed in range(30)]
    share = 1 / np.arange(1, 101)
    truth = share.sum() ** 2 / (share**2).sum()
    plain, corrected = (np.mean([float(f(x)) for x in draws])
                        for f in (participation_ratio, participation_ratio_corrected))  # fmt: skip
    assert plain < 0.75 * truth
    assert corrected == pytest.approx(truth, rel=0.07)
