"""`similarity`: every callable on every case."""

import pytest
from harness import KEY, X, counted, on, tortured  # noqa: F401

from repgeo import similarity as room
from repgeo.debiased_moments import debiased_moments
from repgeo.moments import moments


def streamed(x, y):
    return (moments(x, y),)


def debiased(x, y):
    return (debiased_moments(x, y),)


def weights_and_shares(found):
    return found.weights, found.r2  # the number of sweeps follows the dtype


def rows(x):
    return x.shape[0] if getattr(x, "ndim", 0) else len(X)


def gridded(x, y):
    return ([x], [y])


UNDEFINED = dict.fromkeys(("constant", "zeros", "1 rows", "2 rows", "3 rows", "scale 1e-30", "scale 1e-10"),
                          "a pair without a value is NaN in its place")  # fmt: skip
FAR = "far from the origin rows have one direction: no float32 tells their angles, as `knn` says"
OFFSET = {"offset 1e6": FAR, "offset 1e3": FAR}
TINY = {"scale 1e-30": "squares underflow to the spread of equal rows, which explain nothing"}
PLAIN = (
    "hsic hsic_unbiased cka cka_debiased cka_rbf mean_cca r2_cca svcca pwcca linear_predictivity "
    "procrustes nbs shape_distance rsa distance_correlation cca unit_correlations"
)
TABLE = {f"similarity.{name}": on(getattr(room, name)) for name in PLAIN.split()} | {
    "similarity.eigenspace_overlap": on(room.eigenspace_overlap, may=OFFSET),
    "similarity.gulp": on(room.gulp, ridge=0.1),
    "similarity.match_units": on(room.match_units, traced=False),
    "similarity.soft_match": on(room.soft_match, traced=False),
    "similarity.cka_deconfounded": on(
        lambda x, y: room.cka_deconfounded(x, y, confound=X[: rows(y), :1] ** 2), names="confound"
    ),
    "similarity.imd": on(room.imd, k=2, paired=False),
    "similarity.sparse_predict_units": on(
        lambda x, y: weights_and_shares(room.sparse_predict_units(x, y, penalty=0.1))
    ),
    "similarity.spectral_match_units": on(room.spectral_match_units, c=2, key=KEY, traced=False),
    "similarity.grid": on(
        lambda xs, ys: room.grid(room.cka, xs, ys), given=gridded, names="xs ys layer layers", may=UNDEFINED
    ),
    "similarity.cka_minibatch": on(lambda x, y: room.cka_minibatch([(x, y)]), names="batches layer"),
    "similarity.cka_minibatch_grid": on(
        lambda x, y: room.cka_minibatch_grid([([x], [y])]), names="batches layer", may=UNDEFINED
    ),
    "similarity.minibatch_grid": on(
        lambda xs, ys: room.minibatch_grid(xs, ys), given=gridded, names="xs ys layer layers", may=UNDEFINED
    ),
    "similarity.cka_minibatch_from": on(
        lambda xs, ys: room.cka_minibatch_from(room.minibatch_grid(xs, ys)),
        given=gridded,
        names="xs ys g layer layers",
        may=UNDEFINED,
    ),
    "similarity.cka_debiased_from": on(room.cka_debiased_from, given=debiased, names="m"),
    "similarity.hsic_unbiased_from": on(room.hsic_unbiased_from, given=debiased, names="m"),
}
for name in "mutual_knn knn_jaccard cknna cycle_knn".split():
    TABLE[f"similarity.{name}"] = on(getattr(room, name), k=2, may=OFFSET)
TABLE["similarity.cknna_unbiased"] = on(room.cknna_unbiased, k=3, may=OFFSET)
for name in "cca_from cka_from svcca_from procrustes_from".split():
    TABLE[f"similarity.{name}"] = on(getattr(room, name), given=streamed, names="m", may=TINY)


@pytest.mark.parametrize("name", TABLE)
def test_a_right_number_or_one_clear_error(name, tmp_path):
    assert not (said := tortured(TABLE[name], tmp_path)), "\n".join(said)
