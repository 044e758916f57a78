"""repgeo: measures of representation geometry on embedding matrices (rows are samples, columns are features).

Are two networks the same? `repgeo.similarity` (its measures are also here, as `repgeo.cka` and so on).
How many directions are in use? `repgeo.spectrum` (`repgeo.rankme` and so on).
Is the number more than luck? `repgeo.chance`.
What does a stream, or a set of shards, keep? `repgeo.moments`.
What is a sample and what a feature of a convolution or of tokens? `repgeo.views`.
How many features does a layer of a network need? `repgeo.merging`.
What can be read here offline? `repgeo.datasets`, `repgeo.worlds`, `repgeo.nets`.
What does a paper claim, and does it hold? `repgeo.claims`, `repgeo.papers`.
"""

from repgeo import similarity as similarity
from repgeo.debiased_moments import DebiasedMoments as DebiasedMoments
from repgeo.debiased_moments import debiased_moments as debiased_moments
from repgeo.moments import Moments as Moments
from repgeo.moments import moments as moments
from repgeo.moments import moments_by_blocks as moments_by_blocks
from repgeo.neighbors import knn as knn
from repgeo.similarity import cca as cca
from repgeo.similarity import cca_from as cca_from
from repgeo.similarity import cka as cka
from repgeo.similarity import cka_debiased as cka_debiased
from repgeo.similarity import cka_debiased_from as cka_debiased_from
from repgeo.similarity import cka_deconfounded as cka_deconfounded
from repgeo.similarity import cka_from as cka_from
from repgeo.similarity import cka_rbf as cka_rbf
from repgeo.similarity import cknna as cknna
from repgeo.similarity import cknna_unbiased as cknna_unbiased
from repgeo.similarity import cycle_knn as cycle_knn
from repgeo.similarity import distance_correlation as distance_correlation
from repgeo.similarity import eigenspace_overlap as eigenspace_overlap
from repgeo.similarity import grid as grid
from repgeo.similarity import gulp as gulp
from repgeo.similarity import hsic as hsic
from repgeo.similarity import hsic_unbiased as hsic_unbiased
from repgeo.similarity import imd as imd
from repgeo.similarity import knn_jaccard as knn_jaccard
from repgeo.similarity import linear_predictivity as linear_predictivity
from repgeo.similarity import match_units as match_units
from repgeo.similarity import mean_cca as mean_cca
from repgeo.similarity import mutual_knn as mutual_knn
from repgeo.similarity import nbs as nbs
from repgeo.similarity import procrustes as procrustes
from repgeo.similarity import procrustes_from as procrustes_from
from repgeo.similarity import pwcca as pwcca
from repgeo.similarity import r2_cca as r2_cca
from repgeo.similarity import rsa as rsa
from repgeo.similarity import shape_distance as shape_distance
from repgeo.similarity import soft_match as soft_match
from repgeo.similarity import sparse_predict_units as sparse_predict_units
from repgeo.similarity import spectral_match_units as spectral_match_units
from repgeo.similarity import svcca as svcca
from repgeo.similarity import svcca_from as svcca_from
from repgeo.spectrum import Spectrum as Spectrum
from repgeo.spectrum import effective_rank as effective_rank
from repgeo.spectrum import participation_ratio as participation_ratio
from repgeo.spectrum import rankme as rankme
from repgeo.spectrum import spectrum as spectrum
from repgeo.spectrum import spectrum_from as spectrum_from
from repgeo.spectrum import stable_rank as stable_rank
