"""What a confound explains is gone, what it does not is kept: against regressions written out in float64 NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import similarity as sim
from repgeo.papers import PAPERS

N = 24
DECONFOUNDED = sim.cka_deconfounded


def trio(seed=0, n=N):
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, 3)) * [3, 1, 0.5] + 2
    latent = random.normal(size=(n, 2))
    x, y = (np.hstack([z @ random.normal(size=(3, 3)), latent @ random.normal(size=(2, 2))]) for _ in "xy")
    return x + 0.3 * random.normal(size=x.shape), y + 0.3 * random.normal(size=y.shape), z


def gram(x):
    x = x - x.mean(0)
    return x @ x.T


def value(x, y, z, **options):
    with jax.enable_x64(True):
        return float(DECONFOUNDED(x, y, confound=z, **options))


def cosine(a, b):
    return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


def u_centred(k):
    """Szekely and Rizzo 2014, entry by entry."""
    n = len(k)
    k = k * (1 - np.eye(n))
    out = np.zeros_like(k)
    for i in range(n):
        for j in range(n):
            if i != j:
                out[i, j] = k[i, j] - k[i].sum() / (n - 2) - k[:, j].sum() / (n - 2) + k.sum() / ((n - 1) * (n - 2))
    return out


def centred(k):
    h = np.eye(len(k)) - 1 / len(k)
    return h @ k @ h


def residual(k, confound, degree, centring):
    """Least squares of all entries on a constant and the centred powers of the confound's entries."""
    columns = [np.ones(k.size)] + [centring(confound**d).ravel() for d in range(1, degree + 1)]
    design = np.column_stack([c / np.linalg.norm(c) for c in columns])
    fitted = design @ np.linalg.lstsq(design, centring(k).ravel(), rcond=None)[0]
    return centring(k) - fitted.reshape(k.shape)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("degree", [1, 3])
def test_the_value_is_the_alignment_of_least_squares_residuals(degree, debiased):
    x, y, z = trio()
    centring = u_centred if debiased else centred
    left = [residual(gram(a), gram(z) / 30, degree, centring) for a in (x, y)]
    assert value(x, y, z, degree=degree, debiased=debiased) == pytest.approx(cosine(*left), abs=1e-10)


def test_with_one_degree_it_is_the_partial_correlation_of_alignments():
    x, y, z = trio()
    for align, debiased in ((sim.cka, False), (sim.cka_debiased, True)):
        with jax.enable_x64(True):
            xy, xz, yz = (float(align(*pair)) for pair in ((x, y), (x, z), (y, z)))
        expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
        assert value(x, y, z, debiased=debiased) == pytest.approx(expected, abs=1e-10)


def test_a_planted_confound_leaves_the_alignment_of_what_it_was_added_to():
    """Blocks of one orthonormal basis, so that every cross-product with the confound is exactly 0."""
    random = np.random.default_rng(1)
    a = random.normal(size=(N, 9))
    basis = np.linalg.qr(a - a.mean(0))[0]
    z, u, w = basis[:, :3] * [3, 2, 2], basis[:, 3:6], basis[:, 6:]
    half = u @ random.normal(size=(3, 3)) + w  # shares directions with u
    with jax.enable_x64(True):
        for v in (half, w):
            x, y = np.hstack([z, u]), np.hstack([v, z[:, ::-1]])
            assert float(sim.cka(x, y)) > 0.5
            assert value(x, y, z) == pytest.approx(float(sim.cka(u, v)), abs=1e-12)
        assert value(np.hstack([z, u]), np.hstack([z, w]), z) == pytest.approx(0, abs=1e-12)


def random_features(key, z, *, bend, width=64):
    return bend(z @ jax.random.normal(key, (z.shape[1], width)) / z.shape[1] ** 0.5)


def test_random_networks_are_alike_only_through_their_input():
    z = jax.random.normal(jax.random.key(0), (150, 12)) / jnp.arange(1, 13)[None]
    z = z - z.mean(0, keepdims=True)
    unit = z / jnp.linalg.norm(z, axis=1, keepdims=True)

    def scores(z, bend, degree):
        def one(key):
            x, y = (random_features(k, z, bend=bend) for k in jax.random.split(key))
            return sim.cka(x, y), DECONFOUNDED(x, y, confound=z, degree=degree)

        return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 60))).mean(1)

    plain, left = scores(z, lambda h: h, 1)
    assert plain > 0.9 and abs(left) < 0.1
    plain, straight = scores(z, jax.nn.relu, 1)
    bent = scores(z, jax.nn.relu, 2)[1]
    assert plain > 0.9 and straight > 0.4 and bent < 0.6 * straight  # no line follows the kernel of rectifiers
    plain, bent = scores(unit, jax.nn.relu, 2)
    assert plain > 0.85 and abs(bent) < 0.06  # a parabola does, where the lengths of inputs do not vary


def test_cutting_negative_eigenvalues_would_make_unrelated_residuals_alike():
    random = np.random.default_rng(0)
    z = random.normal(size=(80, 40))
    z = z - z.mean(0)
    kept, cut = [], []
    for _ in range(20):
        left = [residual(gram(z @ random.normal(size=(40, 40))), gram(z), 1, centred) for _ in "xy"]
        kept.append(cosine(*left))
        spectra = [np.linalg.eigh(k) for k in left]
        cut.append(cosine(*((vectors * np.maximum(values, 0)) @ vectors.T for values, vectors in spectra)))
    assert abs(np.mean(kept)) < 0.02 < 0.1 < np.min(cut)


