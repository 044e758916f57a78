"""`spectrum` and `dimension`: every callable on every case."""

import numpy as np
import pytest
from harness import KEY, Entry, X, counted, on, tortured  # noqa: F401

from repgeo import dimension, spectrum
from repgeo.moments import moments, unit_sum

ONE = ("coding_rate condition isoscore nesum participation_ratio participation_ratio_corrected "
       "partition_score rankme effective_rank self_cluster stable_rank uniformity vendi_score average_cosine "
       "spikes spike_projector")  # fmt: skip


def whole(x):
    return (moments(x, x),)


def unit_sums(x):
    return (unit_sum(x),)


REPEATED = {"z": np.stack([X, X + 0.1 * np.roll(X, 1, 1), X - 0.1 * np.roll(X, 2, 1)], 1)}
TINY = {"scale 1e-30": "squares underflow to 0, the spread of equal rows"}
HUGE = TINY | {"scale 1e30": "squares overflow under a trace"}
TIES = dict.fromkeys(("scale 1e-30", "scale 1e-10", "scale 1e10", "scale 1e30"),
                     "the radius is itself a distance: of so few pairs one more or less shows")  # fmt: skip
COPIES = {"duplicate rows": "how many rows differ is not known under a trace"}
TABLE = {f"spectrum.{name}": on(getattr(spectrum, name), "x") for name in ONE.split()} | {
    "spectrum.noise_variance": on(spectrum.noise_variance, "x", may=TINY),
    "spectrum.coherence": on(
        spectrum.coherence, "x", may={"offset 1e6": "float32 leaves one direction above rounding, uncentred"}
    ),
    "spectrum.spectrum": on(spectrum.spectrum, "x", center=True),
    "spectrum.spectra": on(spectrum.spectra, "x"),
    "spectrum.spectrum_from": on(spectrum.spectrum_from, "x", given=whole, center=True, names="m", may=HUGE),
    "spectrum.average_cosine_from": on(spectrum.average_cosine_from, "x", given=unit_sums, names="s"),
    "spectrum.uniformity_by_blocks": on(spectrum.uniformity_by_blocks, "x", traced=False, rows=5),
    "spectrum.alpha_req": on(spectrum.alpha_req, "x", between=(1, 4)),
    "spectrum.dims_for_variance": on(spectrum.dims_for_variance, "x", share=0.9),
    "spectrum.renyi_rank": on(spectrum.renyi_rank, "x", order=2.0, may={"order: infinity": "the least rank"}),
    "spectrum.isoscore_star": on(spectrum.isoscore_star, "x", zeta=0.3),
    "spectrum.lidar": Entry(spectrum.lidar, REPEATED),
    "spectrum.alignment": Entry(spectrum.alignment, {"x": X, "y": X[::-1].copy()}),
    "spectrum.tail_exponent": Entry(spectrum.tail_exponent, {"w": X}),
    "spectrum.farms_exponent": Entry(spectrum.farms_exponent, {"w": X}, {"side": 4}),
    "dimension.twonn": on(dimension.twonn, "x", names="k"),
    "dimension.gride": on(dimension.gride, "x", ranks=(1, 2, 4)),
    "dimension.lid_mle": on(dimension.lid_mle, "x", k=5),
    "dimension.lid_moments": on(dimension.lid_moments, "x", k=5),
    "dimension.mean_lid": on(dimension.mean_lid, "x", k=5),
    "dimension.local_pca": on(dimension.local_pca, "x", k=5),
    "dimension.correlation_dimension": on(dimension.correlation_dimension, "x", k1=2, k2=5, may=TIES),
    "dimension.volume_slopes": on(dimension.volume_slopes, "x", window=4, windows=2),
    "dimension.fiber_bundle_test": on(dimension.fiber_bundle_test, "x", window=4, windows=2),
    "dimension.information_imbalance": on(dimension.information_imbalance),
    "dimension.neighborhood_overlap": on(dimension.neighborhood_overlap, k=2),
    "dimension.mst_dimension": on(dimension.mst_dimension, "x", key=KEY, sizes=(8, 16), may=COPIES),
    "dimension.mst_growth": on(dimension.mst_growth, "x", key=KEY, sizes=(8, 16), may=COPIES),
    "dimension.spanning_edges": on(dimension.spanning_edges, "x"),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_right_number_or_one_clear_error(name, tmp_path):
    assert not (said := tortured(TABLE[name], tmp_path)), "\n".join(said)
