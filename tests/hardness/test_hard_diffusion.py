"""`diffusion`, `neighbors` and `retrieval`: every callable on every case."""

import pytest
from harness import KEY, Entry, X, counted, on, tortured  # noqa: F401

from repgeo import diffusion, neighbors, retrieval

SIGMA = 1.5
OF_WIDTH = "diffusion_operator dse von_neumann_entropy matrix_renyi diffusion_distance"
FAR = dict.fromkeys(("offset 1e6", "offset 1e3"), "float32 tells no angles that far from the origin, as `knn` says")
REACH = dict.fromkeys(("scale 1e10", "scale 1e30"), "rows that no heat reaches are infinitely far, as documented")
FLOOR = dict.fromkeys(("scale 1e10", "scale 1e30"), "chances below the dtype's smallest number count as that")
CODES = dict.fromkeys(("labels: text", "labels: negative", "labels: objects"), "any values are classes")
PAIR = {"x": X, "y": X[:, ::-1] * 0.5 + X}
TABLE = (
    {f"diffusion.{name}": on(getattr(diffusion, name), "x", sigma=SIGMA) for name in OF_WIDTH.split()}
    | {
        "diffusion.kde_entropy": on(
            diffusion.kde_entropy, "x", sigma=SIGMA, may={"scale 1e30": "infinite, as documented"}
        ),
        "diffusion.diffusion_map": on(diffusion.diffusion_map, "x", k=2, sigma=SIGMA),
        "diffusion.dse_curve": on(diffusion.dse_curve, "x", sigmas=(1.0, 2.0), ts=(0.0, 1.0)),
        "diffusion.dse_lanczos": on(diffusion.dse_lanczos, "x", sigma=SIGMA, key=KEY, steps=4),
        "diffusion.dse_by_subsamples": on(diffusion.dse_by_subsamples, "x", sigma=SIGMA, size=6, key=KEY),
        "diffusion.heat_kernel": on(diffusion.heat_kernel, "x", sigma=SIGMA, t=1.0),
        "diffusion.heat_geodesic": on(diffusion.heat_geodesic, "x", sigma=SIGMA, t=1.0, may=REACH),
        "diffusion.potential_distance": on(diffusion.potential_distance, "x", sigma=SIGMA, t=2, may=FLOOR),
        "diffusion.phate_entropy_knee": on(diffusion.phate_entropy_knee, "x", sigma=SIGMA, t_max=9),
        "diffusion.knn_entropy": on(diffusion.knn_entropy, "x"),
        "diffusion.knn_sigma": on(diffusion.knn_sigma, "x", k=2),
        "diffusion.median_sigma": on(diffusion.median_sigma, "x", share=0.5),
        "diffusion.shannon_binned": on(diffusion.shannon_binned, "x"),
        "diffusion.ksg_information": on(diffusion.ksg_information),
        "diffusion.spectral_labels": on(diffusion.spectral_labels, "x", clusters=2, sigma=SIGMA, key=KEY, traced=False),
        "diffusion.dsmi": on(
            lambda x, labels, **o: diffusion.dsmi(x, labels, **o),
            "x labels",
            sigma=SIGMA,
            key=KEY,
            names="y",
            may=CODES,
        ),
        "diffusion.nystrom_extend": on(
            lambda x: diffusion.nystrom_extend(diffusion.diffusion_map(X, k=2, sigma=SIGMA), x), "x"
        ),
        "neighbors.knn": on(neighbors.knn, "x", k=2, may=FAR),
        "neighbors.neighborhoods": on(neighbors.neighborhoods, "x", k=2),
        "neighbors.within": on(neighbors.within, "x", k=2),
    }
    | {
        f"retrieval.{name}": Entry(
            getattr(retrieval, name), PAIR, options, may=FAR, paired=name not in ("csls", "top_k")
        )
        for name, options in {
            "csls": {"neighbors": 2},
            "foscttm": {},
            "jaccard": {"k": 2},
            "mean_cosine": {},
            "mean_rank": {},
            "mean_reciprocal_rank": {},
            "ranks": {},
            "relreps_scores": {"k": 2},
            "retrieval_scores": {},
            "top_k": {"k": 2},
            "top_k_accuracy": {},
        }.items()
    }
)


@pytest.mark.parametrize("name", TABLE)
def test_a_right_number_or_one_clear_error(name, tmp_path):
    assert not (said := tortured(TABLE[name], tmp_path)), "\n".join(said)
