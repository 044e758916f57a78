"""Views keep every number, and Fourier blocks do what the theorem says: against NumPy's own transform, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import similarity as sim
from repgeo import views

VIEWS = {"flatten": views.flatten, "pool": views.pool, "channels": views.channels, "dft": views.dft}
SIZES = [(4, 4), (3, 5), (2, 1), (1, 1)]


def maps(n=6, h=4, w=4, c=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, h, w, c))


def shifted(a):
    """All circular shifts of every map, (n h w, h, w, c): a translation-invariant set."""
    _, h, w, _ = a.shape
    return np.concatenate([np.roll(a, (i, j), (1, 2)) for i in range(h) for j in range(w)])


def circular(a, width, seed):
    """A layer of circular 3 x 3 convolutions with rectifiers and one bias a channel, spelled out."""
    random = np.random.default_rng(seed)
    out = random.normal(size=width)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            out = out + np.roll(a, (i, j), (1, 2)) @ random.normal(size=(a.shape[-1], width))
    return np.maximum(out, 0)


def correlations(x, y):
    """Canonical correlations by orthonormal bases, real or complex (full column rank)."""
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.svd(np.linalg.qr(x)[0].conj().T @ np.linalg.qr(y)[0], compute_uv=False)


def exact(view, a):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, view(a))


@pytest.fixture(scope="module")
def layers():
    """Two circular layers of the same translation-invariant inputs, and their Fourier blocks."""
    inputs = shifted(maps(n=20, c=2))
    a, b = circular(inputs, 3, 1), circular(circular(inputs, 4, 2), 2, 3)
    return a, b, exact(views.dft, a), exact(views.dft, b)


def test_shapes_say_what_is_a_sample_and_what_a_feature():
    a = maps(h=2, w=5)
    assert exact(views.flatten, a).shape == (6, 30)
    assert exact(views.pool, a).shape == (6, 3)
    assert exact(views.channels, a).shape == (60, 3)
    tokens = a.reshape(6, 10, 3)
    for name in ("flatten", "pool", "channels"):
        np.testing.assert_array_equal(exact(VIEWS[name], tokens), exact(VIEWS[name], a))


def test_rows_of_channels_are_positions_in_reading_order():
    a = maps(h=2, w=5)
    rows = exact(views.channels, a)
    np.testing.assert_array_equal(rows[3 * 10 + 1 * 5 + 4], a[3, 1, 4])
    np.testing.assert_array_equal(exact(views.flatten, a)[3, (1 * 5 + 4) * 3 + 2], a[3, 1, 4, 2])
    np.testing.assert_allclose(exact(views.pool, a)[3], rows[30:40].mean(0), atol=1e-14)


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_blocks_are_numpys_transform_each_pair_once(h, w):
    a = maps(h=h, w=w)
    blocks = exact(views.dft, a)
    spectrum = np.fft.fft2(a, axes=(1, 2)) / np.sqrt(h * w)
    seen = set()
    for (u, v), block in blocks.items():
        mirror = (-u % h, -v % w)
        seen |= {(u, v), mirror}
        z = spectrum[:, u, v]
        if mirror == (u, v):
            np.testing.assert_allclose(block, z.real, atol=1e-13)
            np.testing.assert_allclose(z.imag, 0, atol=1e-13)
        else:
            np.testing.assert_allclose(block[:, :3] + 1j * block[:, 3:], np.sqrt(2) * z, atol=1e-13)
            np.testing.assert_allclose(spectrum[:, mirror[0], mirror[1]], z.conj(), atol=1e-13)
    assert seen == {(u, v) for u in range(h) for v in range(w)}
    assert sum(block.shape[1] for block in blocks.values()) == h * w * 3


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_all_blocks_together_are_the_flat_features_rotated(h, w):
    a, b = maps(h=h, w=w), maps(h=h, w=w, seed=1)
    left, right = (np.hstack(list(exact(views.dft, z).values())) for z in (a, b))
    flat_a, flat_b = (exact(views.flatten, z) for z in (a, b))
    np.testing.assert_allclose(left @ left.T, flat_a @ flat_a.T, atol=1e-12)  # Parseval, for every pair of rows
    np.testing.assert_allclose(left @ right.T, flat_a @ flat_b.T, atol=1e-12)  # and one rotation for all data


def test_a_sequence_is_a_map_one_row_high():
    a = maps(h=1, w=7)
    flat, tall = exact(views.dft, a[:, 0]), exact(views.dft, a)
    assert [(0, *frequency) for frequency in flat] == list(tall)
    for one, two in zip(flat.values(), tall.values(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-14)


def test_frequencies_of_translation_invariant_data_are_uncorrelated(layers):
    _, _, left, right = layers
    for u, x in left.items():
        for v, y in right.items():
            cross = (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)
            assert (np.abs(cross).max() < 1e-12) == (u != v), (u, v)


def test_without_all_shifts_frequencies_are_correlated():
    a = circular(maps(n=200, c=2), 3, 1)
    blocks = list(exact(views.dft, a).values())
    cross = np.corrcoef(blocks[1].T, blocks[2].T)[: blocks[1].shape[1], blocks[1].shape[1] :]
    assert np.abs(cross).max() > 0.05


def test_block_by_block_the_canonical_correlations_are_those_of_all_units_at_once(layers):
    a, b, left, right = layers
    whole = correlations(exact(views.flatten, a), exact(views.flatten, b))
    parts = np.sort(np.concatenate([correlations(x, right[u]) for u, x in left.items()]))[::-1]
    np.testing.assert_allclose(parts, whole, atol=1e-9)
    assert whole[0] - whole[-1] > 0.1


def test_the_library_gives_the_same_average_from_blocks_as_from_all_units(layers):
    a, b, left, right = layers
    with jax.enable_x64(True):
        parts = [float(sim.mean_cca(x, right[u])) for u, x in left.items()]
        widths = [min(x.shape[1], right[u].shape[1]) for u, x in left.items()]
        whole = float(sim.mean_cca(views.flatten(a), views.flatten(b)))
    assert np.average(parts, weights=widths) == pytest.approx(whole, abs=1e-9)


def test_a_real_pair_has_the_correlations_of_the_complex_channels_each_twice(layers):
    a, b, left, right = layers
    spectra = [np.fft.fft2(z, axes=(1, 2)) for z in (a, b)]
    pairs = [u for u, x in left.items() if x.shape[1] == 6]
    assert len(pairs) == 6
    for u in pairs:
        oracle = correlations(*(z[:, u[0], u[1]] for z in spectra))
        np.testing.assert_allclose(correlations(left[u], right[u]), np.repeat(oracle, 2), atol=1e-9)


def test_without_all_shifts_a_real_pair_finds_more_than_the_complex_channels_do():
    inputs = maps(n=60, c=2)
    a, b = circular(inputs, 3, 1), circular(inputs, 2, 2)
    left, right = exact(views.dft, a), exact(views.dft, b)
    spectra = [np.fft.fft2(z, axes=(1, 2))[:, 1, 2] for z in (a, b)]
    assert correlations(left[1, 2], right[1, 2])[0] > correlations(*spectra)[0] + 1e-2


def test_a_shift_of_every_map_is_invisible_to_cca_of_blocks_and_to_pooling(layers):
    a, _, left, _ = layers
    moved = np.roll(a, (1, 2), (1, 2))
    for u, x in exact(views.dft, moved).items():
        np.testing.assert_allclose(correlations(x, left[u]), 1, atol=1e-9)
    np.testing.assert_allclose(exact(views.pool, moved), exact(views.pool, a), atol=1e-12)


@pytest.mark.parametrize("name", VIEWS)
def test_views_compile_map_and_differentiate(name):
    view, a = VIEWS[name], jnp.asarray(maps(), jnp.float32)
    for got, expected in zip(jax.tree.leaves(jax.jit(view)(a)), jax.tree.leaves(view(a)), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
        assert got.dtype == jnp.float32
    stacked = jax.vmap(view)(jnp.stack([a, 2 * a]))
    for got, expected in zip(jax.tree.leaves(stacked), jax.tree.leaves(view(a)), strict=True):
        np.testing.assert_allclose(got[1], 2 * expected, atol=1e-5)

    def energy(a):
        return sum(jnp.sum(z**2) for z in jax.tree.leaves(view(a)))

    slope = jax.grad(energy)(a)
    if name == "pool":
        np.testing.assert_allclose(slope, jnp.broadcast_to(2 * view(a)[:, None, None] / 16, a.shape), atol=1e-6)
    else:
        np.testing.assert_allclose(slope, 2 * a, atol=1e-5)


@pytest.mark.parametrize("name", VIEWS)
def test_dtypes_are_those_of_the_library(name):
    whole = np.round(4 * maps()).astype(int)
    for got, expected in zip(
        jax.tree.leaves(VIEWS[name](whole)), jax.tree.leaves(VIEWS[name](np.float32(whole))), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == jnp.float32
    assert {z.dtype for z in jax.tree.leaves(VIEWS[name](maps().astype(np.float16)))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", VIEWS)
def test_bad_input_is_one_error_that_names_the_argument(name):
    view, a = VIEWS[name], maps()
    for bad in (a[0, 0], a[None], np.ones(3), np.float32(1), a[:0], a[..., :0]):
        with pytest.raises(ValueError, match=r"^a: expected activations \(n, h, w, c\) or \(n, t, c\), .*shape \("):
            view(bad)
    for bad in (a.astype(str), a + 1j, None):
        with pytest.raises(TypeError, match="^a: expected real numbers"):
            view(bad)
    a[2, 1, 0, 2] = np.inf
    with pytest.raises(ValueError, match=r"^a: expected finite values; got 1 NaN or inf, the first at \(2, 1, 0, 2\)"):
        view(a)
    with pytest.raises(ValueError, match="^a: expected activations"):
        jax.jit(view)(np.ones((3, 4)))
