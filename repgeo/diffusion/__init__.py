"""The data as a random walk: its spectral entropy and information, its maps, and its distances.

A Gaussian of width sigma turns distances into affinities and affinities into a walk over the rows. Everything here
depends on sigma, on the number of rows and on the number of steps t, so results carry them.
"""

from repgeo.diffusion.entropy import DiffusionEntropy as DiffusionEntropy
from repgeo.diffusion.entropy import Subsampled as Subsampled
from repgeo.diffusion.entropy import dse as dse
from repgeo.diffusion.entropy import dse_by_subsamples as dse_by_subsamples
from repgeo.diffusion.entropy import dse_curve as dse_curve
from repgeo.diffusion.heat import EntropyKnee as EntropyKnee
from repgeo.diffusion.heat import heat_geodesic as heat_geodesic
from repgeo.diffusion.heat import heat_kernel as heat_kernel
from repgeo.diffusion.heat import phate_entropy_knee as phate_entropy_knee
from repgeo.diffusion.heat import potential_distance as potential_distance
from repgeo.diffusion.information import DiffusionInformation as DiffusionInformation
from repgeo.diffusion.information import dsmi as dsmi
from repgeo.diffusion.information import equal_count_labels as equal_count_labels
from repgeo.diffusion.information import spectral_labels as spectral_labels
from repgeo.diffusion.lanczos import dse_lanczos as dse_lanczos
from repgeo.diffusion.maps import DiffusionMap as DiffusionMap
from repgeo.diffusion.maps import diffusion_distance as diffusion_distance
from repgeo.diffusion.maps import diffusion_map as diffusion_map
from repgeo.diffusion.maps import nystrom_extend as nystrom_extend
from repgeo.diffusion.operator import OPERATORS as OPERATORS
from repgeo.diffusion.operator import DiffusionOperator as DiffusionOperator
from repgeo.diffusion.operator import diffusion_operator as diffusion_operator
from repgeo.diffusion.operator import knn_sigma as knn_sigma
from repgeo.diffusion.operator import median_sigma as median_sigma
from repgeo.diffusion.rivals import kde_entropy as kde_entropy
from repgeo.diffusion.rivals import knn_entropy as knn_entropy
from repgeo.diffusion.rivals import ksg_information as ksg_information
from repgeo.diffusion.rivals import matrix_renyi as matrix_renyi
from repgeo.diffusion.rivals import shannon_binned as shannon_binned
from repgeo.diffusion.rivals import von_neumann_entropy as von_neumann_entropy
