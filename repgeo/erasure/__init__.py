"""What can be removed from a representation? Erasers: affine maps that take a concept out, most in closed form.

An `Eraser` is fitted on features x (n, p) and a concept y, whose kind is always said: `labels="categorical"` or
`"continuous"`. After `leace`, `mean_projection`, `sal` (at full rank) and `splince` no linear probe reads the concept
on the rows they were fitted on. What other probes still read, and what broke, is for `repgeo.probes` to measure.
"""

from repgeo.erasure.concept import as_concept as as_concept
from repgeo.erasure.eraser import Eraser as Eraser
from repgeo.erasure.eraser import difference_subspace as difference_subspace
from repgeo.erasure.eraser import equalize as equalize
from repgeo.erasure.eraser import hard_debias as hard_debias
from repgeo.erasure.eraser import project_out as project_out
from repgeo.erasure.linear import leace as leace
from repgeo.erasure.linear import leace_from as leace_from
from repgeo.erasure.linear import mean_projection as mean_projection
from repgeo.erasure.linear import mean_projection_from as mean_projection_from
from repgeo.erasure.linear import sal as sal
from repgeo.erasure.linear import sal_from as sal_from
from repgeo.erasure.linear import splince as splince
from repgeo.erasure.linear import splince_from as splince_from
from repgeo.erasure.oracle import OracleEraser as OracleEraser
from repgeo.erasure.oracle import oracle_leace as oracle_leace
from repgeo.erasure.oracle import oracle_leace_from as oracle_leace_from
from repgeo.erasure.prompts import AttributeCode as AttributeCode
from repgeo.erasure.prompts import Filtered as Filtered
from repgeo.erasure.prompts import concept_filter as concept_filter
from repgeo.erasure.prompts import matrix_subspace_projection as matrix_subspace_projection
from repgeo.erasure.quadratic import QuadraticEraser as QuadraticEraser
from repgeo.erasure.quadratic import quadratic_leace as quadratic_leace
from repgeo.erasure.report import Guardedness as Guardedness
from repgeo.erasure.report import Reading as Reading
from repgeo.erasure.report import guardedness_report as guardedness_report
from repgeo.erasure.rlace import Game as Game
from repgeo.erasure.rlace import fantope as fantope
from repgeo.erasure.rlace import rlace as rlace
from repgeo.erasure.rlace import rlace_runs as rlace_runs
from repgeo.erasure.rounds import inlp as inlp
from repgeo.erasure.words import Association as Association
from repgeo.erasure.words import attraction as attraction
from repgeo.erasure.words import similarity_agreement as similarity_agreement
from repgeo.erasure.words import weat as weat
from repgeo.erasure.words import weat_from as weat_from
