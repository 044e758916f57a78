"""Diffusion spectral information, labels for what has none, and the rival entropies, beside literal formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma

from repgeo.diffusion import (
    dse,
    dsmi,
    equal_count_labels,
    kde_entropy,
    knn_entropy,
    ksg_information,
    matrix_renyi,
    shannon_binned,
    spectral_labels,
    von_neumann_entropy,
)
from tests.diffusion import oracle
from tests.diffusion.test_entropy import ARRAYS, GOLDEN, NAMES, golden, points
from tests.oracles import distances

pytestmark = pytest.mark.optimized
KEY = jax.random.key(0)


def test_its_parts_are_entropies_of_classes_and_of_as_many_random_rows():
    x, y = points(60), np.repeat([5, 2, 9], [30, 20, 10])
    with jax.enable_x64(True):
        found = dsmi(x, y, sigma=1.5, t=2.0, key=KEY, subsets=5)
        within, among, sizes = (np.asarray(a) for a in (found.within, found.among, found.sizes))
        bits, error, rest = float(found.bits), float(found.error), (float(found.sigma), float(found.t), found.n)
    np.testing.assert_array_equal(sizes, [20, 30, 10])  # in the order of the labels
    np.testing.assert_allclose(within, [oracle.dse(x[y == c], 1.5, 2.0) for c in (2, 5, 9)], rtol=1e-8)
    for size, value in zip((20, 30, 10), among, strict=True):
        draws = [oracle.dse(x[np.random.default_rng(s).permutation(60)[:size]], 1.5, 2.0) for s in range(200)]
        assert abs(value - np.mean(draws)) < 5 * np.std(draws) / 5**0.5
    assert bits == pytest.approx(sizes / 60 @ (among - within), rel=1e-9)
    assert 0 < error < 0.2 and rest == (1.5, 2.0, 60)


def test_far_groups_tell_their_label_and_shuffled_labels_tell_nothing():
    x, y = oracle.blobs(4, 240, spread=0.1)
    x = x.astype(np.float32)
    found = dsmi(x, y, sigma=1.0, t=4, key=KEY)
    assert float(found.bits) == pytest.approx(2, abs=0.05)
    lot = [dsmi(x, np.random.default_rng(s).permutation(y), sigma=1.0, t=4, key=KEY) for s in range(5)]
    assert abs(np.mean([float(f.bits) for f in lot])) < 0.05
    assert float(found.share) == pytest.approx(float(found.bits) / np.log2(240))


def test_labels_by_any_name_are_the_same_and_so_is_a_width_for_each_row():
    x, y = points(40, dtype=np.float32), np.arange(40) % 3
    value = float(dsmi(x, y, sigma=1.0, key=KEY).bits)
    for names in (y + 7, np.asarray(["a", "b", "c"])[y], y.astype(float)):
        assert float(dsmi(x, names, sigma=1.0, key=KEY).bits) == value
    assert float(dsmi(x, y, sigma=np.ones(40), key=KEY).bits) == pytest.approx(value, abs=1e-4)


def test_a_class_of_one_row_adds_nothing():
    x, y = points(40, dtype=np.float32), np.append(np.arange(39) % 2, 2)
    found = dsmi(x, y, sigma=1.0, key=KEY)
    assert float(found.within[2]) == float(found.among[2]) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(found.bits) and np.isfinite(found.error)


def test_information_has_a_gradient_that_is_that_of_the_formula():
    x, y, step = points(24, 3), np.arange(24) % 2, 1e-6
    direction = points(24, 3, 1)
    with jax.enable_x64(True):

        def bits(x):
            return dsmi(x, y, sigma=1.0, t=2.0, key=KEY, subsets=2).bits

        slope = float(jnp.sum(jax.grad(bits)(jnp.asarray(x)) * direction))
        finite = float(bits(x + step * direction) - bits(x - step * direction)) / (2 * step)
    assert slope == pytest.approx(finite, rel=1e-5)


def test_equal_count_labels_cut_a_quantity_into_groups_of_one_size():
    y = np.random.default_rng(0).standard_normal(60)
    labels = np.asarray(equal_count_labels(y, bins=5))
    assert np.bincount(labels).tolist() == [12] * 5
    assert (np.diff(labels[np.argsort(y)]) >= 0).all()
    tied = np.asarray(equal_count_labels([1.0, 1.0, 1.0, 2.0], bins=2))
    assert tied.tolist() == [0, 0, 0, 1]


def test_spectral_labels_find_rings_that_no_straight_cut_does():
    angle = np.arange(60) * 2 * np.pi / 60
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    x = np.concatenate([ring[::2], 3 * ring])
    found = np.asarray(spectral_labels(x, clusters=2, sigma=0.25, key=KEY))
    assert len(set(found[:30])) == 1 and len(set(found[30:])) == 1 and found[0] != found[-1]


def test_kernel_entropies_equal_the_literal_formulas():
    x = points()
    for sigma in (0.7, 2.0):
        values = np.linalg.eigvalsh(oracle.affinities(x, sigma) / 60).clip(0)
        with jax.enable_x64(True):
            assert float(von_neumann_entropy(x, sigma=sigma)) == pytest.approx(oracle.entropy(values, 1), rel=1e-9)
            for order in (0.5, 1.01, 2.0, 3.0):
                expected = np.log2((values**order).sum()) / (1 - order)
                assert float(matrix_renyi(x, sigma=sigma, order=order)) == pytest.approx(expected, rel=1e-6)


def test_von_neumann_weighs_groups_by_their_rows_and_a_walk_does_not():
    x = np.repeat([[0.0], [40.0]], [48, 12], axis=0).astype(np.float32)
    shares = np.asarray([0.8, 0.2])
    assert float(von_neumann_entropy(x, sigma=1.0)) == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-4)
    assert float(dse(x, sigma=1.0).bits) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_joint_histogram_equals_the_official_one(name):
    with jax.enable_x64(True):
        value = float(shannon_binned(golden(name)))
    assert value == pytest.approx(float(GOLDEN[f"dse/{name}/shannon_bins2"]), rel=1e-12)


def test_a_constant_feature_adds_no_bin():
    x = np.c_[ARRAYS["data/cube6_in6/full"], np.full(1000, 3.0)]
    value = float(shannon_binned(x))
    assert value == pytest.approx(float(GOLDEN["dse/cube6_in6/shannon_bins2"]), abs=1e-5)


def test_the_histogram_is_full_in_many_features():
    assert float(shannon_binned(points(60, 30))) == pytest.approx(np.log2(60), abs=1e-5)
    assert float(shannon_binned(points(60, 2), bins=4)) < 4


def test_kozachenko_leonenko_equals_the_literal_formula_and_the_truth():
    x, k = points(60, 2), 4
    radius = np.sort(distances(x), 1)[:, k]
    expected = (digamma(60) - digamma(k) + np.log(np.pi) + 2 * np.log(radius).mean()) / np.log(2)
    with jax.enable_x64(True):
        assert float(knn_entropy(x, k=k)) == pytest.approx(expected, rel=1e-9)
        assert float(knn_entropy(2 * x, k=k)) == pytest.approx(expected + 2, rel=1e-9)
    gauss = points(2000, 2, dtype=np.float32)
    assert float(knn_entropy(gauss)) == pytest.approx(np.log2(2 * np.pi * np.e), abs=0.12)


def test_the_kernel_density_equals_the_literal_formula_and_bounds_the_truth():
    x, sigma = points(60, 2), 0.6
    apart = np.exp(-(distances(x) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    density = (apart.sum(1) - np.diagonal(apart)) / 59
    with jax.enable_x64(True):
        assert float(kde_entropy(x, sigma=sigma)) == pytest.approx(-np.log2(density).mean(), rel=1e-9)
    far = np.concatenate([x, [[500.0, 0.0]]])
    assert np.isfinite(kde_entropy(far.astype(np.float32), sigma=0.1))  # no density is 0


def literal_ksg(x, y, k):
    dx, dy = distances(x), distances(y)
    both = np.maximum(dx, dy)
    np.fill_diagonal(both, np.inf)
    reach = np.sort(both, 1)[:, k - 1 : k]
    off = ~np.eye(len(x), dtype=bool)
    a, b = (((d < reach) & off).sum(1) for d in (dx, dy))
    return (digamma(k) + digamma(len(x)) - np.mean(digamma(a + 1) + digamma(b + 1))) / np.log(2)


@pytest.mark.parametrize("k", [1, 3])
def test_ksg_equals_the_literal_formula(k):
    x, y = points(60, 2), points(60, 2) + points(60, 2, 1)
    with jax.enable_x64(True):
        assert float(ksg_information(x, y, k=k)) == pytest.approx(literal_ksg(x, y, k), rel=1e-9)
        label = np.eye(3)[np.arange(60) % 3]
        assert float(ksg_information(x, label, k=k)) == pytest.approx(literal_ksg(x, label, k), abs=1e-9)


def test_ksg_finds_what_two_gaussians_share_and_nothing_where_nothing_is():
    x = points(1500, 1, dtype=np.float32)
    rho = 0.8
    y = rho * x + np.sqrt(1 - rho**2) * points(1500, 1, 1, np.float32)
    assert float(ksg_information(x, y)) == pytest.approx(-0.5 * np.log2(1 - rho**2), abs=0.1)
    assert abs(float(ksg_information(x, points(1500, 1, 2, np.float32)))) < 0.1
