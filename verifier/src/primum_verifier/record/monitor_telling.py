"""What of a window leaves the device: cells, with everything withheld that has to be.

1. No cell below the smallest is told, and no second one that would give it away: a family is the
   bins of a distribution, the events and the rest of a share, or one bin over all groups of a key.
2. Of a breakdown nothing is told that would sum up to what is withheld of everybody.
3. Of times only quantiles, and of statistics only how far they are from their limit, rounded.

Standard library only: the resident supervisor imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from primum_verifier.record.cells import added, withheld
from primum_verifier.record.monitor_judgement import told_ratio, window_ratio
from primum_verifier.record.monitor_plan import MonitorPlan, PlannedChannel
from primum_verifier.record.monitor_tally import ALERTS, MonitorTally
from primum_verifier.record.stability import is_enough, size_of, stability_index

_QUANTILES = {"p50Ms": 0.5, "p95Ms": 0.95, "p99Ms": 0.99}


def told_channels(plan: MonitorPlan, tally: MonitorTally, *, groups: bool = True) -> dict[str, Any]:
    """Every channel of a window by its id.

    Args:
        plan: what was counted.
        tally: the counters.
        groups: whether the breakdowns are told; without them a summary is smaller.
    """
    return {item.id: _channel(plan, tally, item, groups=groups) for item in plan.channels}


def _channel(
    plan: MonitorPlan, tally: MonitorTally, channel: PlannedChannel, *, groups: bool
) -> dict[str, Any]:
    counts, least = tally.of_everybody(channel), plan.least_cell
    if channel.sketch is not None:
        total = added(0, sum(counts))
        told: dict[str, Any] = {"kind": "latency", "answers": total if total >= least else None}
        for name, share in _QUANTILES.items():
            found = channel.sketch.quantile(counts, share) if total >= least else None
            told[name] = None if found is None else float(f"{found:.3g}")
    elif channel.kind == "rate":
        told = {"kind": "rate", **_events(channel, counts, least)}
    else:
        enough = is_enough(counts, channel.proportions)
        index = stability_index(counts, channel.proportions) if enough else None
        told = {
            "kind": "distribution",
            "cells": withheld(counts, least),
            "size": None if index is None else size_of(index),
        }
    told["ratios"] = {
        alarm.id: None if ratio is None else told_ratio(ratio)
        for alarm in channel.alarms
        if channel.kind != "rate"
        for ratio in (window_ratio(channel, alarm, counts),)
    }
    if groups and channel.sketch is None:
        told["cohorts"] = _cohorts(plan, tally, channel, told)
    return told


def _events(channel: PlannedChannel, counts: Sequence[int], least: int) -> dict[str, int | None]:
    """Events and of how much; of a share also what is no event must not follow."""
    events, of = counts
    if channel.measures == ALERTS:
        # Whole hours: seconds would tell on which day of the window somebody was there.
        return {"events": events if events >= least else None, "of": of // 3600}
    told, rest = withheld([events, of - events], least)
    return {"events": told, "of": None if told is None or rest is None else of}


def _cohorts(
    plan: MonitorPlan, tally: MonitorTally, channel: PlannedChannel, told: dict[str, Any]
) -> dict[str, Any]:
    """For each key the cells of each group, and of those in no signed group under ``unnamed``."""
    everybody = tally.of_everybody(channel)
    # Of a rate the events alone are broken down.
    cells = 1 if channel.kind == "rate" else channel.cells
    gone = [told["events"] is None] if cells == 1 else [cell is None for cell in told["cells"]]
    found: dict[str, Any] = {}
    for key in plan.cohorts:
        rows = {group: row for named, group, row in tally.by_group(channel) if named == key}
        columns = []
        for place in range(cells):
            column = [row[place] for row in rows.values()]
            column.append(max(0, everybody[place] - sum(column)))
            columns.append(withheld(column, plan.least_cell, hide_sum=gone[place]))
        found[key] = {
            "groups": {name: [column[at] for column in columns] for at, name in enumerate(rows)},
            "unnamed": [column[-1] for column in columns],
        }
    return found
