"""A spectrum says what it is of, serves every score, and is as exact as its dtype allows."""

import operator
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.moments import moments
from repgeo.spectrum import (
    Spectrum,
    alpha_req,
    coding_rate,
    condition,
    dims_for_variance,
    effective_rank,
    isoscore,
    nesum,
    noise_variance,
    participation_ratio,
    rankme,
    renyi_rank,
    spectra,
    spectrum,
    spectrum_from,
    spikes,
    stable_rank,
)
from tests.spectrum.scores import OF_MATRIX, UNCENTRED, points, rotation

OF_SPECTRUM = ("nesum", "renyi_rank 1/2", "renyi_rank inf", "alpha_req", "condition", "coding_rate", "isoscore")


def test_a_spectrum_says_what_it_is_of():
    x = points(9, 4)
    s = spectrum(x, center=True)
    assert isinstance(s, Spectrum)
    assert (float(s.n), s.p, s.centered, s.values.shape) == (9, 4, True, (4,))
    assert bool(jnp.all(s.values[:-1] >= s.values[1:]))
    assert not spectrum(x, center=False).centered


@pytest.mark.parametrize("center", [True, False])
def test_a_stream_gives_the_spectrum_of_the_whole(center):
    x = points(n=90)
    with jax.enable_x64(True):
        total = reduce(operator.add, [moments(part, part) for part in np.split(x, [1, 8, 50])])
        streamed, whole = spectrum_from(total, center=center), spectrum(x, center=center)
        np.testing.assert_allclose(streamed.values, whole.values, rtol=1e-9)
        assert (float(streamed.n), streamed.p, streamed.centered) == (90, 7, center)
        jitted = jax.jit(partial(spectrum_from, center=center))(total)
        np.testing.assert_allclose(jitted.values, whole.values, rtol=1e-9)


def test_moments_count_directions_below_their_rounding_as_nothing():
    x = points(dtype=np.float32)
    wide = np.concatenate([x, x], 1)
    s = spectrum_from(moments(wide, wide), center=True)
    assert int(jnp.sum(s.values > 0)) == 7
    assert float(participation_ratio(s)) == pytest.approx(float(participation_ratio(wide)), rel=1e-4)


@pytest.mark.parametrize(("shape", "dtype"), [((90, 7), "float32"), ((90, 7), "float64"), ((6, 9), "float32")])
@pytest.mark.parametrize("offset", [0, 1000])
def test_both_spectra_are_the_two(shape, dtype, offset):
    x = (points(*shape) + offset).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        for one, of in zip(spectra(x), (spectrum(x, center=True), spectrum(x, center=False)), strict=True):
            assert (one.values.dtype, one.n, one.p, one.centered) == (of.values.dtype, of.n, of.p, of.centered)
            np.testing.assert_allclose(one.values, of.values, rtol=1e-6, atol=1e-6 * float(of.values[0]))
        for one, of in zip(jax.jit(spectra)(x), spectra(x), strict=True):
            np.testing.assert_allclose(one.values, of.values, rtol=1e-5, atol=1e-6 * float(of.values[0]))


@pytest.mark.parametrize("center", [None, 1, "yes"])
def test_centring_is_said_by_true_or_false(center):
    x = points()
    for made in (lambda: spectrum(x, center=center), lambda: spectrum_from(moments(x, x), center=center)):
        with pytest.raises(TypeError, match="center: expected True or False; got"):
            made()


def test_centring_has_no_default():
    with pytest.raises(TypeError, match="center"):
        spectrum(points())


def test_equal_rows_are_an_error_only_when_centred():
    same = np.tile(np.arange(1.0, 4.0), (5, 1))
    assert float(rankme(same)) == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="x: expected rows that differ"):
        spectrum(same, center=True)


