"""repgeo: measures of representation geometry on embedding matrices (rows are samples, columns are features).

Are two networks the same? `repgeo.similarity` (its measures are also here, as `repgeo.cka` and so on).
How many directions are in use? `repgeo.spectrum` (`repgeo.rankme` and so on).
How many degrees of freedom, over all and around each row? `repgeo.dimension` (`repgeo.twonn` and so on).
How does a random walk spread over the rows, and how far is it along them? `repgeo.diffusion` (`repgeo.dse`).
What can be removed, what is still readable, and what broke meanwhile? `repgeo.erasure` (`repgeo.leace` and so on).
What does a probe read, on rows that it has not seen? `repgeo.probes`.
Is the number more than luck? `repgeo.chance`.
What does a stream, or a set of shards, keep? `repgeo.moments`, `repgeo.debiased_moments`.
How is that summed over files that do not fit, over devices, over processes? `repgeo.large`.
Which rows lie next to which? `repgeo.neighbors`; in files that do not fit, or by an index, `repgeo.neighbors_large`.
Where does a row lie, seen from a few anchors? `repgeo.relative`.
Which map brings one space into another, with pairs or without any? `repgeo.align` (`repgeo.unpaired_align`).
Which row of another space is meant? `repgeo.retrieval`.
What is a sample and what a feature of a convolution or of tokens? `repgeo.views`.
How many features does a layer of a network need? `repgeo.merging`.
What can be read here offline? `repgeo.datasets`, `repgeo.worlds`, `repgeo.nets`.
What does a paper claim, and does it hold? `repgeo.claims`, `repgeo.papers`.
How is it drawn? `repgeo.plots`.
What do two embedding files of one's own have in common? `repgeo.report`, on the command line `repgeo compare A B`.

A room is loaded when it is first asked for.
"""

from importlib import import_module as _import_module

_ROOMS = (
    "align chance claims datasets debiased_moments diffusion dimension erasure large merging moments neighbors "
    "neighbors_large nets papers plots probes relative report retrieval similarity spectrum views worlds"
).split()
_AT_THE_FRONT = {
    "align": "Map unpaired_align",
    "debiased_moments": "DebiasedMoments",
    "diffusion": "diffusion_map dse dsmi heat_geodesic",
    "dimension": "gride lid_mle mean_lid mst_dimension twonn",
    "erasure": "Eraser guardedness_report inlp leace mean_projection project_out rlace sal splince",
    "moments": "Moments moments_by_blocks",
    "neighbors": "knn",
    "retrieval": "csls foscttm mean_rank mean_reciprocal_rank relreps_scores retrieval_scores top_k top_k_accuracy",
    "similarity": "cca cca_from cka cka_debiased cka_debiased_from cka_deconfounded cka_from cka_rbf cknna "
    "cknna_unbiased cycle_knn distance_correlation eigenspace_overlap grid gulp hsic hsic_unbiased imd knn_jaccard "
    "linear_predictivity match_units mean_cca mutual_knn nbs procrustes procrustes_from pwcca r2_cca rsa "
    "shape_distance soft_match sparse_predict_units spectral_match_units svcca svcca_from",
    "spectrum": "Spectrum effective_rank isoscore lidar participation_ratio rankme spectrum_from stable_rank",
}
_HOME = {name: room for room, names in _AT_THE_FRONT.items() for name in names.split()}
__all__ = sorted([*_ROOMS, *_HOME])


def __getattr__(name):
    if name in _ROOMS:
        return _import_module(f"repgeo.{name}")
    if name in _HOME:
        return getattr(_import_module(f"repgeo.{_HOME[name]}"), name)
    raise AttributeError(f"module 'repgeo' has no attribute {name!r}")


def __dir__():
    return __all__
