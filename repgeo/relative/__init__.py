"""Where does a row lie, seen from a few others? Relative coordinates: similarities to anchors instead of features.

Two encoders that place the same samples at the same angles agree in coordinates taken to the same anchors, whatever
axes each has: `relative`. Which rows serve as anchors (`random_anchors`, `farthest_point`, `kmeans_anchors`,
`leverage`, `stratified`, `top_frequency`), what they leave out (`completeness`, `reconstruct`), coordinates made
coarser or sparser (`quantize`, `sparse_similarities`, `balanced_assignment`), and whether a head trained on one
encoder's coordinates reads another's (`stitch_matrix`).
"""

from repgeo.relative.anchors import farthest_point as farthest_point
from repgeo.relative.anchors import kmeans_anchors as kmeans_anchors
from repgeo.relative.anchors import leverage as leverage
from repgeo.relative.anchors import leverage_scores as leverage_scores
from repgeo.relative.anchors import random_anchors as random_anchors
from repgeo.relative.anchors import stratified as stratified
from repgeo.relative.anchors import top_frequency as top_frequency
from repgeo.relative.coarser import balanced_assignment as balanced_assignment
from repgeo.relative.coarser import quantize as quantize
from repgeo.relative.coarser import sparse_similarities as sparse_similarities
from repgeo.relative.coordinates import INVARIANCES as INVARIANCES
from repgeo.relative.coordinates import SIMILARITIES as SIMILARITIES
from repgeo.relative.coordinates import Completeness as Completeness
from repgeo.relative.coordinates import completeness as completeness
from repgeo.relative.coordinates import reconstruct as reconstruct
from repgeo.relative.coordinates import relative as relative
from repgeo.relative.stitching import stitch_matrix as stitch_matrix
