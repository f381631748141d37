"""Which delta a device takes for a file, if any: by what it holds, what is saved, and the battery.

A radio costs a battery per byte and a processor per byte computed, and only a device's maker knows
both.  So the rule is short, and its numbers are the device's settings: a delta has to save its
part of the bytes, and more than that where the battery is low, nothing charges it, and most of the
file has to be computed and is not just copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from primum_verifier.delta.delta_list import Delta

PERCENT = 100


@dataclass(frozen=True)
class DeltaTerms:
    """When a delta is worth its work.

    Attributes:
        min_saving_percent: of the whole file's bytes, at least.
        low_battery_percent: below it, and without a charger, the next number counts instead.
        min_saving_percent_low_battery: of the whole file's bytes, at least, of a delta that
            computes most of them.
    """

    min_saving_percent: int = 10
    low_battery_percent: int = 30
    min_saving_percent_low_battery: int = 50


@dataclass(frozen=True)
class Power:
    """What a device runs on.

    Attributes:
        battery_percent: None where there is no battery, or nobody knows.
        is_charging: whether a charger is connected.
    """

    battery_percent: float | None = None
    is_charging: bool = False


def wanted_saving(delta: Delta, *, terms: DeltaTerms, power: Power) -> int:
    """The part of a whole file's bytes that a delta has to save now, in percent."""
    percent = power.battery_percent
    is_low = percent is not None and percent < terms.low_battery_percent
    if not is_low or power.is_charging or delta.computed_bytes * 2 < delta.result_length:
        return terms.min_saving_percent
    return max(terms.min_saving_percent, terms.min_saving_percent_low_battery)


def choose_delta(
    deltas: Iterable[Delta],
    *,
    result: str,
    length: int,
    holds: Callable[[str, int], bool],
    failed: frozenset[str],
    terms: DeltaTerms,
    power: Power,
) -> Delta | None:
    """The smallest delta to a file that is worth it, None where the whole file is.

    Args:
        deltas: of the release's signed list.
        result: SHA-256 of the file, from the manifest.
        length: its bytes, from the manifest.
        holds: whether the device has a file of a digest and length, its bytes checked just now.
        failed: SHA-256 of the deltas that failed on this device.
        terms: when a delta is worth its work.
        power: what the device runs on now.
    """
    fitting = [
        delta
        for delta in deltas
        if delta.result.sha256 == result
        and delta.result_length == length
        and delta.digest.sha256 not in failed
        and delta.length * PERCENT
        <= length * (PERCENT - wanted_saving(delta, terms=terms, power=power))
    ]
    # A file is read to check it: those that would be taken first are checked first.
    for delta in sorted(fitting, key=lambda item: item.length):
        if holds(delta.base.sha256, delta.base_length):
            return delta
    return None
