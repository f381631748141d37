"""Statistics of the release gate: numpy and the standard library, each method with its source.

Every function is pure: arrays or counts in, a frozen value out; randomness only from a seed that
is handed in.  ``python -m tests.benchmarks.references`` prints how far each lies from its published
values and from other packages.
"""

from primum_repo_tools.statistics.bootstrap import ClusterCounts, cluster_difference_interval
from primum_repo_tools.statistics.delong import Auc, auc_with_interval, paired_auc_difference
from primum_repo_tools.statistics.interval import Interval, hull
from primum_repo_tools.statistics.tango import tango_interval
from primum_repo_tools.statistics.wilson import wilson_interval

__all__ = [
    "Auc",
    "ClusterCounts",
    "Interval",
    "auc_with_interval",
    "cluster_difference_interval",
    "hull",
    "paired_auc_difference",
    "tango_interval",
    "wilson_interval",
]
