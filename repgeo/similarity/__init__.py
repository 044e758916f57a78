"""Are two representations the same? One function a measure: arrays (n, p) and (n, q) in, one number out.

Row i of both arguments is the same sample. Every measure carries `measure.record`: what it promises.
"""

from repgeo.similarity.canonical import cca as cca
from repgeo.similarity.canonical import cca_from as cca_from
from repgeo.similarity.canonical import eigenspace_overlap as eigenspace_overlap
from repgeo.similarity.canonical import gulp as gulp
from repgeo.similarity.canonical import linear_predictivity as linear_predictivity
from repgeo.similarity.canonical import mean_cca as mean_cca
from repgeo.similarity.canonical import pwcca as pwcca
from repgeo.similarity.canonical import r2_cca as r2_cca
from repgeo.similarity.canonical import svcca as svcca
from repgeo.similarity.canonical import svcca_from as svcca_from
from repgeo.similarity.confounds import cka_deconfounded as cka_deconfounded
from repgeo.similarity.geometry import distance_correlation as distance_correlation
from repgeo.similarity.geometry import rsa as rsa
from repgeo.similarity.grid import grid as grid
from repgeo.similarity.kernels import cka as cka
from repgeo.similarity.kernels import cka_debiased as cka_debiased
from repgeo.similarity.kernels import cka_from as cka_from
from repgeo.similarity.kernels import cka_rbf as cka_rbf
from repgeo.similarity.kernels import hsic as hsic
from repgeo.similarity.kernels import hsic_unbiased as hsic_unbiased
from repgeo.similarity.neighborhoods import cknna as cknna
from repgeo.similarity.neighborhoods import cknna_unbiased as cknna_unbiased
from repgeo.similarity.neighborhoods import cycle_knn as cycle_knn
from repgeo.similarity.neighborhoods import imd as imd
from repgeo.similarity.neighborhoods import knn_jaccard as knn_jaccard
from repgeo.similarity.neighborhoods import mutual_knn as mutual_knn
from repgeo.similarity.record import CHANGES as CHANGES
from repgeo.similarity.record import Record as Record
from repgeo.similarity.shape import nbs as nbs
from repgeo.similarity.shape import procrustes as procrustes
from repgeo.similarity.shape import procrustes_from as procrustes_from
from repgeo.similarity.shape import shape_distance as shape_distance
from repgeo.similarity.streams import MinibatchGrid as MinibatchGrid
from repgeo.similarity.streams import cka_debiased_from as cka_debiased_from
from repgeo.similarity.streams import cka_minibatch as cka_minibatch
from repgeo.similarity.streams import cka_minibatch_from as cka_minibatch_from
from repgeo.similarity.streams import cka_minibatch_grid as cka_minibatch_grid
from repgeo.similarity.streams import hsic_unbiased_from as hsic_unbiased_from
from repgeo.similarity.streams import minibatch_grid as minibatch_grid
from repgeo.similarity.units import match_units as match_units
from repgeo.similarity.units import soft_match as soft_match
from repgeo.similarity.units import sparse_predict_units as sparse_predict_units
from repgeo.similarity.units import spectral_match_units as spectral_match_units
from repgeo.similarity.units import unit_correlations as unit_correlations

MEASURES = (
    hsic, hsic_unbiased, cka, cka_debiased, cka_rbf, mean_cca, r2_cca, svcca, pwcca, linear_predictivity, gulp,
    eigenspace_overlap, procrustes, nbs, shape_distance, rsa, distance_correlation, mutual_knn, knn_jaccard, cknna,
    cknna_unbiased, cycle_knn, match_units, soft_match,
)  # fmt: skip
"""Every scalar measure (x, y) of this room: not `imd`, whose rows are not paired, nor `cka_deconfounded`."""
