"""What can be read out of a representation? Probes: classifiers that are fitted on features, and scored on other rows.

Every probe is called alike, `probe(x, y, classes=None, key=None)`, with features x (n, p) and classes y (n,), and
returns a frozen pytree whose `scores(x)` (n, c) are largest for the class it predicts. `over_splits` scores a probe
on rows it was not fitted on, with an interval; `code_length` counts the bits that the labels cost.
"""

from repgeo.probes.linear import Linear as Linear
from repgeo.probes.linear import logistic as logistic
from repgeo.probes.linear import ridge as ridge
from repgeo.probes.nonlinear import Mlp as Mlp
from repgeo.probes.nonlinear import Neighbors as Neighbors
from repgeo.probes.nonlinear import RandomFeatures as RandomFeatures
from repgeo.probes.nonlinear import knn as knn
from repgeo.probes.nonlinear import mlp as mlp
from repgeo.probes.nonlinear import rbf as rbf
from repgeo.probes.splits import Score as Score
from repgeo.probes.splits import accuracy as accuracy
from repgeo.probes.splits import code_length as code_length
from repgeo.probes.splits import cross_entropy as cross_entropy
from repgeo.probes.splits import entropy as entropy
from repgeo.probes.splits import over_splits as over_splits
