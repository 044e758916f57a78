"""What the doors of `dimension` let in and what they say when they do not: a finite number or one error, never NaN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import dimension as dim
from repgeo.neighbors import neighborhoods

KEY = jax.random.key(0)
FUNCTIONS = {
    "twonn": dim.twonn,
    "twonn_mle": partial(dim.twonn, method="mle"),
    "gride": lambda x: dim.gride(x, ranks=(1, 2, 4)).dimension,
    "lid_mle": partial(dim.lid_mle, k=8),
    "lid_moments": partial(dim.lid_moments, k=8),
    "mean_lid": partial(dim.mean_lid, k=8),
    "mean_lid_median": partial(dim.mean_lid, k=8, average="median"),
    "correlation_dimension": partial(dim.correlation_dimension, k1=4, k2=8),
    "local_pca": partial(dim.local_pca, k=8),
    "mst_growth": partial(dim.mst_growth, key=KEY),
    "volume_slopes": partial(dim.volume_slopes, window=8, windows=2),
    "fiber_bundle_test": lambda x: dim.fiber_bundle_test(x, window=8, windows=2).adjusted,
}
GLOBAL = ("twonn", "twonn_mle", "gride", "mean_lid", "mean_lid_median", "correlation_dimension")
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def points(n=40, p=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p)).astype(np.float32)


def line(n, p):
    """Rank 1: evenly random points of a line in p dimensions, off the origin."""
    direction = np.random.default_rng(1).normal(size=p)
    return (5 + np.random.default_rng(0).uniform(size=(n, 1)) * direction).astype(np.float32)


@each_function
def test_rows_that_are_all_the_same_are_an_error(name):
    with pytest.raises(ValueError, match="x: expected rows that differ"):
        FUNCTIONS[name](np.full((40, 3), 2.5))


@each_function
def test_two_places_in_many_rows_are_an_error_that_counts_them(name):
    x = points()[np.arange(40) % 2]
    with pytest.raises(ValueError, match="got 2 among 40 rows|different rows.*; got"):
        FUNCTIONS[name](x)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("mst_growth", "local_pca")])
def test_one_duplicate_pair_changes_nothing(name):
    x = points()
    doubled = np.asarray(FUNCTIONS[name](np.concatenate([x, x[:1]])))
    expected = np.asarray(FUNCTIONS[name](x))
    if doubled.ndim and len(doubled) == len(x) + 1:
        np.testing.assert_array_equal(doubled[-1], doubled[0])
        doubled = doubled[:-1]
    np.testing.assert_allclose(doubled, expected, rtol=1e-5)


@each_function
def test_a_duplicate_pair_gives_finite_positive_numbers(name):
    x = points()
    found = np.asarray(FUNCTIONS[name](np.concatenate([x, x[:1]])))
    assert np.isfinite(found).all()
    assert (found > 0).all()


@each_function
@pytest.mark.parametrize(("n", "p"), [(40, 1), (40, 200), (17, 17)])
def test_one_feature_and_more_features_than_rows_are_let_in(name, n, p):
    found = np.asarray(FUNCTIONS[name](points(n, p) if n > 17 else points(18, 18)))
    assert np.isfinite(found).all()
    assert (found > 0).all()


@pytest.mark.parametrize("p", [1, 2, 50])
def test_rank_1_has_dimension_1(p):
    x = line(600, p)
    for name in GLOBAL:
        assert np.asarray(FUNCTIONS[name](x)) == pytest.approx(1, abs=0.2), name
    assert (dim.local_pca(x) == 1).all()
    assert float(dim.mst_dimension(x[:200], key=KEY, sizes=(50, 100, 200), alpha=0.5)) == pytest.approx(1, abs=0.1)


def test_equally_far_neighbours_have_no_dimension():
    x = np.eye(40)  # every row is sqrt 2 from every other
    for name in GLOBAL:
        with pytest.raises(ValueError, match="undefined for these inputs: "):
            FUNCTIONS[name](x)
    for name in ("lid_mle", "lid_moments", "volume_slopes", "fiber_bundle_test"):
        with pytest.raises(ValueError, match="equally far, which no dimension explains"):
            FUNCTIONS[name](x)
    with pytest.raises(ValueError, match="trees grow as fast as their points"):
        dim.mst_dimension(x, key=KEY)


@each_function
def test_too_few_rows_name_the_shape_or_the_count(name):
    with pytest.raises(ValueError, match=r"x: expected at least \d+ samples|n - 1|windows x window"):
        FUNCTIONS[name](points(4) if name not in ("twonn", "twonn_mle") else points(2))


@each_function
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.full((40, 3), np.nan), ValueError, "x: expected finite values"),
        (np.where(np.eye(40, 3) > 0, np.inf, 1), ValueError, "x: expected finite values"),
        (np.ones(40), ValueError, "x: expected a matrix"),
        (np.ones((2, 40, 3)), ValueError, "x: expected a matrix"),
        (np.ones((40, 0)), ValueError, "1 feature"),
        (np.full((40, 3), "a"), TypeError, "x: expected real numbers"),
        (np.ones((40, 3), complex), TypeError, "x: expected real numbers"),
    ],
)
def test_what_is_no_finite_real_matrix_is_named(name, bad, error, message):
    with pytest.raises(error, match=message):
        FUNCTIONS[name](bad)


@pytest.mark.parametrize("measure", [dim.lid_mle, dim.lid_moments, dim.mean_lid, dim.local_pca, neighborhoods])
@pytest.mark.parametrize("k", [40, 41, 0, -1])
def test_k_outside_1_to_n_minus_1_is_named(measure, k):
    with pytest.raises(ValueError, match=f"k: expected .* <= k <= .*; got {k}"):
        measure(points(), k=k)


def test_options_are_named():
    x = points()
    near = neighborhoods(x, k=5)
    for call, message in (
        (partial(dim.twonn, x, method="both"), "method: expected one of fit, mle"),
        (partial(dim.twonn, x, discard=0.0), r"discard: expected a finite number in \(0"),
        (partial(dim.twonn, x, discard=0.99), "too few places are kept"),
        (partial(dim.gride, x, ranks=(1,)), "ranks: expected two or more increasing"),
        (partial(dim.gride, x, ranks=(4, 2)), "ranks: expected two or more increasing"),
        (partial(dim.gride, x, ranks=(1, 40)), "ranks: expected 1 <= ranks <= 39"),
        (partial(dim.lid_mle, x, form="hill"), "form: expected one of levina-bickel"),
        (partial(dim.lid_mle, x, k=2, form="unbiased"), "k: expected 3 <= k"),
        (partial(dim.lid_mle, x, k=1), "k: expected 2 <= k"),
        (partial(dim.mean_lid, x, average="mode"), "average: expected one of harmonic"),
        (partial(dim.mean_lid, near, k=6), "k: expected 1 <= k <= 5 .as many neighbours as were searched for"),
        (partial(dim.correlation_dimension, x, k1=9, k2=9), "k1: expected 1 <= k1 <= 8"),
        (partial(dim.correlation_dimension, x, k2=40), "k2: expected 2 <= k2 <= 39"),
        (partial(dim.local_pca, x, rule="kaiser"), "rule: expected one of fukunaga-olsen"),
        (partial(dim.local_pca, x, rule="participation", threshold=0.1), "threshold: rule .* has none"),
        (partial(dim.local_pca, x, threshold=0), r"threshold: expected a finite number in \(0, 1"),
        (partial(dim.mst_dimension, x, key=KEY, sizes=(20,)), "sizes: expected two or more different"),
        (partial(dim.mst_dimension, x, key=KEY, sizes=(20, 41)), "sizes: expected 2 <= sizes <= 40"),
        (partial(dim.mst_dimension, x, key=KEY, alpha=0), "alpha: expected a finite number"),
        (partial(dim.mst_dimension, x, key=KEY, repeats=0), "repeats: expected 1 <= repeats"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "mst_growth"])
def test_under_a_trace_what_is_undefined_is_nan_not_0_or_infinity(name):
    found = np.asarray(jax.jit(FUNCTIONS[name])(jnp.asarray(points()[np.arange(40) % 2])), np.float64)
    assert np.isnan(found).all()
