"""How many degrees of freedom, over all and around each sample? Intrinsic dimension from distances to neighbours.

Nearly every estimator here reads nothing but the distances to nearest neighbours: hand it a matrix, or hand several
of them one `neighbors.neighborhoods(x, k=...)`. Copies of a row are one place (see there): per-sample numbers of a copy
are those of its original, and averages count it once.
"""

from repgeo.dimension.fiber import FiberBundleTest as FiberBundleTest
from repgeo.dimension.fiber import fiber_bundle_test as fiber_bundle_test
from repgeo.dimension.fiber import volume_slopes as volume_slopes
from repgeo.dimension.growth import correlation_dimension as correlation_dimension
from repgeo.dimension.growth import mst_dimension as mst_dimension
from repgeo.dimension.growth import mst_growth as mst_growth
from repgeo.dimension.growth import spanning_edges as spanning_edges
from repgeo.dimension.local import lid_mle as lid_mle
from repgeo.dimension.local import lid_moments as lid_moments
from repgeo.dimension.local import local_pca as local_pca
from repgeo.dimension.local import mean_lid as mean_lid
from repgeo.dimension.ranks import information_imbalance as information_imbalance
from repgeo.dimension.ranks import neighborhood_overlap as neighborhood_overlap
from repgeo.dimension.ratios import Gride as Gride
from repgeo.dimension.ratios import gride as gride
from repgeo.dimension.ratios import twonn as twonn