def test_float32_scores_of_a_large_matrix_far_from_the_origin_hold_1e_4():
    random = np.random.default_rng(0)
    x = random.normal(size=(10_000, 1024), scale=np.arange(1, 1025) ** -0.5) @ rotation(1024)
    x = (x + 1000).astype(np.float32)
    exact = x.astype(np.float64)
    shifted = exact - exact.mean(0)

    for center, matrix in ((True, shifted), (False, exact)):
        values = np.linalg.svd(matrix, compute_uv=False)
        with jax.enable_x64(True):
            true = Spectrum(jnp.asarray(values), jnp.asarray(1e4), 1024, center)
        ours = spectrum(x, center=center)
        scores = [effective_rank, partial(effective_rank, on="variance"), participation_ratio, stable_rank,
                  partial(renyi_rank, order=0.5), coding_rate]  # fmt: skip
        scores += [nesum, alpha_req, isoscore, noise_variance, condition] if center else [rankme]
        for score in scores:
            with jax.enable_x64(True):
                expected = float(score(true))
            assert float(score(ours)) == pytest.approx(expected, rel=1e-4), (score, center)
        with jax.enable_x64(True):
            assert int(dims_for_variance(ours, share=0.9)) == int(dims_for_variance(true, share=0.9))
        for score in (participation_ratio, isoscore) if center else ():  # which need no spectrum of a matrix
            with jax.enable_x64(True):
                expected = float(score(true))
            assert float(score(x)) == pytest.approx(expected, rel=1e-4)
    traced = jax.jit(lambda a: rankme(a))(x)
    assert float(traced) == pytest.approx(float(rankme(ours)), rel=1e-4)
    with pytest.raises(ValueError, match="the smallest singular value is 0 up to rounding"):
        condition(ours)  # beside the offset: a condition number of a million is no float32 number


def test_traced_and_wide_matrices_get_the_values_of_the_others():
    x = jnp.asarray(points(80, 12, dtype=np.float32))
    for center in (True, False):
        values = spectrum(x, center=center).values
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(jax.jit(partial(spectrum, center=center))(x).values, values, rtol=1e-5)
        inside = jax.jit(lambda a, center=center: spectrum(x, center=center).values + a)(jnp.zeros(12))
        np.testing.assert_allclose(inside, values, rtol=1e-6)
        exact = np.linalg.svd(np.float64(x) - center * np.float64(x).mean(0), compute_uv=False)
        np.testing.assert_allclose(values, exact, rtol=1e-6)
    np.testing.assert_allclose(spectrum(x.T, center=False).values, spectrum(x, center=False).values, rtol=1e-5)


def test_squares_add_up_over_blocks_and_strips_and_what_is_left(monkeypatch):
    monkeypatch.setattr("repgeo.spectrum.decompose._BLOCK_BYTES", 1)
    x = np.random.default_rng(0).normal(size=(301, 200)) * np.arange(1, 201) ** -0.5 @ rotation(200) + 3
    x = x.astype(np.float32)
    for center in (True, False):
        exact = np.linalg.svd(np.float64(x) - center * np.float64(x).mean(0), compute_uv=False)
        np.testing.assert_allclose(spectrum(x, center=center).values, exact, rtol=1e-6)


@pytest.mark.parametrize("rankme", [rankme, jax.jit(rankme)], ids=["plain", "traced"])
@pytest.mark.parametrize("n", [512, 2000])
def test_rankme_of_ten_directions_in_512_holds_1e_4_where_a_gram_matrix_finds_more(n, rankme):
    random = np.random.default_rng(n)
    x = (random.normal(size=(n, 10)) @ random.normal(size=(10, 512))).astype(np.float32)
    share = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    share = share / share.sum() + 1e-7
    truth = np.exp(-np.sum(share * np.log(share)))
    assert abs(float(rankme(x)) - truth) < 1e-4
    squares = np.maximum(np.linalg.eigvalsh(x.T @ x), 0)
    share = np.sqrt(squares) / np.sqrt(squares).sum() + 1e-7
    assert np.exp(-np.sum(share * np.log(share))) - truth > 0.1


def test_a_value_below_half_a_unit_in_the_last_place_of_the_largest_is_zero():
    x = np.diag([1.0, 1e-7, 5e-8]).astype(np.float32)
    np.testing.assert_array_equal(spectrum(x, center=False).values > 0, [True, True, False])


@pytest.mark.parametrize("name", OF_SPECTRUM)
def test_one_spectrum_serves_a_stream_too(name):
    x = points()
    center = name not in UNCENTRED
    with jax.enable_x64(True):
        streamed = spectrum_from(moments(x[:20], x[:20]) + moments(x[20:], x[20:]), center=center)
        value = float(OF_MATRIX[name](jnp.asarray(x)))
        assert float(OF_MATRIX[name](streamed)) == pytest.approx(value, rel=1e-9)
        assert float(OF_MATRIX[name](spectrum(jnp.asarray(x), center=center))) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("score", [nesum, isoscore, partial(alpha_req, between=(1, 6)), noise_variance, spikes])
def test_scores_of_the_covariance_refuse_an_uncentred_spectrum(score):
    with pytest.raises(ValueError, match="of a centred spectrum; got an uncentred one"):
        score(spectrum(points(), center=False))
