"""Estimators of dimension against a float64 reference and the outputs of the packages that people use."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import dimension as dim
from repgeo.neighbors import neighborhoods

pytestmark = pytest.mark.optimized
FOLDER = Path(__file__).parent.parent / "golden"
VALUES = dict(np.load(FOLDER / "dimension.npz", allow_pickle=False))
NAMES = ("gauss5_in50", "swissroll", "sphere10_in20", "cube6_in6", "aniso64")
ARRAYS = np.load(FOLDER / "spectrum.npz", allow_pickle=False)
DATA = {name: ARRAYS[f"data/{name}/full"] for name in NAMES}
OURS = {
    "twonn_fit": lambda near, x: dim.twonn(near),
    "twonn_mle": lambda near, x: dim.twonn(near, method="mle"),
    "mle20": lambda near, x: dim.mean_lid(near),
    "mle20_mean": lambda near, x: dim.mean_lid(near, average="mean"),
    "lid_amsaleg_head": lambda near, x: dim.lid_mle(near, form="amsaleg")[:20],
    "corr_int": lambda near, x: dim.correlation_dimension(x),
    "mst_total": lambda near, x: jnp.sum(dim.spanning_edges(x)[1]),
    "gride": lambda near, x: dim.gride(near).dimension,
}
PEERS = {
    "skdim/TwoNN": lambda near: dim.twonn(near),
    "skdim/MLE": lambda near: dim.mean_lid(near),
    "skdim/MLE:mean": lambda near: dim.mean_lid(near, average="mean"),
    "skdim/MLE:median": lambda near: dim.mean_lid(near, average="median"),
    "skdim/MLE:pw_head20": lambda near: dim.lid_mle(near)[:20],
    "dadapy/2NN:base": lambda near: dim.twonn(near),
    "dadapy/2NN:ml": lambda near: dim.twonn(near, method="mle"),
    "dadapy/gride_rs": lambda near: dim.gride(near).distance,
}
each_array = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def searched():
    """The neighbourhoods of every array in float64, searched for once."""
    with jax.enable_x64(True):
        return {name: neighborhoods(jnp.asarray(x), k=100) for name, x in DATA.items()}


@each_array
@pytest.mark.parametrize("key", OURS)
def test_float64_equals_the_reference(key, name, searched):
    with jax.enable_x64(True):
        value = OURS[key](searched[name], jnp.asarray(DATA[name]))
    np.testing.assert_allclose(value, VALUES[f"ours/{name}/{key}"], rtol=1e-9)


@each_array
@pytest.mark.parametrize("key", PEERS)
def test_float64_equals_the_peer(key, name, searched):
    peer, call = key.split("/")
    with jax.enable_x64(True):
        value = PEERS[key](searched[name])
    np.testing.assert_allclose(value, VALUES[f"{peer}/{name}/{call}"], rtol=1e-9)


@each_array
def test_float32_is_the_reference_to_four_digits(name):
    # The rank 45 eigenvalues of gauss5_in50 are 0 up to rounding: distances do not mind.
    near = neighborhoods(DATA[name].astype(np.float32), k=100)
    for key in ("twonn_fit", "twonn_mle", "mle20", "mle20_mean", "lid_amsaleg_head", "gride"):
        np.testing.assert_allclose(OURS[key](near, None), VALUES[f"ours/{name}/{key}"], rtol=1e-4, err_msg=key)
    value = dim.correlation_dimension(DATA[name].astype(np.float32))
    assert value == pytest.approx(float(VALUES[f"ours/{name}/corr_int"]), rel=1e-3)  # a pair more or less counts


@each_array
def test_gride_of_the_peers_has_n_minus_1_for_n_and_drops_no_ratio_of_these(name, searched):
    with jax.enable_x64(True):
        found = dim.gride(searched[name])
    n = len(DATA[name])
    np.testing.assert_allclose(found.dimension, VALUES[f"dadapy/{name}/gride"], rtol=2e-3)
    assert (np.asarray(found.dimension) > VALUES[f"dadapy/{name}/gride"]).all()
    assert float(found.dimension[0]) * (n - 1) / n == pytest.approx(float(VALUES[f"skdim/{name}/GRIDE"]), rel=1e-9)
    np.testing.assert_allclose(found.error, VALUES[f"dadapy/{name}/gride_err"], rtol=2e-3)


@each_array
def test_moments_of_the_peer_count_the_kth_distance_into_the_mean(name, searched):
    k = 100
    with jax.enable_x64(True):
        ours = np.asarray(dim.lid_moments(searched[name], k=k))
    theirs = float(VALUES[f"skdim/{name}/MOM"])
    assert np.mean(ours + (ours + 1) / (k - 1)) == pytest.approx(theirs, rel=1e-9)
    assert ours.mean() < theirs


@each_array
def test_principal_components_of_all_rows_count_as_the_peer_does(name):
    x = DATA[name][:: len(DATA[name]) // 100]  # every row sees all the others, so each is asked the global question
    spectrum = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    held = np.cumsum(spectrum) / spectrum.sum()
    with jax.enable_x64(True):
        found = {rule: np.asarray(dim.local_pca(x, k=len(x) - 1, rule=rule)) for rule in ("fukunaga-olsen", "share")}
        ratio = np.asarray(dim.local_pca(x, k=len(x) - 1, rule="participation"))
    assert (found["fukunaga-olsen"] == (spectrum > 0.05 * spectrum[0]).sum()).all()
    assert (found["share"] == 1 + (held < 0.95).sum()).all()
    np.testing.assert_allclose(ratio, spectrum.sum() ** 2 / (spectrum**2).sum(), rtol=1e-9)
    whole = np.linalg.eigvalsh(np.cov(DATA[name].T))[::-1]  # the same formulas, on all rows, are the peer's numbers
    assert (whole > 0.05 * whole[0]).sum() == VALUES[f"skdim/{name}/lPCA"]
    assert whole.sum() ** 2 / (whole**2).sum() == pytest.approx(VALUES[f"skdim/{name}/lPCA:participation_ratio"])


@pytest.mark.parametrize("k", [10, 30])
def test_overlap_equals_both_references(k):
    x = DATA["aniso64"]
    with jax.enable_x64(True):
        value = float(dim.neighborhood_overlap(x, x[:, :8], k=k))
    for source in ("ours", "dadapy"):
        assert value == pytest.approx(float(VALUES[f"{source}/aniso64_vs_first8/overlap_k{k}"]), abs=1e-12)


def test_one_duplicate_pair_makes_the_peer_say_0_and_changes_nothing_here():
    x = DATA["cube6_in6"]
    doubled = np.concatenate([x, x[:20]])
    assert float(VALUES["trap/dups20/MLE"]) == 0.0
    with jax.enable_x64(True):
        assert float(dim.mean_lid(doubled)) == pytest.approx(float(VALUES["ours/cube6_in6/mle20"]), rel=1e-9)
        assert float(dim.twonn(doubled)) == pytest.approx(float(VALUES["ours/cube6_in6/twonn_fit"]), rel=1e-9)
        assert float(dim.correlation_dimension(doubled)) == pytest.approx(
            float(VALUES["ours/cube6_in6/corr_int"]), rel=1e-9
        )
        np.testing.assert_array_equal(dim.lid_mle(doubled)[1000:], dim.lid_mle(doubled)[:20])
    for call in ("TwoNN", "CorrInt"):
        assert float(VALUES[f"trap/dups20/{call}"]) != pytest.approx(
            float(VALUES[f"skdim/cube6_in6/{call}"]), rel=1e-5
        )
