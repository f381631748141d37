"""Net benefit: true alarms less false ones, weighed by the threshold at which one would act.

A. J. Vickers and E. B. Elkin, Medical Decision Making 26 (2006) 565-574.  Whoever acts at a
probability of 0.1 takes nine false alarms for one that is true.
"""

from __future__ import annotations

import numpy as np

from primum_repo_tools.statistics.arrays import Floats


def net_benefit(true_alarms: Floats, false_alarms: Floats, cases: Floats, *, at: float) -> Floats:
    """Net benefit per case; arrays of one shape in and out, NaN without cases.

    Args:
        true_alarms: positive cases that are called so.
        false_alarms: negative cases that are called positive.
        cases: all of them.
        at: the threshold probability, between 0 and 1.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (true_alarms - false_alarms * at / (1.0 - at)) / cases
    return found
