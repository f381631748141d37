"""A monitor made from data is quiet where nothing changed, and sees what did: short and seeded.

The figures are those of ``python -m tests.benchmarks.drift``.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from tests.benchmarks.drift import (
    QUIET,
    SEGMENT,
    Person,
    Share,
    ambulatory,
    beats_of,
    days,
    many_wearers,
    one_wearer,
    strips,
)


def drawn(people: int, *, level: float = 0.0) -> list[Person]:
    """People whose signals differ from each other in size and smoothness, and little in time."""
    rng = np.random.default_rng(17)
    found = []
    for _ in range(people):
        size, smooth = np.exp(rng.normal(level, 0.3)), rng.integers(4, 12)
        kernel = np.ones(smooth) / smooth
        found.append(
            [
                size * np.exp(rng.normal(0, 0.1)) * np.convolve(rng.normal(size=SEGMENT), kernel)
                for _ in range(6)
            ]
        )
    return found


def is_quiet(found: dict[str, Share]) -> bool:
    """Signed are one window in a hundred and one in a thousand; the other half is one draw."""
    near, far = (
        sum(share.alarmed for alarm, share in found.items() if alarm.endswith(end))
        for end in ("-99", "-999")
    )
    windows = sum(share.windows for share in found.values()) / 2
    return near <= 0.06 * windows and far <= 0.015 * windows


def test_drawn_people_are_quiet_and_a_gain_error_is_seen() -> None:
    found = many_wearers(drawn(160), strangers=drawn(20, level=1.0), windows=80, seed=1)
    assert is_quiet(found[QUIET])
    for shift, alarm in (("gain halved", "amplitude-999"), ("other recordings", "amplitude-999")):
        share = found[shift][alarm]
        assert share.alarmed >= 0.9 * share.windows, shift


def test_days_of_drawn_people_alarm_sooner_the_more_is_noisy() -> None:
    found = days(drawn(80), runs=30, seed=2, longest=400)
    none, little, more, much = (fmean(one) for one in found.values())
    assert none > 40, "signed are 100 days; the longest run counts as 400"
    assert none > little > more > much
    assert much < 8


@pytest.fixture
def people(recordings: Path) -> list[Person]:
    return strips(recordings)


def test_real_people_are_quiet_and_real_shifts_are_seen(
    people: list[Person], recordings: Path
) -> None:
    found = many_wearers(people, strangers=ambulatory(recordings), windows=120, seed=1)
    assert is_quiet(found[QUIET])
    for shift, alarm in (
        ("gain halved", "amplitude-99"),
        ("muscle noise, 6 dB", "fastness-999"),
        ("moving electrode, 6 dB", "fastness-999"),
        ("saturation at 0.5 mV", "amplitude-999"),
        ("lead off for a quarter", "amplitude-99"),
        ("other recordings", "amplitude-99"),
    ):
        share = found[shift][alarm]
        assert share.alarmed >= 0.85 * share.windows, shift


def test_a_new_wearer_is_no_drift_and_would_be_without_the_signed_term(recordings: Path) -> None:
    found = one_wearer(beats_of(recordings))
    assert found["with"].alarmed <= 1
    assert found["without"].alarmed == 12


def test_noise_on_real_days_is_found_within_days(people: list[Person]) -> None:
    found = days(people, runs=40, seed=1, longest=600)
    assert fmean(found["0 %"]) > 40
    assert fmean(found["10 %"]) < 8
