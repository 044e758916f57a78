"""How many directions are in use, and how evenly? Scores of one embedding matrix, most of them off its spectrum.

The scores differ in conventions that their names do not tell: whether columns are centred, whether singular values or
their squares are shared out, what is added before a logarithm. Here each takes a matrix in the form in which its
source defines it, or a `Spectrum` that says how it was made; make that once and hand it to as many as you like.

What degenerate input gives: equal rows are an error for what is centred, and elsewhere the number of a collapse (1 for
ranks and cosines, 0 for `uniformity`). A row that comes twice is two rows. Rank one gives ranks of 1, and an error
where smaller eigenvalues would be divided by (`condition`, `alpha_req`, `noise_variance`, `tail_exponent`). One feature
gives ranks of 1, and an error where directions are compared (`isoscore`, `self_cluster`). Fewer rows than features
are no error: a centred spectrum then has at most n - 1 values above rounding, which bounds every rank.
"""

from repgeo.spectrum.decay import alpha_req as alpha_req
from repgeo.spectrum.decay import coding_rate as coding_rate
from repgeo.spectrum.decay import condition as condition
from repgeo.spectrum.decay import dims_for_variance as dims_for_variance
from repgeo.spectrum.decompose import Spectrum as Spectrum
from repgeo.spectrum.decompose import spectra as spectra
from repgeo.spectrum.decompose import spectrum as spectrum
from repgeo.spectrum.decompose import spectrum_from as spectrum_from
from repgeo.spectrum.isotropy import alignment as alignment
from repgeo.spectrum.isotropy import average_cosine as average_cosine
from repgeo.spectrum.isotropy import average_cosine_from as average_cosine_from
from repgeo.spectrum.isotropy import coherence as coherence
from repgeo.spectrum.isotropy import isoscore as isoscore
from repgeo.spectrum.isotropy import isoscore_star as isoscore_star
from repgeo.spectrum.isotropy import partition_score as partition_score
from repgeo.spectrum.isotropy import self_cluster as self_cluster
from repgeo.spectrum.isotropy import uniformity as uniformity
from repgeo.spectrum.isotropy import uniformity_by_blocks as uniformity_by_blocks
from repgeo.spectrum.noise import marchenko_pastur_edge as marchenko_pastur_edge
from repgeo.spectrum.noise import noise_variance as noise_variance
from repgeo.spectrum.noise import spike_projector as spike_projector
from repgeo.spectrum.noise import spikes as spikes
from repgeo.spectrum.ranks import effective_rank as effective_rank
from repgeo.spectrum.ranks import nesum as nesum
from repgeo.spectrum.ranks import participation_ratio as participation_ratio
from repgeo.spectrum.ranks import participation_ratio_corrected as participation_ratio_corrected
from repgeo.spectrum.ranks import rankme as rankme
from repgeo.spectrum.ranks import renyi_rank as renyi_rank
from repgeo.spectrum.ranks import stable_rank as stable_rank
from repgeo.spectrum.ranks import vendi_score as vendi_score
from repgeo.spectrum.repeated import lidar as lidar
from repgeo.spectrum.weights import farms_exponent as farms_exponent
from repgeo.spectrum.weights import tail_exponent as tail_exponent
