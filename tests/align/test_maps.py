"""Maps that pairs determine: against literal NumPy, through moments, back again, and one row at a time."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import align
from repgeo.align import Map
from repgeo.moments import moments

N, P, Q = 60, 6, 4


def pair(seed=0, n=N, p=P, q=Q, noise=0.3):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, p)) @ random.normal(size=(p, p)) + 2
    return x, x[:, : min(p, q)] @ random.normal(size=(min(p, q), q)) + noise * random.normal(size=(n, q)) - 5


FITS = {  # from arrays, and from moments
    "procrustes": (align.procrustes, align.procrustes_from),
    "procrustes_scaled": tuple(partial(f, scaled=True) for f in (align.procrustes, align.procrustes_from)),
    "affine_map": (align.affine_map, align.affine_map_from),
    "ridge_map": tuple(partial(f, ridge=0.1) for f in (align.ridge_map, align.ridge_map_from)),
    "polar_of_least_squares": (align.polar_of_least_squares, align.polar_of_least_squares_from),
    "cca_map": tuple(partial(f, k=2) for f in (align.cca_map, align.cca_map_from)),
}
each = pytest.mark.parametrize("name", FITS)


def literal(name, x, y):
    """Weights (p, q) as NumPy writes them."""
    a, b = x - x.mean(0), y - y.mean(0)
    least = np.linalg.lstsq(a, b, rcond=None)[0]

    def polar(c):
        u, _, vt = np.linalg.svd(c, full_matrices=False)
        return u @ vt

    if name.startswith("procrustes"):
        w = polar(a.T @ b)
        return w * np.sum(w * (a.T @ b)) / np.sum((a @ w) ** 2) if name.endswith("scaled") else w
    if name == "affine_map":
        return least
    if name == "polar_of_least_squares":
        return polar(least)
    s = a.T @ a
    if name == "ridge_map":
        return np.linalg.solve(s + 0.1 * np.trace(s) / len(s) * np.eye(len(s)), a.T @ b)
    cx, cy, cxy = s / (len(x) - 1), b.T @ b / (len(x) - 1), a.T @ b / (len(x) - 1)
    rx, ry = (c + 0.01 * np.trace(c) / len(c) * np.eye(len(c)) for c in (cx, cy))

    def root(c, power):
        values, vectors = np.linalg.eigh(c)
        return vectors * values**power @ vectors.T

    u, rho, vt = np.linalg.svd(root(rx, -0.5) @ cxy @ root(ry, -0.5), full_matrices=False)
    return root(rx, -0.5) @ u[:, :2] * rho[:2] @ vt[:2] @ root(ry, 0.5)


@each
@pytest.mark.parametrize("widths", [(P, Q), (Q, P), (P, P)])
def test_a_map_is_what_numpy_finds(name, widths):
    x, y = pair(p=widths[0], q=widths[1])
    m = FITS[name][0](x, y)
    assert np.abs(m.scale * m.weights - literal(name, x, y)).max() < 1e-4
    expected = (x - x.mean(0)) @ literal(name, x, y) + y.mean(0)
    assert np.abs(m.transform(x) - expected).max() < 1e-3


@each
def test_batches_that_add_up_give_the_same_map(name):
    x, y = pair()
    whole = FITS[name][0](x, y)
    summed = FITS[name][1](moments(x[:20], y[:20]) + moments(x[20:], y[20:]))
    assert np.allclose(whole.weights, summed.weights, atol=1e-4)


@each
def test_one_row_goes_where_its_batch_takes_it(name):
    x, y = pair()
    m = FITS[name][0](x, y)
    assert np.allclose(m.transform(x[3]), m.transform(x)[3], atol=1e-5)
    assert np.allclose(m.transform(x[3:4])[0], m.transform(x)[3], atol=1e-5)


@each
def test_the_score_is_the_share_explained_or_a_correlation(name):
    x, y = pair()
    m = FITS[name][0](x, y)
    if name == "cca_map":
        assert float(m.score) == pytest.approx(float(m.history["correlations"][:2].mean()), abs=1e-6)
    else:
        left = ((y - np.asarray(m.transform(x))) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()
        assert float(m.score) == pytest.approx(1 - left, abs=1e-4)


def test_a_planted_rotation_is_recovered_from_its_pairs():
    random = np.random.default_rng(0)
    q = np.linalg.qr(random.normal(size=(20, 20)))[0].astype(np.float32)
    x = random.normal(size=(300, 20)).astype(np.float32)
    m = align.procrustes(x, 3 * x @ q + 1, scaled=True)
    assert np.abs(m.weights - q).max() < 1e-5
    assert float(m.scale) == pytest.approx(3, rel=1e-5)


@pytest.mark.parametrize("widths", [(P, Q), (Q, P)])
def test_unequal_widths_are_those_of_padding_with_zeros(widths):
    x, y = pair(p=widths[0], q=widths[1])
    wide = max(widths)
    a, b = (np.pad(z, ((0, 0), (0, wide - z.shape[1]))) for z in (x, y))
    padded = align.procrustes(a, b)
    assert np.allclose(padded.transform(a)[:, : widths[1]], align.procrustes(x, y).transform(x), atol=1e-4)


@each
def test_there_and_back_is_nowhere(name):
    x, y = pair(p=Q, q=P)
    m = FITS[name][0](x, y)
    if name == "cca_map":  # of rank 2: what it keeps comes back
        once = m.inverse().transform(m.transform(x))
        assert np.allclose(m.transform(once), m.transform(x), atol=1e-3)
    else:
        assert np.allclose(m.inverse().transform(m.transform(x)), x, atol=1e-3)
        assert np.allclose(m.then(m.inverse()).transform(x), x, atol=1e-3)


def test_a_permutation_is_found_and_constant_features_match_nothing():
    x, _ = pair()
    order = np.array([3, 0, 5, 1, 2, 4])
    m = align.permutation_map(x, 2 * x[:, order] + 1)
    assert (np.asarray(m.weights).argmax(0) == order).all() and float(m.score) == pytest.approx(1, abs=1e-5)
    x[:, 2] = 1.0
    m = align.permutation_map(x, x[:, order])
    assert float(m.score) == pytest.approx(5 / 6, abs=1e-5)


def test_canonical_maps_meet_in_coordinates_of_unit_variance():
    x, y = pair(noise=1.0)
    to_x, to_y = align.canonical_maps(x, y, k=3, ridge=0)
    a, b = np.asarray(to_x.transform(x)), np.asarray(to_y.transform(y))
    assert np.allclose(np.cov(a.T), np.eye(3), atol=1e-3) and np.allclose(np.cov(b.T), np.eye(3), atol=1e-3)
    correlations = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(3)]
    assert np.allclose(correlations, to_x.history["correlations"][:3], atol=1e-3)


def test_weighted_maps_at_weight_zero_are_rotations():
    x, y = pair(p=P, q=P)
    for m in align.weighted_maps(x, y, reweight=0.0):
        assert np.allclose(m.weights.T @ m.weights, np.eye(P), atol=1e-3)


@pytest.mark.parametrize("name", ["affine_map", "ridge_map", "polar_of_least_squares", "cca_map"])
def test_fewer_pairs_than_features_are_said_and_solved(name):
    x, y = pair(n=P)
    with pytest.warns(UserWarning, match=f"{name}: 6 pairs do not determine"):
        m = FITS[name][0](x, y)
    assert np.isfinite(m.transform(x)).all()
    if name == "affine_map":
        assert np.allclose(m.transform(x), y, atol=0.05)
        assert np.allclose(m.weights, literal(name, x, y), atol=0.05)


def test_procrustes_needs_no_more_pairs_than_it_has():
    x, y = pair(n=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m = align.procrustes(x, y)
    assert np.allclose(m.weights.T @ m.weights, np.eye(Q), atol=1e-5)


@each
def test_fits_run_under_jit_and_vmap(name):
    x, y = (jnp.asarray(z, jnp.float32) for z in pair())
    alone = FITS[name][0](x, y)
    many = jax.jit(jax.vmap(FITS[name][0]))(jnp.stack([x, x[::-1]]), jnp.stack([y, y[::-1]]))
    assert isinstance(many, Map)
    assert np.allclose(many.scale[0] * many.weights[0], alone.scale * alone.weights, atol=1e-3)
    with pytest.raises(ValueError, match="map: expected one; got a batch"):
        many.transform(x)


@each
def test_bad_input_is_one_error_that_names_the_argument(name):
    x, y = pair()
    fit = FITS[name][0]
    for bad, says in ((np.where(x > 3, np.nan, x), "x: expected finite"), (x[0], "x: expected a matrix")):
        with pytest.raises(ValueError, match=says):
            fit(bad, y)
    with pytest.raises(ValueError, match="one row per sample"):
        fit(x, y[1:])
    with pytest.raises(TypeError, match="y: expected real numbers"):
        fit(x, y.astype(str))
    m = fit(x, y)
    with pytest.raises(ValueError, match="x: expected rows of 6 features"):
        m.transform(x[:, 1:])
    with pytest.raises(ValueError, match="y: expected rows of 4 features"):
        m.centered(x, x)
    with pytest.raises(ValueError, match="other: expected a map of 4 features"):
        m.then(m)


def test_options_out_of_range_are_refused():
    x, y = pair()
    with pytest.raises(ValueError, match="ridge: expected a finite number"):
        align.ridge_map(x, y, ridge=0.0)
    with pytest.raises(ValueError, match="k: expected 1 <= k <= 4"):
        align.cca_map(x, y, k=5)
    with pytest.raises(ValueError, match="one width"):
        align.permutation_map(x, y)
    with pytest.raises(ValueError, match="reweight: expected"):
        align.weighted_maps(x, y, reweight=2.0)
    with pytest.raises(TypeError, match="m: expected Moments"):
        align.procrustes_from(x)
