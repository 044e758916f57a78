"""How far a number is from chance, and how far it would move with other samples or seeds.

Any measure `(x, y) -> scalar` can be handed in. Where it carries a record (`measure.record`), the record says
whether it can be traced, on which side it is extreme, and whether duplicated rows are safe; without one it is
taken for a traceable similarity. Where it carries `measure.permuted`, shuffled scores cost what that costs.
"""

from repgeo.chance.intervals import bootstrap_interval as bootstrap_interval
from repgeo.chance.intervals import jackknife_interval as jackknife_interval
from repgeo.chance.intervals import mean_interval as mean_interval
from repgeo.chance.intervals import proportion_interval as proportion_interval
from repgeo.chance.intervals import subsample_interval as subsample_interval
from repgeo.chance.null import Null as Null
from repgeo.chance.null import calibrated as calibrated
from repgeo.chance.null import chi_square_test as chi_square_test
from repgeo.chance.null import permutation_test as permutation_test
