"""The parser of the original files: right on a real record, and never surprised by a wrong one."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primum_device_sim.demo.fetch_data import fetch, fetch_record
from primum_device_sim.demo.recordings import Recording, load_recording
from primum_device_sim.demo.wfdb import parse_annotations, parse_header, parse_signal
from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.core.reasons import Reason

HEADER = b"""100 2 360 4
100.dat 212 200 11 1024 995 -21556 0 MLII
100.dat 212 200 11 1024 1011 20052 0 V5
# 69 M 1085 1629 x1
"""


def packed(*values: int) -> bytes:
    """Twelve-bit values, two in three bytes."""
    whole = bytearray()
    for one, other in zip(values[::2], values[1::2], strict=True):
        high = (one & 0xFFF) >> 8 | (other & 0xFFF) >> 8 << 4
        whole += bytes([one & 0xFF, high, other & 0xFF])
    return bytes(whole)


def header_of(*signal: int) -> bytes:
    checksum = sum(signal) % 65536
    return HEADER.replace(b"995 -21556", f"{signal[0]} {checksum}".encode())


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def test_the_header_tells_lead_and_sex() -> None:
    header = parse_header(HEADER, where="100.hea")
    assert (header.name, header.signals, header.samples, header.lead, header.cohort) == (
        "100", 2, 4, "MLII", "male",
    )  # fmt: skip


def test_samples_below_zero_and_the_second_signal_are_told_apart() -> None:
    signal = (1024, -2048, 2047, 1000)
    content = packed(1024, 5, -2048, 6, 2047, 7, 1000, 8)
    parsed = parse_signal(content, parse_header(header_of(*signal), where="h"), where="d")
    assert parsed.tolist() == [0, -3072, 1023, -24]


def test_a_flipped_sample_breaks_the_header_s_checksum() -> None:
    header = parse_header(header_of(1024, 1, 2, 3), where="h")
    with pytest.raises(UsageError, match="WFDB") as refused:
        parse_signal(packed(1024, 0, 1, 0, 2, 0, 4, 0), header, where="d")
    assert "checksum" in refused.value.expected


def test_a_file_cut_short_is_refused() -> None:
    header = parse_header(header_of(1024, 1, 2, 3), where="h")
    with pytest.raises(UsageError) as refused:
        parse_signal(packed(1024, 0, 1, 0, 2, 0), header, where="d")
    assert refused.value.expected == "12 bytes"


def test_skips_texts_and_rhythm_marks_move_no_beat() -> None:
    content = words(
        28 << 10 | 18, 63 << 10 | 3, 0x4E28, 0x0000,  # rhythm mark at 18 with a text of 3 bytes
        1 << 10 | 59,  # N at 77
        59 << 10, 0x0001, 0x0000, 5 << 10 | 10,  # skip of 65536, then V at 65623
        60 << 10 | 1, 8 << 10 | 100,  # "num" field, then A at 65723
        0,
    )  # fmt: skip
    beats = parse_annotations(content, samples=650_000, where="atr")
    assert beats.r_peaks.tolist() == [77, 65_623, 65_723]
    assert beats.is_pvc.tolist() == [False, True, False]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        words(0),
        words(1 << 10 | 59),
        words(1 << 10 | 59) + b"\0",
        words(59 << 10, 1),
        words(63 << 10 | 1000, 0),
        words(1 << 10 | 10, 1 << 10, 0),
        words(59 << 10, 0xFFFF, 0xFF00, 1 << 10 | 1, 0),
        words(59 << 10, 0x00FF, 0x0000, 1 << 10 | 1, 0),
    ],
)
def test_annotations_that_lie_about_time_are_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="WFDB"):
        parse_annotations(content, samples=650_000, where="atr")


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=400))
def test_no_annotation_bytes_end_in_a_traceback(content: bytes) -> None:
    try:
        beats = parse_annotations(content, samples=650_000, where="atr")
    except UsageError:
        return
    assert beats.r_peaks.size == beats.is_pvc.size > 0
    assert (np.diff(beats.r_peaks) > 0).all()


@settings(max_examples=300, deadline=None)
@given(
    content=st.binary(max_size=300)
    | st.lists(st.sampled_from([*HEADER.split(b" "), b"\n", b" ", b"-1", b"99999", b"#"])).map(
        b" ".join
    )
    | st.tuples(st.integers(0, len(HEADER) - 1), st.binary(min_size=1, max_size=3)).map(
        lambda change: HEADER[: change[0]] + change[1] + HEADER[change[0] + 1 :]
    )
)
def test_no_header_bytes_end_in_a_traceback(content: bytes) -> None:
    with contextlib.suppress(UsageError):
        header = parse_header(content, where="hea")
        parse_signal(packed(1, 2, 3, 4), header, where="dat")


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.integers(-2048, 2047), min_size=4, max_size=4))
def test_any_twelve_bit_samples_read_back(values: list[int]) -> None:
    content = packed(*(sample for value in values for sample in (value, 0)))
    parsed = parse_signal(content, parse_header(header_of(*values), where="h"), where="d")
    assert (parsed + 1024).tolist() == values


@pytest.mark.recordings
def test_record_100_reads_the_same_from_its_original_files(
    wfdb_folder: Path, twelve_recordings: dict[str, Recording], tmp_path: Path
) -> None:
    fetched = fetch(
        tmp_path, patients=("100",), download=lambda name: (wfdb_folder / name).read_bytes()
    )
    recording = load_recording(fetched[0])
    assert np.array_equal(recording.ecg_adu, twelve_recordings["100"].ecg_adu)
    assert np.array_equal(recording.r_peaks, twelve_recordings["100"].r_peaks)
    assert np.array_equal(recording.is_pvc, twelve_recordings["100"].is_pvc)
    assert sorted(path.name for path in (tmp_path / "mitdb-12").iterdir()) == ["100.npz"]


@pytest.mark.recordings
def test_what_is_there_is_not_fetched_again_and_what_is_damaged_is(
    wfdb_folder: Path, tmp_path: Path
) -> None:
    asked: list[str] = []

    def download(name: str) -> bytes:
        asked.append(name)
        return (wfdb_folder / name).read_bytes()

    (path,) = fetch(tmp_path, patients=("100",), download=download)
    whole = path.read_bytes()
    fetch(tmp_path, patients=("100",), download=download)
    assert asked == ["100.hea", "100.dat", "100.atr"]
    path.write_bytes(whole[: len(whole) // 2])
    fetch(tmp_path, patients=("100",), download=download)
    assert len(asked) == 6
    assert path.read_bytes() == whole


@pytest.mark.recordings
def test_another_record_s_annotations_are_not_taken(wfdb_folder: Path) -> None:
    def download(name: str) -> bytes:
        content = (wfdb_folder / name).read_bytes()
        # The second beat becomes premature: well-formed, and wrong.
        at = content.index(words(1 << 10 | 293)) if name == "100.atr" else 0
        changed = content[:at] + words(5 << 10 | 293) + content[at + 2 :]
        return changed if name == "100.atr" else content

    with pytest.raises(UsageError, match="published figures"):
        fetch_record("100", download)


def test_a_header_of_another_record_is_refused() -> None:
    with pytest.raises(UsageError, match="another record"):
        fetch_record("106", lambda _name: HEADER)


def test_no_network_is_a_clear_failure_and_leaves_nothing(tmp_path: Path) -> None:
    def download(name: str) -> bytes:
        raise FailedError(
            "PhysioNet cannot be reached", reason=Reason.TRANSPORT_UNREACHABLE, where=name
        )

    with pytest.raises(FailedError, match="cannot be reached"):
        fetch(tmp_path, download=download)
    assert not (tmp_path / "mitdb-12").exists()
