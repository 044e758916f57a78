"""`align`, `relative`, `views` and `worlds`: every callable on every case."""

import numpy as np
import pytest
from harness import CLASSES, KEY, Entry, X, counted, tortured  # noqa: F401

from repgeo import align, relative, views, worlds
from repgeo.moments import moments

PAIR = {"x": X, "y": (X[:, ::-1] + 0.3 * X**2).astype(np.float32)}
MAP = align.procrustes(X, PAIR["y"])
IMAGES = np.stack([X] * 3, 1)


def streamed(x, y):
    return (moments(x, y),)


def pair(function, given=None, **options):
    """An entry of two matrices; maps are fitted on moments, so that errors may speak of `m`."""
    otherwise = {"traced": True, "paired": True, "dear": False, "may": {}}
    held = {name: options.pop(name, value) for name, value in otherwise.items()}
    names = (*options.pop("names", ()), "m")
    return Entry(function, PAIR, options, given=given, names=names, seeded="key" in options, **held)


def rows(x):
    return x.shape[0] if getattr(x, "ndim", 0) else len(X)


def of(name, function, array=X, **options):
    traced, seeded = options.pop("traced", True), options.pop("seeded", "key" in options)
    return Entry(function, {name: array}, options, traced=traced, seeded=seeded, may=options.pop("may", {}))


TINY = {"scale 1e-30": "squares underflow to the spread of equal rows, to which every row is mapped"}
SYMMETRIC = dict.fromkeys(("a constant column", "duplicate rows"), "symmetry is not looked at under a trace")
LOST = dict.fromkeys(("scale 1e-10", "scale 1e-30"), "beside the means of the map nothing is left of such rows")
CHAOS = {"offset 1e6": "of 16 rows a few soft matches turn on the last digit"}
TOO_FAR = dict.fromkeys(("scale 1e-10", "scale 1e10", "scale 1e30", "offset 1e6", "offset 1e3"),
                        "rows so far from the base, or all so near its middle, are alike")  # fmt: skip
