"""What happens to a signal in the field, done to recorded cases: by name, from a seed.

Each degradation takes one strip and gives it back as a wearable would have delivered it.  The same
seed, kind and case give the same bytes on any machine: the random numbers are raw PCG64 integers,
and nothing is computed but by operations that IEEE 754 rounds in one way only.

Synthetic noise stands for recorded noise where there is none: baseline wander of breathing (0.1 to
0.5 Hz), the steps of a moving electrode that decay within a third of a second, and muscle noise as
white noise without its slow part.  It is scaled to a ratio of signal to noise (dB of power).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

Strip = NDArray[np.float64]


class Kind(StrEnum):
    """One way in which a signal is degraded."""

    MISSING_NAN = "missing-nan"
    MISSING_HOLD = "missing-hold"
    LEAD_OFF = "lead-off"
    SATURATION = "saturation"
    BASELINE_WANDER = "baseline-wander"
    MUSCLE_NOISE = "muscle-noise"
    MOTION = "motion"
    GAIN_HALF = "gain-half"
    GAIN_DOUBLE = "gain-double"
    GAIN_UNIT = "gain-unit"
    NAN = "nan"
    CONSTANT = "constant"
    POLARITY = "polarity"


NEEDS_RAILS = frozenset({Kind.LEAD_OFF, Kind.SATURATION})
NEEDS_RATE = frozenset({Kind.BASELINE_WANDER, Kind.MOTION})
NEEDS_NOISE = frozenset({Kind.BASELINE_WANDER, Kind.MUSCLE_NOISE, Kind.MOTION})
NEEDS_NAN = frozenset({Kind.MISSING_NAN, Kind.NAN})


@dataclass(frozen=True, kw_only=True)
class Field:
    """The device and the field that a strip is degraded for.

    Attributes:
        seed: of everything that is drawn.
        rails: lowest and highest value of the converter, in the unit of the input.
        rate_hz: samples per second.
        snr_db: power of the signal over that of the noise (dB).
        gap: share of a strip that is missing, above 0 and below 1.
        noise: recorded noise by kind, at the same rate; it is used in the place of synthetic one.
    """

    seed: int
    rails: tuple[float, float] = (0.0, 0.0)
    rate_hz: float = 0.0
    snr_db: float = 6.0
    gap: float = 0.2
    noise: Mapping[Kind, Strip] = field(default_factory=dict)


class FlatSignalError(Exception):
    """A strip without any power has no ratio of signal to noise."""


def degrade(strip: Strip, kind: Kind, where: Field, *, name: str) -> Strip:
    """A strip as it would have been delivered.

    Args:
        strip: [samples], finite.
        kind: what happens to it.
        where: device and field.
        name: of case and channel; what is drawn depends on it, on the seed and on the kind alone.

    Raises:
        FlatSignalError: noise is asked for and the strip is flat.
    """
    return _DONE[kind](strip, where, _Draw(f"{where.seed}/{kind}/{name}"), kind)


class _Draw:
    """Numbers drawn from a name."""

    def __init__(self, name: str) -> None:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest())
        self._bits = np.random.PCG64(seed)

    def uniform(self, count: int) -> Strip:
        """Numbers from 0 up to 1: of the raw integers the 53 bits that a float64 holds."""
        raw = np.asarray(self._bits.random_raw(count), dtype=np.uint64)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def place(self, count: int) -> int:
        """One of ``count`` places."""
        return int(self.uniform(1)[0] * count)


def _gap(strip: Strip, where: Field, draw: _Draw) -> slice:
    """Where samples are missing; something is left before and after where the strip allows it."""
    length = min(max(1, round(where.gap * strip.size)), max(1, strip.size - 1))
    begin = 1 + draw.place(max(1, strip.size - length)) if strip.size > 1 else 0
    return slice(begin, begin + length)


def _missing_nan(strip: Strip, where: Field, draw: _Draw, _: Kind) -> Strip:
    gone = strip.copy()
    gone[_gap(strip, where, draw)] = np.nan
    return gone


def _missing_hold(strip: Strip, where: Field, draw: _Draw, _: Kind) -> Strip:
    held = strip.copy()
    gap = _gap(strip, where, draw)
    held[gap] = strip[max(0, gap.start - 1)]
    return held


def _lead_off(strip: Strip, where: Field, draw: _Draw, _: Kind) -> Strip:
    """An electrode falls off within the first half; the amplifier then lies at a rail."""
    off = strip.copy()
    off[draw.place(max(1, strip.size // 2)) :] = where.rails[1]
    return off


def _saturation(strip: Strip, where: Field, _draw: _Draw, _: Kind) -> Strip:
    """Amplified until its peaks are four times beyond the rails, and clipped there."""
    low, high = where.rails
    middle = (low + high) / 2
    peak = float(np.max(np.abs(strip - middle)))
    factor = 4 * (high - middle) / peak if peak else 1.0
    return np.clip(middle + (strip - middle) * factor, low, high)


def _noise(strip: Strip, where: Field, draw: _Draw, kind: Kind) -> Strip:
    recorded = where.noise.get(kind)
    if recorded is not None:
        begin = draw.place(recorded.size - strip.size + 1)
        noise = recorded[begin : begin + strip.size]
    else:
        noise = _SYNTHETIC[kind](strip.size, where.rate_hz, draw)
    signal, other = _power(strip), _power(noise)
    if not signal or not other:
        raise FlatSignalError
    # Rounded, so that a last bit of the logarithm, which no standard states, changes nothing.
    ratio = float(f"{10 ** (where.snr_db / 10):.9g}")
    return strip + noise * math.sqrt(signal / other / ratio)


def _wander(count: int, rate_hz: float, draw: _Draw) -> Strip:
    """Three waves of breathing, each of parabolic arcs: smooth, and exact anywhere."""
    noise = np.zeros(count)
    time = np.arange(count) / rate_hz
    for _ in range(3):
        frequency, phase = 0.1 + 0.4 * draw.uniform(1)[0], draw.uniform(1)[0]
        turn = time * frequency + phase
        turn = 2 * (turn - np.floor(turn)) - 1
        noise += 4 * turn * (1 - np.abs(turn))
    return noise


def _motion(count: int, rate_hz: float, draw: _Draw) -> Strip:
    """Steps of an electrode, about one in half a second, that decay within a third of a second."""
    steps = max(1, round(2 * count / rate_hz))
    kicks = np.zeros(count)
    for _ in range(steps):
        kicks[draw.place(max(1, count - 1))] += 2 * draw.uniform(1)[0] - 1
    decay = max(0.0, 1 - 3 / rate_hz)
    noise = np.empty(count)
    level = 0.0
    for place, kick in enumerate(kicks.tolist()):
        level = level * decay + kick
        noise[place] = level
    return noise


def _muscle(count: int, _rate_hz: float, draw: _Draw) -> Strip:
    white = draw.uniform(count + 1)
    return white[1:] - white[:-1]


def _power(strip: Strip) -> float:
    """The mean square about the mean; summed exactly, whatever the order."""
    mean = math.fsum(strip.tolist()) / strip.size
    return math.fsum(((strip - mean) ** 2).tolist()) / strip.size


def _factor(factor: float) -> Callable[[Strip, Field, _Draw, Kind], Strip]:
    def done(strip: Strip, _where: Field, _draw: _Draw, _: Kind) -> Strip:
        return strip * factor

    return done


def _nan(strip: Strip, _where: Field, draw: _Draw, _: Kind) -> Strip:
    broken = strip.copy()
    broken[draw.place(strip.size)] = np.nan
    return broken


def _constant(strip: Strip, _where: Field, draw: _Draw, _: Kind) -> Strip:
    """A converter that hangs: one sample of the strip, for ever."""
    return np.full_like(strip, strip[draw.place(strip.size)])


_SYNTHETIC: Final = {
    Kind.BASELINE_WANDER: _wander,
    Kind.MUSCLE_NOISE: _muscle,
    Kind.MOTION: _motion,
}

_DONE: Final[Mapping[Kind, Callable[[Strip, Field, _Draw, Kind], Strip]]] = {
    Kind.MISSING_NAN: _missing_nan,
    Kind.MISSING_HOLD: _missing_hold,
    Kind.LEAD_OFF: _lead_off,
    Kind.SATURATION: _saturation,
    Kind.BASELINE_WANDER: _noise,
    Kind.MUSCLE_NOISE: _noise,
    Kind.MOTION: _noise,
    Kind.GAIN_HALF: _factor(0.5),
    Kind.GAIN_DOUBLE: _factor(2.0),
    Kind.GAIN_UNIT: _factor(1000.0),
    Kind.NAN: _nan,
    Kind.CONSTANT: _constant,
    Kind.POLARITY: _factor(-1.0),
}
