"""Own embedding files in, one page out: `compare` for two of the same samples, `inspect` for one.

On the command line: `repgeo compare A B --labels L`, `repgeo inspect A`, or `python -m repgeo`. Files are read by
`gather` (`open_matrix` for one), memory-mapped where the format allows, and nothing is ever unpickled. Readers beyond
NumPy's come with `pip install 'repgeo[report]'`.
"""

from repgeo.report.files import Rows as Rows
from repgeo.report.files import gather as gather
from repgeo.report.files import open_matrix as open_matrix
from repgeo.report.rows import BadFile as BadFile
from repgeo.report.rows import Opened as Opened
from repgeo.report.run import compare as compare
from repgeo.report.run import inspect as inspect