@pytest.mark.parametrize("options", [{}, {"degree": 3}, {"debiased": True}], ids=str)
def test_no_argument_is_changed_by_shift_scale_or_rotation_and_rows_may_be_reordered(options):
    x, y, z = trio()
    before = value(x, y, z, **options)
    random = np.random.default_rng(2)
    for i in range(3):
        moved = [x, y, z]
        turn = np.linalg.qr(random.normal(size=(moved[i].shape[1],) * 2))[0]
        moved[i] = 2.7 * moved[i] @ turn + 5 * random.normal(size=len(turn))
        assert value(*moved, **options) == pytest.approx(before, abs=1e-9)
    rows = random.permutation(N)
    assert value(x[rows], y[rows], z[rows], **options) == pytest.approx(before, abs=1e-10)
    assert value(y, x, z, **options) == pytest.approx(before, abs=1e-12)
    assert value(x, 3 - x, z, **options) == pytest.approx(1, abs=1e-12)
    assert abs(value(x, y, x[:, ::-1] ** 2, **options) - before) > 1e-3


def test_float32_keeps_five_digits_at_any_scale():
    x, y, z = trio()
    exact = value(x, y, z)
    for size in (1.0, 1e-15, 1e15):
        got = DECONFOUNDED(np.float32(x * size), np.float32(y), confound=np.float32(z * size))
        assert float(got) == pytest.approx(exact, abs=3e-5)


def test_debiased_values_of_independent_noise_average_zero():
    draws = jax.random.normal(jax.random.key(3), (3, 200, 20, 30))
    mapped = jax.jit(jax.vmap(lambda x, y, z: DECONFOUNDED(x, y, confound=z, debiased=True)))
    got = np.asarray(mapped(*draws))
    assert abs(got.mean()) < 4 * got.std() / np.sqrt(len(got))
    assert float(DECONFOUNDED(*draws[:2, 0], confound=draws[2, 0])) > 0.2


def test_it_compiles_maps_and_has_the_right_gradient():
    x, y, z = trio()
    with jax.enable_x64(True):
        stack = [jnp.stack([jnp.asarray(a), 2 * jnp.asarray(a[::-1])]) for a in (x, y, z)]
        got, slope = jax.jit(jax.vmap(jax.value_and_grad(lambda a, b, c: DECONFOUNDED(a, b, confound=c))))(*stack)
        np.testing.assert_allclose(got, [value(x, y, z)] * 2, atol=1e-10)
        u, h = np.random.default_rng(5).normal(size=x.shape), 1e-5
        expected = (value(x + h * u, y, z) - value(x - h * u, y, z)) / (2 * h)
        assert float(jnp.vdot(slope[0], u)) == pytest.approx(expected, rel=1e-6)


def test_a_grid_prepares_each_layer_once_with_the_confound():
    x, y, z = (a.astype(np.float32) for a in trio())
    got = np.asarray(sim.grid(DECONFOUNDED, [x, y], confound=z))
    assert got[0, 1] == got[1, 0] == pytest.approx(float(DECONFOUNDED(x, y, confound=z)), abs=1e-6)
    loop = sim.grid(partial(DECONFOUNDED, confound=z), [x, y])
    np.testing.assert_allclose(got, loop, atol=1e-6)


def test_a_representation_that_is_the_confound_has_nothing_left():
    x, y, z = trio()
    for a, b in ((3 * z[:, ::-1] + 1, y), (x, z)):
        with pytest.raises(ValueError, match="undefined for these inputs: the confound explains"):
            DECONFOUNDED(a, b, confound=z)
        assert np.isnan(jax.jit(lambda a, b: DECONFOUNDED(a, b, confound=z))(a, b))


def test_bad_input_is_one_error_that_names_the_argument():
    x, y, z = trio()
    with pytest.raises(ValueError, match=r"^confound: expected one row per sample, n = 24; got shape \(23, 3\)"):
        DECONFOUNDED(x, y, confound=z[1:])
    with pytest.raises(ValueError, match="^confound: expected finite values"):
        DECONFOUNDED(x, y, confound=z * np.nan)
    with pytest.raises(ValueError, match="^confound: expected rows that differ"):
        DECONFOUNDED(x, y, confound=np.ones((N, 2)))
    with pytest.raises(TypeError, match="^confound: expected real numbers"):
        DECONFOUNDED(x, y, confound=z.astype(str))
    with pytest.raises(TypeError, match="confound"):
        DECONFOUNDED(x, y)
    with pytest.raises(ValueError, match="^x: expected at least 4 samples"):
        DECONFOUNDED(x[:3], y[:3], confound=z[:3], debiased=True)
    for degree, error in ((0, ValueError), (6, ValueError), (1.0, TypeError)):
        with pytest.raises(error, match="^degree: "):
            DECONFOUNDED(x, y, confound=z, degree=degree)


def test_the_record_is_that_of_a_similarity_and_cites_a_known_paper():
    record = DECONFOUNDED.record
    assert record.kind == "similarity" and record.symmetric and record.paper in PAPERS
    assert DECONFOUNDED not in sim.MEASURES  # those need x and y alone
