"""How large a locked test set has to be: the protocol's own decisions, over simulated studies.

Every question of the protocol is asked of the same simulated patients (whole, claimed cohorts), of
either baseline apart, and the joint power is the share of studies in which all are shown.  The two
baselines are drawn as if independent, which promises less than is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np

from primum_repo_tools.comparison_cases import draws_of
from primum_repo_tools.comparison_endpoints import Metric
from primum_repo_tools.protocol import Margins, Minimum, Protocol
from primum_repo_tools.statistics.arrays import Flags
from primum_repo_tools.statistics.power import (
    Studies,
    Truth,
    shown_by_patients,
    shown_by_tango,
    simulate,
)
from primum_verifier.change.comparison_terms import WHOLE, Baseline, Unit
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

MOST_PATIENTS = 20_000
"""Nobody plans for more here; a search that gets so far ends and says so."""

_STUDIES_AT_ONCE = 2_000_000
"""Patients simulated at once: bounds the memory."""


@dataclass(frozen=True)
class Assumed:
    """What a plan assumes.

    Attributes:
        cases: of each patient, by metric: positives and negatives.
        truth: by metric.
        shares: of the patients in each cohort that the protocol claims, by its id.
        studies: how many are simulated.
    """

    cases: Mapping[Metric, int]
    truth: Mapping[Metric, Truth]
    shares: Mapping[str, float]
    studies: int


@dataclass(frozen=True)
class Power:
    """What a number of patients is worth.

    Attributes:
        patients: how many.
        each: by question, how often it is shown.
        joint: how often all are.
        error: the standard error of ``joint`` by the simulation alone.
    """

    patients: int
    each: Mapping[str, float]
    joint: float
    error: float


def check_shares(protocol: Protocol, assumed: Assumed) -> None:
    """See to it that every claimed cohort has its share.

    Raises:
        UsageError: one has none, or they are no shares.
    """
    claimed = {cohort.id for cohort in protocol.cohorts if cohort.claim}
    total = sum(assumed.shares.values())
    if (
        set(assumed.shares) != claimed
        or total > 1.0 + 1e-9
        or min([1.0, *assumed.shares.values()]) <= 0
    ):
        raise UsageError(
            "The shares of the claimed cohorts are not stated, or are none.",
            reason=Reason.USAGE,
            where=protocol.id,
            found=", ".join(f"{k}={v:g}" for k, v in assumed.shares.items()) or "none",
            expected=f"--share for {', '.join(sorted(claimed)) or 'none: no cohort is claimed'}; "
            "together at most 1",
        )


def power_of(
    protocol: Protocol,
    assumed: Assumed,
    patients: int,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> Power:
    """The power of a number of patients.

    Args:
        protocol: whose margins, minima, cohorts and intervals decide.
        assumed: what is assumed to be true.
        patients: how many.
        told: is told how far it is.
    """
    check_shares(protocol, assumed)
    generator = np.random.Generator(np.random.PCG64([protocol.seed, patients]))
    groups = _groups(protocol, assumed, patients)
    shown: dict[str, list[Flags]] = {}
    chunk = max(1, min(assumed.studies, _STUDIES_AT_ONCE // patients))
    done = 0
    while done < assumed.studies:
        size = min(chunk, assumed.studies - done)
        for metric in get_args(Metric):
            for versus in get_args(Baseline):
                told(f"{patients} patients: {done} of {assumed.studies} studies")
                studies = simulate(
                    assumed.truth[metric],
                    studies=size,
                    patients=patients,
                    cases=assumed.cases[metric],
                    generator=generator,
                )
                for group in groups:
                    name = f"{metric} vs {versus} in {group.name}"
                    shown.setdefault(name, []).append(_shown(studies, group, metric, protocol))
        done += size
    whole = {name: np.concatenate(parts) for name, parts in shown.items()}
    joint = float(np.logical_and.reduce(list(whole.values())).mean())
    return Power(
        patients=patients,
        each={name: float(found.mean()) for name, found in whole.items()},
        joint=joint,
        error=float(np.sqrt(joint * (1.0 - joint) / assumed.studies)),
    )


@dataclass(frozen=True)
class _Group:
    name: str
    members: Flags
    minimum: Minimum
    margins: Margins


def _groups(protocol: Protocol, assumed: Assumed, patients: int) -> list[_Group]:
    """The whole, and each claimed cohort with its share of the patients, one after the other."""
    groups = [_Group(WHOLE, np.ones(patients, np.bool_), protocol.minimum, protocol.margins)]
    begin = 0.0
    for cohort in protocol.cohorts:
        if not cohort.claim:
            continue
        end = begin + assumed.shares[cohort.id]
        place = np.arange(patients)
        members = (place >= round(begin * patients)) & (place < round(end * patients))
        groups.append(_Group(cohort.id, members, cohort.minimum, cohort.margins))
        begin = end
    return groups


def _shown(studies: Studies, group: _Group, metric: Metric, protocol: Protocol) -> Flags:
    patients = int(group.members.sum())
    if patients < group.minimum.patients or patients * studies.cases < group.minimum.cases:
        # Not evaluable is never shown.
        return np.zeros(len(studies.gained), np.bool_)
    margin = float(
        group.margins.sensitivity if metric == "sensitivity" else group.margins.specificity
    )
    found = studies.of(group.members)
    if protocol.unit is Unit.PATIENT:
        return shown_by_patients(found, margin=margin, draws=draws_of(protocol))
    return shown_by_tango(found, margin=margin, confidence=float(protocol.confidence))


def fewest_patients(
    protocol: Protocol,
    assumed: Assumed,
    target: float,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> list[Power]:
    """Every number of patients that was tried, the fewest that reach the target last.

    Args:
        protocol: whose decisions are simulated.
        assumed: what is assumed to be true.
        target: the joint power that is wanted.
        told: is told how far it is.

    Raises:
        UsageError: :data:`MOST_PATIENTS` do not reach it.
    """
    tried: list[Power] = []
    low, high = 0, max(protocol.minimum.patients, 10)
    while True:
        tried.append(power_of(protocol, assumed, high, told=told))
        if tried[-1].joint >= target:
            break
        if high >= MOST_PATIENTS:
            raise UsageError(
                "No test set that could be had shows this.",
                reason=Reason.USAGE,
                where=protocol.id,
                found=f"joint power {tried[-1].joint:.2f} with {high} patients",
                expected=f"{target:g}",
                remedy="Look at the margins and at what is assumed: a true loss is not shown away.",
            )
        low, high = high, min(MOST_PATIENTS, high * 2)
    best = tried[-1]
    # As near as the simulation can tell them apart.
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        tried.append(power_of(protocol, assumed, middle, told=told))
        if tried[-1].joint >= target:
            best, high = tried[-1], middle
        else:
            low = middle
    return [*(item for item in tried if item is not best), best]
