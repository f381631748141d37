"""Recordings come from outside: whatever is in the file, the loader answers in its own words."""

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primum_device_sim.demo.fetch_data import recording_bytes
from primum_device_sim.demo.recordings import (
    Recording,
    check_is_known,
    load_recording,
    load_recordings,
)
from primum_verifier.core.errors import UsageError


def small_recording() -> Recording:
    return Recording(
        patient="100",
        ecg_adu=np.arange(5000, dtype=np.int16),
        r_peaks=np.arange(300, 4000, 300, dtype=np.int64),
        is_pvc=np.arange(13) == 4,
    )


def saved(path: Path, **changed: Any) -> Path:
    with np.load(io.BytesIO(recording_bytes(small_recording()))) as npz:
        arrays = {**npz, **changed}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_recording_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "100.npz"
    path.write_bytes(recording_bytes(small_recording()))
    loaded = load_recording(path)
    assert loaded.content_sha256() == small_recording().content_sha256()
    assert loaded.cohort == "male"
    assert loaded.ecg_mv.dtype == np.float32
    assert loaded.ecg_mv[200] == 1.0


@pytest.mark.parametrize(
    "changed",
    [
        {"ecg": np.zeros(5000)},
        {"ecg": np.zeros((2, 5000), dtype=np.int16)},
        {"r_peaks": np.array([5, 4], dtype=np.int32)},
        {"r_peaks": np.array([5, 5000], dtype=np.int32)},
        {"r_peaks": np.array([], dtype=np.int32)},
        {"pvc": np.array([301], dtype=np.int32)},
        {"fs": np.array(250, dtype=np.int32)},
        {"fs": np.zeros(70000, dtype=np.int32)},
        {"adu_per_mv": np.array(1, dtype=np.int32)},
        {"pvc": None},
        {"more": np.zeros(3)},
        {"ecg": np.array([{"a": 1}], dtype=object)},
        {"ecg": np.zeros(3_000_000, dtype=np.int16)},
    ],
)
def test_a_recording_of_another_layout_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        load_recording(saved(tmp_path / "100.npz", **changed))
    assert refused.value.where == str(tmp_path / "100.npz")
    assert refused.value.remedy


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "100.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ecg.npy", b"\0" * 50_000_000)
    with pytest.raises(UsageError, match="cannot be used"):
        load_recording(path)


def test_a_missing_recording_and_an_empty_folder_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as missing:
        load_recording(tmp_path / "100.npz")
    assert "primum-sim data fetch" in missing.value.remedy
    with pytest.raises(UsageError) as empty:
        load_recordings(tmp_path, ("100",))
    assert "primum-sim data fetch" in empty.value.remedy


def test_a_recording_with_one_changed_label_is_not_the_known_one(tmp_path: Path) -> None:
    path = tmp_path / "100.npz"
    path.write_bytes(recording_bytes(small_recording()))
    with pytest.raises(UsageError, match="published figures"):
        check_is_known(load_recording(path), where=str(path))
    with pytest.raises(UsageError, match="published figures"):
        load_recordings(tmp_path, ("100",))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 2500), new=st.integers(0, 255), cut=st.integers(0, 2500))
def test_a_damaged_file_never_ends_in_a_traceback(
    tmp_path: Path, at: int, new: int, cut: int
) -> None:
    content = bytearray(recording_bytes(small_recording()))
    content[at % len(content)] = new
    path = tmp_path / "100.npz"
    path.write_bytes(bytes(content[: len(content) - cut % len(content)]))
    with contextlib.suppress(UsageError):
        load_recording(path)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 127), new=st.binary(min_size=1, max_size=4))
def test_a_damaged_array_header_never_ends_in_a_traceback(
    tmp_path: Path, at: int, new: bytes
) -> None:
    """The archive is whole, so nothing but the header itself tells."""
    path = tmp_path / "100.npz"
    whole = zipfile.ZipFile(io.BytesIO(recording_bytes(small_recording())))
    with zipfile.ZipFile(path, "w") as archive:
        for name in whole.namelist():
            member = whole.read(name)
            archive.writestr(name, member[:at] + new + member[at + len(new) :])
    with contextlib.suppress(UsageError):
        load_recording(path)


@pytest.mark.recordings
def test_the_twelve_recordings_are_the_known_ones(twelve_recordings: dict[str, Recording]) -> None:
    assert sum(recording.r_peaks.size for recording in twelve_recordings.values()) == 25_311
    assert sum(int(recording.is_pvc.sum()) for recording in twelve_recordings.values()) == 2_011
