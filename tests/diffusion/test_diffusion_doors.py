"""What the doors of `diffusion` let in and what they say when they do not: a finite number or one error, never NaN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import diffusion as room

KEY = jax.random.key(0)
Y = np.arange(40) % 4
OF_WIDTH = {
    "diffusion_operator": lambda x, sigma: room.diffusion_operator(x, sigma=sigma).walk,
    "dse": lambda x, sigma: room.dse(x, sigma=sigma).bits,
    "dse_anisotropic": lambda x, sigma: room.dse(x, sigma=sigma, operator="anisotropic").bits,
    "dse_curve": lambda x, sigma: room.dse_curve(x, sigmas=[sigma], ts=[0, 1, 2]).bits,
    "dse_lanczos": lambda x, sigma: room.dse_lanczos(x, sigma=sigma, key=KEY, steps=4).bits,
    "dse_by_subsamples": lambda x, sigma: room.dse_by_subsamples(x, sigma=sigma, size=len(x) // 2, key=KEY).bits,
    "dsmi": lambda x, sigma: room.dsmi(x, np.arange(len(x)) % 4, sigma=sigma, key=KEY).bits,
    "von_neumann_entropy": lambda x, sigma: room.von_neumann_entropy(x, sigma=sigma),
    "matrix_renyi": lambda x, sigma: room.matrix_renyi(x, sigma=sigma),
    "kde_entropy": lambda x, sigma: room.kde_entropy(x, sigma=sigma),
    "diffusion_map": lambda x, sigma: room.diffusion_map(x, k=2, sigma=sigma).coordinates,
    "diffusion_distance": lambda x, sigma: room.diffusion_distance(x, sigma=sigma),
    "heat_kernel": lambda x, sigma: room.heat_kernel(x, sigma=sigma, t=1.0),
    "heat_geodesic": lambda x, sigma: room.heat_geodesic(x, sigma=sigma, t=1.0),
    "potential_distance": lambda x, sigma: room.potential_distance(x, sigma=sigma, t=2),
    "phate_entropy_knee": lambda x, sigma: room.phate_entropy_knee(x, sigma=sigma, t_max=9).bits,
}
ALL = OF_WIDTH | {
    "shannon_binned": lambda x, sigma: room.shannon_binned(x),
    "knn_entropy": lambda x, sigma: room.knn_entropy(x),
    "ksg_information": lambda x, sigma: room.ksg_information(x, np.eye(4)[np.arange(len(x)) % 4]),
    "median_sigma": lambda x, sigma: room.median_sigma(x, share=0.5),
    "knn_sigma": lambda x, sigma: room.knn_sigma(x, k=2),
    "spectral_labels": lambda x, sigma: room.spectral_labels(x, clusters=2, sigma=sigma, key=KEY),
}
ENTROPIES = ("dse", "dse_anisotropic", "dse_lanczos", "dse_by_subsamples", "dsmi", "shannon_binned")
each = pytest.mark.parametrize("name", ALL)
each_of_width = pytest.mark.parametrize("name", OF_WIDTH)


def points(n=40, p=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p)).astype(np.float32)


@each_of_width
@pytest.mark.parametrize("sigma", [0, -1.0, np.nan, np.inf])
def test_a_width_that_is_none_is_named(name, sigma):
    with pytest.raises(ValueError, match=r"sigmas?: expected a finite number in \(0"):
        OF_WIDTH[name](points(), sigma)


@each
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.full((40, 3), np.nan), ValueError, "x: expected finite values"),
        (np.ones(40), ValueError, "x: expected a matrix"),
        (np.full((40, 3), "a"), TypeError, "x: expected real numbers"),
    ],
)
def test_what_is_no_finite_real_matrix_is_named(name, bad, error, message):
    with pytest.raises(error, match=message):
        ALL[name](bad, 1.0)


@each
def test_one_row_is_an_error_that_names_the_shape(name):
    with pytest.raises(ValueError, match=r"at least \d samples|got shape \(1, 3\)"):
        ALL[name](points(1), 1.0)


@each
def test_rows_that_are_all_the_same_give_the_documented_value_or_an_error(name):
    x = np.full((40, 3), 2.5, np.float32)
    try:
        found = np.asarray(ALL[name](x, 1.0))
    except ValueError as said:
        assert "expected rows that differ" in str(said)
        assert name in ("knn_entropy", "ksg_information", "median_sigma", "knn_sigma", "spectral_labels")
    else:
        assert np.isfinite(found).all()
        if name in ENTROPIES:
            assert found == pytest.approx(0, abs=1e-3)


@each
def test_copies_and_an_isolated_row_give_finite_numbers(name):
    x = points()
    x[1], x[2] = x[0], x[0]
    x[3] = 1e6  # every affinity of this row to another underflows
    found = np.asarray(ALL[name](x, 1.0))
    assert not np.isnan(found).any()
    if name not in ("heat_geodesic",):  # where it is infinitely far, as documented
        assert np.isfinite(found).all()


@each_of_width
@pytest.mark.parametrize("sigma", [1e-30, 1e-10, 1e10, 1e30])
def test_widths_far_from_the_data_give_no_nan(name, sigma):
    assert not np.isnan(np.asarray(OF_WIDTH[name](points(), sigma))).any()


def test_an_isolated_row_is_a_group_of_its_own():
    x = np.concatenate([np.zeros((39, 3)), [[1e6, 0, 0]]]).astype(np.float32)
    assert float(room.dse(x, sigma=1.0).bits) == pytest.approx(1, abs=1e-4)


def test_the_entropies_at_the_ends_of_time():
    x = points()
    assert float(room.dse(x, sigma=1.0, t=0).bits) == pytest.approx(np.log2(40), abs=1e-5)
    assert float(room.dsmi(x, Y, sigma=1.0, t=0, key=KEY).bits) == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match=r"t: expected a finite number in \(0"):
        room.heat_kernel(x, sigma=1.0, t=0)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.zeros(40), ValueError, "y: expected at least 2 classes; got 1"),
        (np.arange(39), ValueError, "y: expected one category for each of 40 rows"),
        (np.linspace(0, 1, 40), TypeError, "a quantity goes through equal_count_labels"),
        (np.full(40, np.nan), TypeError, "y: expected categories"),
        (np.full(40, None), TypeError, "y: expected categories"),
    ],
)
def test_labels_that_are_none_are_named(y, error, message):
    with pytest.raises(error, match=message):
        room.dsmi(points(), y, sigma=1.0, key=KEY)


def test_traced_labels_are_named_and_a_traced_matrix_is_let_in():
    with pytest.raises(TypeError, match="y: expected labels that are known"):
        jax.jit(lambda y: room.dsmi(points(), y, sigma=1.0, key=KEY).bits)(jnp.asarray(Y))
    found = jax.jit(lambda x: room.dsmi(x, Y, sigma=1.0, key=KEY).bits)(points())
    assert float(found) == pytest.approx(float(room.dsmi(points(), Y, sigma=1.0, key=KEY).bits), abs=1e-4)


def test_options_are_named():
    x = points()
    fitted = room.diffusion_map(x, k=2, sigma=1.0)
    for call, message in (
        (partial(room.dse, x, sigma=1.0, operator="walk"), "operator: expected one of official, anisotropic"),
        (partial(room.dse, x, sigma=1.0, t=-1), r"t: expected a finite number in \[0"),
        (partial(room.dse, x, sigma=1.0, t=[1, 2]), "t: expected one number"),
        (partial(room.dse, x, sigma=np.ones(39)), "sigma: expected one number or one for each of 40 rows"),
        (partial(room.dse, x, sigma=-np.ones(40)), "sigma: expected finite positive numbers"),
        (partial(room.dse_curve, x, sigmas=[], ts=[1]), "sigmas: expected a list of numbers"),
        (partial(room.dse_curve, x, sigmas=[1.0], ts=[-1]), r"ts: expected a finite number in \[0"),
        (partial(room.dse_by_subsamples, x, sigma=1.0, size=21, key=KEY), "size: expected 2 <= size <= 20"),
        (partial(room.dse_by_subsamples, x, sigma=1.0, size=9, key=KEY, level=1), "level: expected a number in"),
        (partial(room.dse_lanczos, x, sigma=1.0, key=KEY, probes=1), "probes: expected 2 <= probes"),
        (partial(room.dse_lanczos, x, sigma=1.0, key=KEY, steps=41), "steps: expected 1 <= steps <= 40"),
        (partial(room.dsmi, x, Y, sigma=1.0, key=KEY, subsets=0), "subsets: expected 1 <= subsets"),
        (partial(room.diffusion_operator, x, sigma=1.0, alpha=2), r"alpha: expected a finite number in \[0"),
        (partial(room.median_sigma, x, share=0), r"share: expected a finite number in \(0"),
        (partial(room.median_sigma, x[np.zeros(40, int) + (np.arange(40) > 37)], share=1), "half of all pairs"),
        (partial(room.knn_sigma, x, k=40), "k: expected 1 <= k <= 39"),
        (partial(room.diffusion_map, x, k=40, sigma=1.0), "k: expected 1 <= k <= 39"),
        (partial(room.nystrom_extend, fitted, x[:, :2]), "x: expected 3 features"),
        (partial(room.nystrom_extend, room.diffusion_map(x, k=2, sigma=np.ones(40)), x), "sigma: expected one number"),
        (partial(room.kde_entropy, x, sigma=np.ones(40)), "sigma: expected one number"),
        (partial(room.heat_geodesic, x, sigma=np.ones(40), t=1.0), "sigma: expected one number"),
        (partial(room.potential_distance, x, sigma=1.0, t=0), "t: expected 1 <= t"),
        (partial(room.phate_entropy_knee, x, sigma=1.0, t_max=4), "t_max: expected 5 <= t_max"),
        (partial(room.matrix_renyi, x, sigma=1.0, order=0), r"order: expected a finite number in \(0"),
        (partial(room.shannon_binned, x, bins=1), "bins: expected 2 <= bins"),
        (partial(room.ksg_information, x, x, k=40), "k: expected 1 <= k <= 39"),
        (partial(room.ksg_information, x, x[1:]), "expected one row per sample in both"),
        (partial(room.equal_count_labels, x, bins=2), "y: expected one number a row"),
        (partial(room.equal_count_labels, np.ones(9), bins=2), "y: expected rows that differ"),
        (partial(room.equal_count_labels, np.arange(9), bins=10), "bins: expected 2 <= bins <= 9"),
        (partial(room.spectral_labels, x, clusters=40, sigma=1.0, key=KEY), "clusters: expected 2 <= clusters <= 39"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="t: expected a plain number"):
        jax.jit(lambda t: room.heat_kernel(x, sigma=1.0, t=t))(1.0)
