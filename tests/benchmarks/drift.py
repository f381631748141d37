"""Whether a monitor cries wolf, and how soon it sees what changed, on real recordings.

Everything between the recordings and the alarm is the product's own: the specification is made by
``primum-repo monitoring make`` from one half of the recordings, and a device's counters and memory
judge windows and days of the other half.

- *Many wearers*: 300 strips of as many people (PhysioNet/CinC 2017, hand-held), in segments of five
  seconds; a window holds those of 20 people.  Two features: peak-to-peak amplitude, and how much of
  the signal is fast.  Without drift the other half is quiet; a shift is done to it, or other
  recordings (MIT-BIH, worn for a day) take its place.
- *One wearer*: beats of 12 people (MIT-BIH); each is the window of a reference made from the other
  eleven, with the term for how alike the samples of one person are, and without it.
- *Days*: the share of segments of low quality, day by day, 20 people a day, by a CUSUM that alarms
  once in 100 days by chance: without drift, and with noise on some of the segments.

Printed are windows, alarms and their share with its interval, and days until an alarm.

Run: ``python -m tests.benchmarks.drift [WINDOWS] [SEED] [--json FILE]`` (400 and 1 by
default), with ``PRIMUM_DATA`` naming the recordings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.figures import arguments, keep

from primum_device_sim.demo.recordings import COHORT_BY_PATIENT, load_recordings
from primum_repo_tools.degradations import Field, Kind, degrade
from primum_repo_tools.monitoring_making import make_specification
from primum_repo_tools.monitoring_plan import MonitoringPlan
from primum_repo_tools.reference_columns import Column
from primum_repo_tools.settings import checked_settings
from primum_repo_tools.statistics import wilson_interval
from primum_verifier.record.monitor_judgement import MonitorMemory
from primum_verifier.record.monitor_plan import MonitorPlan, read_plan
from primum_verifier.record.monitor_tally import MonitorTally

RATE_HZ = 300
SEGMENT = 5 * RATE_HZ
PEOPLE = 20
"""In one window, and on one day."""

CONTROL_DAYS = 100
LONGEST_DAYS = 3000
QUIET = "none"
SHIFTS: dict[str, Kind | None] = {
    QUIET: None,
    "gain halved": Kind.GAIN_HALF,
    "muscle noise, 6 dB": Kind.MUSCLE_NOISE,
    "moving electrode, 6 dB": Kind.MOTION,
    "lead off for a quarter": Kind.LEAD_OFF,
    "saturation at 0.5 mV": Kind.SATURATION,
}
Values = NDArray[np.float64]
Person = list[Values]
"""The segments of one person, in millivolts."""


def strips(folder: Path) -> list[Person]:
    """The strips of ``cinc2017-validation``, each cut into segments."""
    found = []
    for path in sorted((folder / "cinc2017-validation").glob("*.mat")):
        # "16+24" in the header: 24 bytes, then the samples, 1000 to the millivolt.
        signal = np.frombuffer(path.read_bytes()[24:], dtype="<i2") / 1000.0
        cut = [signal[at : at + SEGMENT] for at in range(0, len(signal) - SEGMENT + 1, SEGMENT)]
        found.append(cut)
    return [person for person in found if person]


def amplitude(segment: Values) -> float:
    low, high = np.quantile(segment, (0.01, 0.99))
    return float(high - low)


def fastness(segment: Values) -> float:
    """The root mean square of second differences over that of the signal."""
    slow = float(np.std(segment))
    return float(np.std(np.diff(segment, n=2))) / slow if slow > 0.0 else 0.0


def shifted(person: Person, kind: Kind | None, *, seed: int, name: str) -> Person:
    if kind is None:
        return person
    where = Field(seed=seed, rails=(-0.5, 0.5), rate_hz=RATE_HZ, snr_db=6.0, gap=0.25)
    return [degrade(segment, kind, where, name=f"{name}-{at}") for at, segment in enumerate(person)]


# What is signed


def planned(people: int, **members: Any) -> MonitoringPlan:
    content = {
        "schema_version": "0.1",
        "component": "drift",
        "issued_at": "2026-01-01T00:00:00Z",
        "window_hours": 24,
        "persons_per_window": people,
    }
    return checked_settings(MonitoringPlan, content | members, where="drift")


def distribution(name: str, bins: int) -> dict[str, Any]:
    alarm = {"action": "notify", "windows_in_a_row": 1}
    return {
        "id": name,
        "measures": "input",
        "source": name,
        "unit": "1",
        "bins": bins,
        "alarms": [
            {**alarm, "id": f"{name}-99", "probability": "0.99"},
            {**alarm, "id": f"{name}-999", "probability": "0.999"},
        ],
    }


def column(name: str, values: Any) -> Column:
    return Column(name, np.asarray(values), "reference.npz", "0" * 64)


def signed(plan: MonitoringPlan, **columns: Any) -> MonitorPlan:
    made = {name: column(name, values) for name, values in columns.items()}
    return read_plan(make_specification(plan, made).to_bytes())


def alarms_of(plan: MonitorPlan, values: dict[str, list[float]]) -> set[str] | None:
    """The alarms of one window; None where too little was counted to say anything."""
    tally, memory = MonitorTally(plan), MonitorMemory(plan)
    for name, numbers in values.items():
        for number in numbers:
            tally.observe(name, number, {})
    memory.end_window(tally)
    return memory.passed


# The scenarios


@dataclass(frozen=True)
class Share:
    """How many of some windows alarmed."""

    alarmed: int
    windows: int

    def __str__(self) -> str:
        found = wilson_interval(self.alarmed, self.windows)
        return (
            f"{self.alarmed:4} of {self.windows} windows = {100 * found.estimate:5.1f} % "
            f"({100 * found.low:.1f} to {100 * found.high:.1f})"
        )


FEATURES: dict[str, Callable[[Values], float]] = {"amplitude": amplitude, "fastness": fastness}


def many_wearers(
    people: list[Person], *, strangers: list[Person], windows: int, seed: int
) -> dict[str, dict[str, Share]]:
    """For each shift and each alarm, how many windows of the other half, or of others, alarmed."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(people))
    half = len(people) // 2
    reference, others = (
        [(int(at), people[at]) for at in part] for part in (order[:half], order[half:])
    )
    columns: dict[str, list[Any]] = {name: [] for name in (*FEATURES, "person")}
    for at, person in reference:
        for segment in person:
            columns["person"].append(str(at))
            for name, feature in FEATURES.items():
                columns[name].append(feature(segment))
    plan = signed(
        planned(PEOPLE, distributions=[distribution(name, 4) for name in FEATURES]), **columns
    )
    found: dict[str, dict[str, Share]] = {}
    worn = {
        shift: [shifted(person, kind, seed=seed, name=str(at)) for at, person in others]
        for shift, kind in SHIFTS.items()
    }
    for shift, wearers in {**worn, "other recordings": strangers}.items():
        known = [
            {name: [feature(one) for one in wearer] for name, feature in FEATURES.items()}
            for wearer in wearers
        ]
        counted = dict.fromkeys(
            (alarm.id for channel in plan.channels for alarm in channel.alarms), 0
        )
        total = windows if shift == QUIET else max(20, windows // 4)
        for _ in range(total):
            chosen = rng.choice(len(known), PEOPLE, replace=len(known) < PEOPLE)
            values = {name: [v for at in chosen for v in known[at][name]] for name in FEATURES}
            for alarm in alarms_of(plan, values) or ():
                counted[alarm] += 1
        found[shift] = {alarm: Share(count, total) for alarm, count in counted.items()}
    return found


def one_wearer(beats: dict[str, Values]) -> dict[str, Share]:
    """Each person against all others: with what makes persons differ signed, and without."""
    found = {}
    for name, more in (("with", {}), ("without", {"independent": True})):
        alarmed = 0
        for left, values in beats.items():
            others = {one: known for one, known in beats.items() if one != left}
            plan = signed(
                planned(1, distributions=[distribution("rr", 6)], **more),
                rr=np.concatenate(list(others.values())),
                person=np.concatenate([[one] * len(known) for one, known in others.items()]),
            )
            alarmed += "rr-999" in (alarms_of(plan, {"rr": values.tolist()}) or set())
        found[name] = Share(alarmed, len(beats))
    return found


def days(
    people: list[Person], *, runs: int, seed: int, longest: int = LONGEST_DAYS
) -> dict[str, list[int]]:
    """For each share of segments that noise is put on, the days until an alarm in each run."""
    rng = np.random.default_rng(seed)
    quiet = [[fastness(one) for one in person] for person in people]
    noisy = [
        [fastness(one) for one in shifted(person, Kind.MUSCLE_NOISE, seed=seed, name=str(at))]
        for at, person in enumerate(people)
    ]
    limit = float(np.quantile(np.concatenate([np.array(one) for one in quiet]), 0.9))
    bad = [
        np.array([np.array(one) > limit for one in pair]) for pair in zip(quiet, noisy, strict=True)
    ]

    def day(share: float) -> tuple[int, int]:
        events = of = 0
        for at in rng.choice(len(people), PEOPLE):
            hit = rng.random(bad[at].shape[1]) < share
            events += int(np.where(hit, bad[at][1], bad[at][0]).sum())
            of += bad[at].shape[1]
        return events, of

    control = [day(0.0) for _ in range(365)]
    rate = {
        "id": "low-quality",
        "measures": "low-quality-share",
        "direction": "up",
        "shift": "1.0",
        "least_per_day": 50,
        "alarms": [
            {
                "id": "noise",
                "action": "notify",
                "windows_in_a_row": 1,
                "in_control_days": CONTROL_DAYS,
            }
        ],
    }
    events, of = zip(*control, strict=True)
    plan = signed(
        planned(PEOPLE, rates=[rate]), **{"low-quality.events": events, "low-quality.of": of}
    )
    return {
        f"{100 * share:g} %": [_until_alarm(plan, day, share, longest) for _ in range(runs)]
        for share in (0.0, 0.02, 0.05, 0.1)
    }


def _until_alarm(
    plan: MonitorPlan, day: Callable[[float], tuple[int, int]], share: float, longest: int
) -> int:
    memory = MonitorMemory(plan)
    for number in range(1, longest + 1):
        tally = MonitorTally(plan)
        tally.happened("low-quality", *day(share), {})
        memory.end_day(tally)
        if memory.passed:
            return number
    return longest


def ambulatory(folder: Path) -> list[Person]:
    """Segments of another kind of device: each tenth of the first ten minutes."""
    known = load_recordings(folder, tuple(COHORT_BY_PATIENT))
    step = 5 * 360
    return [
        [one.ecg_mv[at : at + step].astype(np.float64) for at in range(0, 120 * step, 20 * step)]
        for one in known.values()
    ]


def beats_of(folder: Path) -> dict[str, Values]:
    """The beat intervals of each person, in milliseconds."""
    known = load_recordings(folder, tuple(COHORT_BY_PATIENT))
    return {name: np.diff(one.r_peaks) / 360 * 1000.0 for name, one in known.items()}


def main() -> None:
    """Print all three, and keep them where it is asked for."""
    parser = arguments(__doc__)
    parser.add_argument("windows", type=int, nargs="?", default=400, help="400 by default")
    parser.add_argument("seed", type=int, nargs="?", default=1, help="1 by default")
    options = parser.parse_args()
    windows, seed = options.windows, options.seed
    if not os.environ.get("PRIMUM_DATA"):
        parser.error("PRIMUM_DATA names no folder with the recordings")
    folder = Path(os.environ["PRIMUM_DATA"])
    told: dict[str, Any] = {"windows": windows, "seed": seed}
    people = strips(folder)
    segments = sum(len(person) for person in people)
    print(f"many wearers: {len(people)} people, {segments} segments, {PEOPLE} people a window")
    for shift, alarms in many_wearers(
        people, strangers=ambulatory(folder), windows=windows, seed=seed
    ).items():
        told.setdefault("manyWearers", {})[shift] = dict(alarms)
        for alarm, share in alarms.items():
            print(f"  {shift:24} {alarm:14} {share}")
    print("one wearer: 12 people, each against the other eleven, one window in a thousand signed")
    for name, share in one_wearer(beats_of(folder)).items():
        told.setdefault("oneWearer", {})[name] = share
        print(f"  {name + ' overdispersion':24} {share}")
    print(f"days: noise of 6 dB on a share of segments, {CONTROL_DAYS} days signed")
    for name, found in days(people, runs=max(20, windows // 4), seed=seed).items():
        ordered = sorted(found)
        tenth, last = ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]
        told.setdefault("days", {})[name] = {
            "mean": fmean(found), "median": median(found), "tenth": tenth, "ninetieth": last,
        }  # fmt: skip
        print(
            f"  {name:6} mean {fmean(found):7.1f}  median {median(found):6.1f}  "
            f"10th {tenth}  90th {last}"
        )
    keep(told, options.json)


if __name__ == "__main__":
    main()
