"""Reads the three files of a WFDB record: header, format 212 samples, MIT annotations.

Only what the MIT-BIH Arrhythmia Database uses is read, and anything else is refused by name: a
record of one segment, signals of format 212 interleaved in one file, annotations in MIT format.
Every count is checked against the bytes before anything is taken from them.

Sources: WFDB Applications Guide, header(5), signal(5) and annot(5), by G. B. Moody.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

MAX_HEADER_BYTES: Final = 16 * 1024
MAX_SIGNALS: Final = 8
MAX_SAMPLES: Final = 4_000_000

_RECORD_LINE: Final = re.compile(r"(?P<name>\w{1,20}) (?P<signals>\d{1,2}) (?P<rate>\d{1,5})"
                                 r" (?P<samples>\d{1,9})")  # fmt: skip
_SIGNAL_LINE: Final = re.compile(
    r"(?P<file>[\w.-]{1,40}) 212 (?P<gain>\d{1,5}) (?P<bits>\d{1,2}) (?P<zero>-?\d{1,5})"
    r" (?P<first>-?\d{1,5}) (?P<checksum>-?\d{1,5}) \d{1,9} (?P<lead>[\w .+-]{1,40})"
)
_WHO_LINE: Final = re.compile(r"#\s*(?P<age>-?\d{1,3}) (?P<sex>[MF])\b")
_SEX: Final = {"M": "male", "F": "female"}

# annot(5): codes that mark a beat, and the one that marks a premature ventricular contraction.
BEAT_CODES: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 30, 34, 35, 38, 41})
PVC_CODE: Final = 5
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63
_SAMPLE_BITS: Final = 12
_CHECKSUM_MODULUS: Final = 1 << 16


@dataclass(frozen=True)
class Header:
    """What a header says of the record and of its first signal.

    Attributes:
        name: the record's.
        signals: how many are interleaved.
        rate_hz: samples a second and signal.
        samples: of each signal.
        file: that holds the samples.
        gain: converter units to the millivolt.
        zero: converter value at 0 mV.
        first: first sample of the first signal.
        checksum: sum of the first signal's samples, modulo 65,536.
        lead: of the first signal.
        cohort: ``male``, ``female``, or empty where the header does not say.
    """

    name: str
    signals: int
    rate_hz: int
    samples: int
    file: str
    gain: int
    zero: int
    first: int
    checksum: int
    lead: str
    cohort: str


@dataclass(frozen=True)
class Annotations:
    """The beats of an annotation file.

    Attributes:
        r_peaks: int64 [beats], sample numbers, ascending.
        is_pvc: bool [beats].
    """

    r_peaks: NDArray[np.int64]
    is_pvc: NDArray[np.bool_]


def parse_header(content: bytes, *, where: str) -> Header:
    """Read a ``.hea`` file.

    Raises:
        UsageError: no header, or one of a record that is not read here.
    """
    if len(content) > MAX_HEADER_BYTES:
        _refuse(where, f"{len(content)} bytes", f"a header of at most {MAX_HEADER_BYTES} bytes")
    text = content.decode("latin-1").replace("\r", "")
    lines = [line.strip() for line in text.split("\n")]
    data = [line for line in lines if line and not line.startswith("#")]
    record = _RECORD_LINE.fullmatch(data[0]) if data else None
    if record is None:
        _refuse(where, data[0][:60] if data else "nothing", "NAME SIGNALS RATE SAMPLES")
    count, samples = int(record["signals"]), int(record["samples"])
    if not 1 <= count <= MAX_SIGNALS or not 1 <= samples <= MAX_SAMPLES:
        _refuse(where, f"{count} signals of {samples} samples", "a record of one half hour")
    signals = [_SIGNAL_LINE.fullmatch(line) for line in data[1:]]
    first = signals[0] if signals else None
    if first is None or len(signals) != count or not all(signals):
        _refuse(where, f"{len(signals)} signal lines", f"{count} lines of format 212")
    if len({signal["file"] for signal in signals if signal}) != 1:
        _refuse(where, "signals in several files", "signals interleaved in one file")
    who = next((match for line in lines if (match := _WHO_LINE.match(line))), None)
    return Header(
        name=record["name"],
        signals=count,
        rate_hz=int(record["rate"]),
        samples=samples,
        file=first["file"],
        gain=int(first["gain"]),
        zero=int(first["zero"]),
        first=int(first["first"]),
        checksum=int(first["checksum"]) % _CHECKSUM_MODULUS,
        lead=first["lead"],
        cohort=_SEX[who["sex"]] if who else "",
    )


def parse_signal(content: bytes, header: Header, *, where: str) -> NDArray[np.int16]:
    """The first signal of a format 212 file, less its zero: int16 [samples].

    Raises:
        UsageError: length, first sample or checksum is not what the header says.
    """
    values = header.samples * header.signals
    expected = (values * _SAMPLE_BITS + 7) // 8
    if len(content) != expected:
        _refuse(where, f"{len(content)} bytes", f"{expected} bytes")
    # Two 12-bit values in three bytes; a last odd one is padded.
    padded = content + b"\0" * (-len(content) % 3)
    groups = np.frombuffer(padded, dtype=np.uint8).reshape(-1, 3).astype(np.int32)
    pairs = np.stack(
        [groups[:, 0] | (groups[:, 1] & 0x0F) << 8, groups[:, 2] | (groups[:, 1] & 0xF0) << 4],
        axis=1,
    )
    twelve_bits = pairs.reshape(-1)[:values]
    signed = np.where(twelve_bits >= 1 << (_SAMPLE_BITS - 1), twelve_bits - (1 << 12), twelve_bits)
    signal = signed[:: header.signals]
    checksum = int(signal.sum()) % _CHECKSUM_MODULUS
    if int(signal[0]) != header.first or checksum != header.checksum:
        _refuse(where, f"checksum {checksum}", f"checksum {header.checksum}")
    shifted = signal - header.zero
    if abs(int(shifted.min())) >= 1 << 15 or abs(int(shifted.max())) >= 1 << 15:
        _refuse(where, f"zero at {header.zero}", "samples that fit 16 bits")
    return shifted.astype(np.int16)


def parse_annotations(content: bytes, *, samples: int, where: str) -> Annotations:
    """The beats of an MIT-format annotation file; rhythm and other marks are passed over.

    Args:
        content: the file.
        samples: of the record; no beat may lie beyond.
        where: its name.

    Raises:
        UsageError: cut short, out of order, or out of range.
    """
    if len(content) % 2:
        _refuse(where, f"{len(content)} bytes", "an even number")
    words = np.frombuffer(content, dtype="<u2").tolist()
    marks = [mark for mark in _marks(words, where=where) if mark.code in BEAT_CODES]
    beats = [mark.time for mark in marks]
    rising = all(one < other for one, other in itertools.pairwise(beats))
    if not beats or not rising or beats[0] < 0 or beats[-1] >= samples:
        _refuse(where, f"{len(beats)} beats out of order or range", "ascending sample numbers")
    return Annotations(
        r_peaks=np.array(beats, dtype=np.int64),
        is_pvc=np.array([mark.code == PVC_CODE for mark in marks], dtype=bool),
    )


class _Mark(NamedTuple):
    code: int
    time: int


def _marks(words: list[int], *, where: str) -> Iterator[_Mark]:
    """Every mark of the file with its sample number, up to the end mark, which must be there."""
    time, place = 0, 0
    while place < len(words):
        code, low = words[place] >> 10, words[place] & 0x3FF
        place += 1
        if code == 0 and low == 0:
            return
        if code == _SKIP:
            if place + 2 > len(words):
                break
            # The high half comes first, each half with its low byte first; the whole is signed.
            step = words[place] << 16 | words[place + 1]
            time += step - (1 << 32) if step >= 1 << 31 else step
            place += 2
        elif code == _AUX:
            place += (low + 1) // 2
        elif code not in (_NUM, _SUB, _CHN):
            time += low
            yield _Mark(code, time)
    _refuse(where, "a file that is cut short", "an end mark, two zero bytes")


def _refuse(where: str, found: str, expected: str) -> NoReturn:
    raise UsageError(
        "the WFDB file cannot be used",
        reason=Reason.DOCUMENT_INVALID,
        where=where,
        found=found,
        expected=expected,
        remedy="fetch it again",
    )
