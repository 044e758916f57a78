"""Every estimator against its formula on plain arrays, on known manifolds, under jit, vmap and grad."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from repgeo import dimension as dim
from repgeo.dimension import growth
from repgeo.neighbors import neighborhoods
from tests.oracles import distances

KEY = jax.random.key(0)
SCALARS = {
    "twonn": dim.twonn,
    "twonn_mle": partial(dim.twonn, method="mle"),
    "gride": lambda x: dim.gride(x, ranks=(2, 4, 8)).dimension[1],
    "lid_mle": lambda x: dim.lid_mle(x, k=8)[3],
    "lid_moments": lambda x: dim.lid_moments(x, k=8)[3],
    "mean_lid": partial(dim.mean_lid, k=8),
    "mean_lid_geometric": partial(dim.mean_lid, k=8, average="geometric"),
    "mean_lid_mean": partial(dim.mean_lid, k=8, average="mean", form="unbiased"),
    "mean_lid_median": partial(dim.mean_lid, k=8, average="median"),
    "local_pca": lambda x: dim.local_pca(x, k=8, rule="participation")[3],
    "volume_slopes": lambda x: dim.volume_slopes(x, window=8, windows=2)[3, 1],
    "mst_dimension": partial(dim.mst_dimension, key=KEY, sizes=(10, 20, 40), repeats=2),
    "spanning_edges": lambda x: dim.spanning_edges(x)[1].sum(),
}
each_scalar = pytest.mark.parametrize("name", SCALARS)


def points(n=60, p=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p))


def sorted_distances(x):
    return np.sort(distances(x), 1)[:, 1:]


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_twonn_and_gride_are_their_formulas(seed):
    x = points(seed=seed)
    far, n = sorted_distances(x), len(x)
    logs = np.sort(np.log(far[:, 1] / far[:, 0]))
    kept, levels = logs[:54], -np.log(1 - np.arange(1, 55) / n)
    wide = np.log(far[:, 7] / far[:, 3])
    root = brentq(lambda d: n / d + 3 * np.sum(wide / (1 - np.exp(-d * wide))) - 7 * np.sum(wide), 0.01, 100)
    with jax.enable_x64(True):
        assert float(dim.twonn(x)) == pytest.approx(kept @ levels / (kept @ kept), rel=1e-9)
        censored = 53 / (kept.sum() + 6 * kept[-1])
        assert float(dim.twonn(x, method="mle", discard=0.1)) == pytest.approx(censored, rel=1e-9)
        assert float(dim.gride(x, ranks=(4, 8)).dimension[0]) == pytest.approx(root, rel=1e-9)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_local_estimators_are_their_formulas(seed):
    x = points(seed=seed)
    far = sorted_distances(x)[:, :8]
    total = np.log(far[:, -1:] / far[:, :-1]).sum(1)
    near = far[:, :-1].mean(1)
    with jax.enable_x64(True):
        for form, top in (("levina-bickel", 7), ("unbiased", 6), ("amsaleg", 8)):
            np.testing.assert_allclose(dim.lid_mle(x, k=8, form=form), top / total, rtol=1e-9)
        np.testing.assert_allclose(dim.lid_moments(x, k=8), near / (far[:, -1] - near), rtol=1e-9)
        lid = 7 / total
        for average, expected in (
            ("harmonic", 1 / np.mean(1 / lid)),
            ("mean", lid.mean()),
            ("median", np.median(lid)),
            ("geometric", np.exp(np.log(lid).mean())),
        ):
            assert float(dim.mean_lid(x, k=8, average=average)) == pytest.approx(expected, rel=1e-9)


def test_local_principal_components_are_those_of_the_row_and_its_neighbours():
    x = points(p=6) * np.array([3, 2, 1, 0.5, 0.1, 0.01])
    near = np.argsort(distances(x), 1, kind="stable")[:, :9]
    spectra = np.array([np.linalg.eigvalsh(np.cov(x[rows].T))[::-1] for rows in near])
    held = np.cumsum(spectra, 1) / spectra.sum(1, keepdims=True)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(dim.local_pca(x, k=8), (spectra > 0.05 * spectra[:, :1]).sum(1))
        np.testing.assert_array_equal(dim.local_pca(x, k=8, rule="share", threshold=0.8), 1 + (held < 0.8).sum(1))
        expected = spectra.sum(1) ** 2 / (spectra**2).sum(1)
        np.testing.assert_allclose(dim.local_pca(x, k=8, rule="participation"), expected, rtol=1e-9)


@pytest.mark.parametrize("n", [499, 500, 1001])
def test_pairs_are_counted_on_both_sides_of_a_block_edge(n):
    x = points(n).astype(np.float32)
    radii = np.array([0.5, 1.0, 2.0], np.float32)
    first = np.arange(n) % 7 > 0
    far = cdist(x[first].astype(np.float64), x[first].astype(np.float64))
    expected = [(far < r).sum() - first.sum() for r in radii]
    np.testing.assert_allclose(growth.pairs_within(x, radii, jnp.asarray(first)), expected, atol=4)


def test_tight_clusters_far_apart_are_counted_from_differences():
    x = (points(300, 3) * 1e-2 + np.repeat([[0.0], [100.0], [-300.0]], 100, 0)).astype(np.float32)
    with jax.enable_x64(True):
        expected = float(dim.correlation_dimension(x.astype(np.float64)))
    assert float(dim.correlation_dimension(x)) == pytest.approx(expected, rel=1e-2)


def test_edges_are_those_of_a_spanning_tree_as_short_as_scipys():
    x = points(200, 5)
    with jax.enable_x64(True):
        edges, length = map(np.asarray, dim.spanning_edges(x))
    np.testing.assert_allclose(length, np.linalg.norm(x[edges[:, 0]] - x[edges[:, 1]], axis=1))
    assert length.sum() == pytest.approx(minimum_spanning_tree(cdist(x, x)).sum())
    reached = {0}
    for old, new in edges:
        assert old in reached
        reached.add(new)
    assert len(reached) == 200


def test_copies_are_joined_by_edges_of_length_0():
    x = points(50)
    edges, length = dim.spanning_edges(np.concatenate([x, x[:10]]))
    assert (np.asarray(length) == 0).sum() == 10
    assert float(length.sum()) == pytest.approx(minimum_spanning_tree(cdist(x, x)).sum(), rel=1e-5)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_all_find_the_dimension_of_a_rotated_cube(d):
    random = np.random.default_rng(0)
    x = (random.uniform(size=(2000, d)) @ np.linalg.qr(random.normal(size=(12, 12)))[0][:d]).astype(np.float32)
    near = neighborhoods(x, k=64)
    found = [
        dim.twonn(near),
        dim.twonn(near, method="mle"),
        *dim.gride(near).dimension,
        dim.mean_lid(near, form="unbiased"),
        dim.lid_moments(near).mean(),
        dim.correlation_dimension(x),
    ]
    np.testing.assert_allclose(found, d, rtol=0.2)  # the boundary takes from 5 dimensions
    assert float(dim.local_pca(x).mean()) == pytest.approx(d, rel=0.01)
    alpha = 0.5 if d == 1 else 1.0
    assert float(dim.mst_dimension(x[:1000], key=KEY, alpha=alpha)) == pytest.approx(d, rel=0.2)


def test_noise_shows_at_small_scales_and_the_sheet_at_large_ones():
    random = np.random.default_rng(0)
    sheet = np.concatenate([random.uniform(size=(2000, 2)), 0.003 * random.normal(size=(2000, 6))], 1)
    found = np.asarray(dim.gride(sheet.astype(np.float32)).dimension)
    assert found[0] > 2.5
    assert found[-1] < 2.2


@each_scalar
def test_scale_offset_and_rotation_change_nothing(name):
    x = points()
    turned = x @ np.linalg.qr(points(4, 4, seed=5))[0]
    with jax.enable_x64(True):
        expected = float(SCALARS[name](x))
        factor = 1e-3 if name == "spanning_edges" else 1
        assert float(SCALARS[name](1e-3 * turned + 7)) == pytest.approx(factor * expected, rel=1e-6)


@each_scalar
def test_jit_and_vmap_give_the_same(name):
    x = jnp.asarray(points(), jnp.float32)
    expected = float(SCALARS[name](x))
    assert float(jax.jit(SCALARS[name])(x)) == pytest.approx(expected, rel=1e-4)
    if name != "mst_dimension":
        np.testing.assert_allclose(jax.vmap(SCALARS[name])(jnp.stack([2 * x, x]))[1], expected, rtol=1e-4)


@each_scalar
@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 10**6))
def test_the_gradient_is_that_of_finite_differences(name, seed):
    with jax.enable_x64(True):
        x, direction = jnp.asarray(points(seed=seed)), jnp.asarray(points(seed=seed + 1))
        slope = float(jnp.sum(jax.grad(SCALARS[name])(x) * direction))
        step = 1e-8  # a longer one meets the kinks where neighbours change places
        above, below = SCALARS[name](x + step * direction), SCALARS[name](x - step * direction)
        assert slope == pytest.approx(float(above - below) / (2 * step), rel=1e-4, abs=1e-6)


def test_the_gradient_is_finite_with_copies_and_ties():
    x = np.concatenate([points(), points()[:5], np.arange(8.0)[:, None] + np.zeros((8, 4))]).astype(np.float32)
    for name in ("twonn", "mean_lid", "mean_lid_geometric", "spanning_edges"):
        assert np.isfinite(jax.grad(SCALARS[name])(jnp.asarray(x))).all(), name
