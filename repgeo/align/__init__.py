"""How does one space lie in another? Maps between embedding spaces, with pairs, with few, and with none.

Every fit returns a `Map`: an affine map with its own means. With pairs: `procrustes`, `affine_map`, `ridge_map`,
`polar_of_least_squares`, `cca_map`, `permutation_map`. Without: `unpaired_align`, and for vocabularies that overlap
`self_learning_map`. How well a map finds the right row is for `repgeo.retrieval` to say, on rows that it was not fitted
on: `retrieval_scores(*m.centered(x, y))`. What such a score must be set beside: `split_disjoint`, `rotate`,
`column_shuffled`, `wrong_model`. The translator by networks is a module of its own: `from repgeo.align import vec2vec`.
"""

from repgeo.align.canonical import canonical_maps as canonical_maps
from repgeo.align.canonical import canonical_maps_from as canonical_maps_from
from repgeo.align.canonical import cca_map as cca_map
from repgeo.align.canonical import cca_map_from as cca_map_from
from repgeo.align.centroids import match_grams as match_grams
from repgeo.align.controls import assert_disjoint as assert_disjoint
from repgeo.align.controls import column_shuffled as column_shuffled
from repgeo.align.controls import must_fail as must_fail
from repgeo.align.controls import rotate as rotate
from repgeo.align.controls import split_disjoint as split_disjoint
from repgeo.align.controls import wrong_model as wrong_model
from repgeo.align.maps import Map as Map
from repgeo.align.maps import affine_map as affine_map
from repgeo.align.maps import affine_map_from as affine_map_from
from repgeo.align.maps import permutation_map as permutation_map
from repgeo.align.maps import polar_of_least_squares as polar_of_least_squares
from repgeo.align.maps import polar_of_least_squares_from as polar_of_least_squares_from
from repgeo.align.maps import procrustes as procrustes
from repgeo.align.maps import procrustes_from as procrustes_from
from repgeo.align.maps import ridge_map as ridge_map
from repgeo.align.maps import ridge_map_from as ridge_map_from
from repgeo.align.matching import gromov_wasserstein_match as gromov_wasserstein_match
from repgeo.align.matching import local_cka as local_cka
from repgeo.align.matching import local_cka_match as local_cka_match
from repgeo.align.unpaired import csls_score as csls_score
from repgeo.align.unpaired import refine as refine
from repgeo.align.unpaired import unpaired_align as unpaired_align
from repgeo.align.words import self_learning_map as self_learning_map
from repgeo.align.words import weighted_maps as weighted_maps
from repgeo.align.words import weighted_maps_from as weighted_maps_from