FAR = dict.fromkeys(("offset 1e6", "offset 1e3"), "float32 tells no angles that far from the origin, as `knn` says")
ANGLES = "angles about an origin that far away are rounding"
GRAMS = {"a": (X[:4] @ X[:4].T), "b": (X[4:8] @ X[4:8].T)}
STREAMED = "affine_map_from polar_of_least_squares_from procrustes_from ridge_map_from weighted_maps_from"
TABLE = (
    {
        f"align.{name}": pair(getattr(align, name), may=TINY)
        for name in "affine_map polar_of_least_squares procrustes ridge_map weighted_maps".split()
    }
    | {f"align.{name}": pair(getattr(align, name), streamed, may=TINY) for name in STREAMED.split()}
    | {
        "align.permutation_map": pair(align.permutation_map, traced=False),
        "align.canonical_maps": pair(align.canonical_maps, k=2, may=TINY),
        "align.canonical_maps_from": pair(align.canonical_maps_from, streamed, k=2, may=TINY),
        "align.cca_map": pair(align.cca_map, k=2, may=TINY),
        "align.cca_map_from": pair(align.cca_map_from, streamed, k=2, may=TINY),
        "align.column_shuffled": of("y", align.column_shuffled, key=KEY),
        "align.rotate": of("y", align.rotate, key=KEY),
        "align.csls_score": pair(lambda x, y: align.csls_score(MAP, x, y), paired=False),
        "align.gromov_wasserstein_match": pair(align.gromov_wasserstein_match, paired=False, dear=True),
        "align.local_cka": Entry(lambda x, y: align.local_cka(x, y, X, PAIR["y"]), PAIR, paired=False, may=TOO_FAR),
        "align.local_cka_match": Entry(
            lambda x, y: align.local_cka_match(x, y, X, PAIR["y"]), PAIR, traced=False, paired=False, may=TOO_FAR
        ),
        "align.match_grams": Entry(align.match_grams, GRAMS, {"key": KEY, "restarts": 2}, seeded=True, may=SYMMETRIC),
        "align.must_fail": pair(lambda x, y: align.must_fail(MAP, x, y, most=1.0), names=("control",), may=FAR | LOST),
        "align.wrong_model": Entry(
            lambda other, y: align.wrong_model(MAP, other, y, key=KEY, most=1.0),
            {"other": X, "y": PAIR["y"]},
            names=("x",),
            seeded=True,
            may=LOST,
        ),
        "align.refine": pair(
            lambda x, y: align.refine(MAP, x, y, key=KEY, steps=2, neighbors=2, sample=8),
            paired=False,
            names=("neighbors", "start"),
            may=CHAOS,
        ),
        "align.self_learning_map": pair(align.self_learning_map, key=KEY, most=4, paired=False, names=("neighbours",)),
        "align.Map.transform": of("x", MAP.transform),
        "align.Map.centered": pair(MAP.centered, paired=False),
        "relative.completeness": Entry(relative.completeness, {"x": X, "anchors": X[:3]}, paired=False, may=FAR),
        "relative.relative": Entry(relative.relative, {"x": X, "anchors": X[:3]}, paired=False),
        "relative.farthest_point": of("x", relative.farthest_point, k=2, key=KEY),
        "relative.kmeans_anchors": of("x", relative.kmeans_anchors, k=2, key=KEY),
        "relative.leverage": of("x", relative.leverage, k=2, key=KEY),
        "relative.leverage_scores": of("x", relative.leverage_scores, may={"offset 1e6": ANGLES}),
        "relative.random_anchors": of(
            "x",
            relative.random_anchors,
            k=2,
            key=KEY,
            may=dict.fromkeys(("x: NaN", "x: infinity", "x: infinite as float32"), "rows are drawn whatever they hold"),
        ),
        "relative.quantize": of("coordinates", relative.quantize, step=0.1),
        "relative.sparse_similarities": of("coordinates", relative.sparse_similarities, keep=2),
        "relative.balanced_assignment": of(
            "similarities",
            relative.balanced_assignment,
            steps=50,
            epsilon=5.0,
            may={"offset 1e6": "whether it converged is not known under a trace"},
        ),
        "relative.stratified": Entry(
            relative.stratified,
            {"labels": CLASSES},
            {"k": 3, "key": KEY},
            traced=False,
            seeded=True,
            may={"labels: negative": "any integers are classes"},
        ),
        "relative.reconstruct": Entry(
            lambda coordinates, anchors: relative.reconstruct(coordinates, anchors, norms=np.ones(rows(coordinates))),
            {"coordinates": X, "anchors": X[:4] + np.eye(4, dtype=np.float32)},
            paired=False,
            names=("norms",),
            may={"offset 1e6": ANGLES},
        ),
        "relative.stitch_matrix": pair(
            lambda x, y: relative.stitch_matrix(
                [x, y], [x, y], labels=np.arange(rows(x)) % 3, test_labels=np.arange(rows(x)) % 3
            ),
            traced=False,
            names=("train", "test", "y"),
            may={"offset 1e6": "features of one digit each"},
        ),
        "worlds.affine_copy": of("x", lambda x: worlds.affine_copy(KEY, x), seeded=True),
        "worlds.permuted_units": of("x", lambda x: worlds.permuted_units(KEY, x), seeded=True),
        "worlds.rotated_copy": of("x", lambda x: worlds.rotated_copy(KEY, x), seeded=True),
        "worlds.subset_shift": of("x", lambda x: worlds.subset_shift(KEY, x, rows=1, distance=1.0), seeded=True),
        "worlds.factorised_ratings": of(
            "x",
            worlds.factorised_ratings,
            k=2,
            ridge=0.1,
            may={"offset 1e6": "the second direction is rounding, which only a plain call sees"},
        ),
        "worlds.rescaled_factors": Entry(
            lambda a, b: worlds.rescaled_factors(a, b, scales=np.array([1.0, 2, 3, 4])),
            {"a": X, "b": X + 1},
            traced=False,
            paired=False,
            names=("scales",),
        ),
        "views.flatten": of("a", views.flatten, IMAGES, may={"a: three axes": "any number from two on"}),
        "views.channels": of(
            "a", views.channels, IMAGES[..., None], may={"a: one axis": "of four are left three, which are tokens"}
        ),
        "views.pool": of(
            "a", views.pool, IMAGES[..., None], may={"a: one axis": "of four are left three, which are tokens"}
        ),
    }
)


@pytest.mark.parametrize("name", TABLE)
def test_a_right_number_or_one_clear_error(name, tmp_path):
    assert not (said := tortured(TABLE[name], tmp_path)), "\n".join(said)
