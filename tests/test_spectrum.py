"""Effective ranks: equal to references and other implementations, unmoved by what must not move them."""

import operator
from functools import partial, reduce
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repgeo import worlds
from repgeo.moments import moments
from repgeo.spectrum import (
    Spectrum,
    effective_rank,
    participation_ratio,
    rankme,
    spectrum,
    spectrum_from,
    stable_rank,
)

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "spectrum.npz", allow_pickle=False))
NAMES = ("gauss5_in50", "swissroll", "sphere10_in20", "cube6_in6", "aniso64")
REFERENCE = {
    "rankme": rankme,
    "rankme_eps1e5": partial(rankme, eps=1e-5),
    "rankme_eps1e12": partial(rankme, eps=1e-12),
    "erank_cov": lambda x: effective_rank(spectrum(x, center=True), on="variance"),
    "participation_ratio": participation_ratio,
    "stable_rank": stable_rank,
    "stable_rank_centered": lambda x: stable_rank(spectrum(x, center=True)),
}
MEASURES = {
    "rankme": rankme,
    "effective_rank": effective_rank,
    "effective_rank_variance": partial(effective_rank, on="variance"),
    "participation_ratio": participation_ratio,
    "stable_rank": stable_rank,
}
each_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


def points(n=60, p=7, seed=0, dtype=np.float64):
    """Rows with a decaying spectrum and a mean that is not 0."""
    random = np.random.default_rng(seed)
    return (random.normal(size=(n, p)) / np.arange(1, p + 1) + 0.5).astype(dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", REFERENCE)
def test_float64_equals_the_reference(key, name):
    with jax.enable_x64(True):
        value = float(REFERENCE[key](jnp.asarray(GOLDEN[f"data/{name}/full"])))
    assert value == pytest.approx(float(GOLDEN[f"ours/{name}/{key}"]), rel=1e-10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", REFERENCE)
def test_float32_equals_the_reference_to_2e_5(key, name):
    value = float(REFERENCE[key](jnp.asarray(GOLDEN[f"data/{name}/full"], jnp.float32)))
    assert value == pytest.approx(float(GOLDEN[f"ours/{name}/{key}"]), rel=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_scikit_dimension_finds_the_same_participation_ratio(name):
    with jax.enable_x64(True):
        value = float(participation_ratio(jnp.asarray(GOLDEN[f"data/{name}/full"])))
    assert value == pytest.approx(float(GOLDEN[f"skdim/{name}/lPCA:participation_ratio"]), rel=1e-10)


def test_two_packages_call_two_other_numbers_rankme():
    with jax.enable_x64(True):
        x = jnp.asarray(GOLDEN["data/aniso64/full"])
        paper = float(rankme(x))
        another_eps = float(GOLDEN["stable_pretraining/aniso64/rankme"])
        centred_and_squared = float(GOLDEN["reptrix/aniso64/rankme"])
        assert float(rankme(x, eps=1e-5)) == pytest.approx(another_eps, rel=1e-10)
        variances = spectrum(x, center=True).values ** 2
        share = variances / variances.sum() + 1e-7
        assert float(jnp.exp(-jnp.sum(share * jnp.log(share)))) == pytest.approx(centred_and_squared, rel=1e-10)
        assert paper - centred_and_squared > 16 and another_eps - paper > 0.09


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


def test_a_spectrum_says_what_it_is_of():
    x = points(9, 4)
    s = spectrum(x, center=True)
    assert isinstance(s, Spectrum)
    assert (float(s.n), s.p, s.centered, s.values.shape) == (9, 4, True, (4,))
    assert bool(jnp.all(s.values[:-1] >= s.values[1:]))
    assert not spectrum(x, center=False).centered


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


@pytest.mark.parametrize("center", [None, 1, "yes"])
def test_centring_is_said_by_true_or_false(center):
    x = points()
    for made in (lambda: spectrum(x, center=center), lambda: spectrum_from(moments(x, x), center=center)):
        with pytest.raises(TypeError, match="center: expected True or False; got"):
            made()


def test_centring_has_no_default():
    with pytest.raises(TypeError, match="center"):
        spectrum(points())


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


def test_equal_rows_are_an_error_only_when_centred():
    same = np.tile(np.arange(1.0, 4.0), (5, 1))
    assert float(rankme(same)) == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="x: expected rows that differ"):
        spectrum(same, center=True)


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
