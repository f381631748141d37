"""The burden of alerts: how many a patient-day brings, how many count, how long it is silent.

Decisions of one patient that follow each other within a time are one alert.  Over 187 audible
alarms a bed and day, most of them false, is what one intensive care unit counted (B. J. Drew et
al., PLoS ONE 9 (2014) e110274): a gain in sensitivity that is bought with more alerts is a loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from primum_repo_tools.statistics.arrays import Counts, Flags, Floats

SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class AlertCounts:
    """What each patient's time brought; each array has shape [patients].

    Attributes:
        alerts: episodes of positive decisions.
        actionable: those that hold at least one case that the reference calls positive.
        days: monitored, above 0.
        longest_silence: days of the longest time without an alert in which the reference has an
            event; 0 where no event was passed over.
    """

    alerts: Counts
    actionable: Counts
    days: Floats
    longest_silence: Floats


@dataclass(frozen=True)
class MonitoredTime:
    """The time line of the cases.

    Attributes:
        patient: [cases] the number of the patient, from 0.
        seconds: [cases] since monitoring of that patient began.
        monitored: [patients] seconds for which each was monitored.
        merge_seconds: decisions that follow each other no later than this are one alert.
    """

    patient: Counts
    seconds: Floats
    monitored: Floats
    merge_seconds: float


def count_alerts(time: MonitoredTime, decided: Flags, labels: Flags) -> AlertCounts:
    """Count the alerts of one arm.

    Args:
        time: when each case was, and how long was monitored.
        decided: [cases] true where the arm calls the case positive.
        labels: [cases] true where the reference does.
    """
    patients = len(time.monitored)
    alerts = np.zeros(patients, dtype=np.int64)
    actionable = np.zeros(patients, dtype=np.int64)
    silence = np.zeros(patients)
    for number in range(patients):
        mine = np.flatnonzero(time.patient == number)
        mine = mine[np.argsort(time.seconds[mine], kind="stable")]
        at, is_event = time.seconds[mine], labels[mine]
        positive = np.flatnonzero(decided[mine])
        begins = positive[
            np.append(True, np.diff(at[positive]) > time.merge_seconds)[: len(positive)]
        ]
        alerts[number] = len(begins)
        episode = np.searchsorted(begins, positive, side="right") - 1
        actionable[number] = len(np.unique(episode[is_event[positive]]))
        silence[number] = _longest_silence(at[positive], at[is_event], time.monitored[number])
    return AlertCounts(
        alerts, actionable, time.monitored / SECONDS_PER_DAY, silence / SECONDS_PER_DAY
    )


def _longest_silence(alarms: Floats, events: Floats, monitored: float) -> float:
    """Seconds of the longest stretch between alarms with an event strictly inside."""
    borders = np.concatenate([[-1.0], alarms, [monitored + 1.0]])
    stretch = np.searchsorted(borders, events, side="left")
    inside = borders[np.clip(stretch, 0, len(borders) - 1)] != events
    found = np.unique(stretch[inside])
    if not len(found):
        return 0.0
    ends = np.clip(borders, 0.0, monitored)
    return float((ends[found] - ends[found - 1]).max())
