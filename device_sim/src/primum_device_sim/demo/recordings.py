"""Reads the full ambulatory recordings, and says who they are from; a damaged file never gets far.

A recording is one ``.npz`` file of the folder ``mitdb-12``: the first signal of a record of the
MIT-BIH Arrhythmia Database 1.0.0 (Moody and Mark 2001, on PhysioNet, Goldberger et al. 2000; Open
Data Commons Attribution License v1.0) with the cardiologists' beat annotations. The recordings are
not part of the project. Which folder holds them is the caller's to say: nothing here reads the
environment.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from primum_device_sim.demo.npz import UNREADABLE, read_npz
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

SAMPLING_RATE_HZ: Final = 360
ADU_PER_MV: Final = 200

# A recording is 1.3 MB of samples: anything much larger is not one, and is not unpacked.
MAX_MEMBER_BYTES: Final = 4 * 1024 * 1024
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MEMBERS: Final = {"ecg", "r_peaks", "pvc", "fs", "adu_per_mv"}

REMEDY: Final = (
    "point PRIMUM_DATA at the folder that holds mitdb-12, or run `primum-sim data fetch`"
)

# Sex as PhysioNet's record directory gives it. Records 114, 116, 119, 123 and 200 were not checked
# against an original header; fetching the database checks every one of them.
COHORT_BY_PATIENT: Final = {
    "100": "male",
    "102": "female",
    "104": "female",
    "105": "female",
    "106": "female",
    "108": "female",
    "114": "female",
    "116": "male",
    "119": "female",
    "121": "female",
    "123": "female",
    "200": "male",
}

# Of samples, beats and labels, not of the file: another compressor may have written it.
CONTENT_SHA256: Final = {
    "100": "12f7e80f0cc95ef1b91e7bd4417a7cde5ce52823a68625fab8f930b9f9990d63",
    "102": "d4d1578408405ffc3d6a62cfdc2ceba800dfa877303833d4a5c89041011da13a",
    "104": "7c8b1a0d13137b281522c9eab7059a932f139a3790405143fa65c93501e069f2",
    "105": "d8b5d7f45ca403227a3fe8535e0ec8b332a2f852bf448f506dbdd11b6ef08c2e",
    "106": "ceeb1f503212d050c32e79c724477ae198f6485fd81842128d703784c1cf3d97",
    "108": "15bcd7f405aef665a56bc6f60253dba1ae084cf57ba9cdeb153eb71d241b64cb",
    "114": "610ac380bdda00e66c55a39eb735c09b665f61ed97b51122abbc5fd4e8686710",
    "116": "2a4035d72a2d779618a4c186929359388701773399c227f734cf9548271ed280",
    "119": "59ae5a5121de863d4355a67863189630c89de14f131dcd6a1d04f15c6e652417",
    "121": "9ad8618aa9618e360af9246850540b2154af1c3129995c0f24e332d3a5a23432",
    "123": "60e071dde95bbc5e3b6590ca29fe1a592b8a4737d200498a21d1d072be8d4879",
    "200": "9b43afa6a3b2640b3a7a17dc5aa42331c86aa7813832d0a6338dc4f8bdeda386",
}


@dataclass(frozen=True)
class Recording:
    """One patient's half hour.

    Attributes:
        patient: the record number, which stands for the patient.
        ecg_adu: int16 [samples], the raw converter values, 200 to the millivolt, zero at 0 mV.
        r_peaks: int64 [beats], sample numbers of every annotated beat, ascending.
        is_pvc: bool [beats], which of them are annotated V (premature ventricular).
    """

    patient: str
    ecg_adu: NDArray[np.int16]
    r_peaks: NDArray[np.int64]
    is_pvc: NDArray[np.bool_]

    @property
    def ecg_mv(self) -> NDArray[np.float32]:
        """The signal in millivolts: float32 [samples]."""
        return (self.ecg_adu / ADU_PER_MV).astype(np.float32)

    @property
    def cohort(self) -> str:
        """``female`` or ``male``."""
        return COHORT_BY_PATIENT[self.patient]

    def content_sha256(self) -> str:
        """The digest of samples, beats and labels, whatever file they came in."""
        digest = hashlib.sha256()
        digest.update(self.ecg_adu.astype("<i2").tobytes())
        digest.update(self.r_peaks.astype("<i4").tobytes())
        digest.update(self.r_peaks[self.is_pvc].astype("<i4").tobytes())
        return digest.hexdigest()


def recordings_folder(data: Path) -> Path:
    """The folder of the recordings: ``data/mitdb-12``, or ``data`` itself.

    Raises:
        UsageError: there is no recording in either.
    """
    for folder in (data / "mitdb-12", data):
        if any((folder / f"{patient}.npz").is_file() for patient in COHORT_BY_PATIENT):
            return folder
    raise UsageError(
        "the folder holds no recordings",
        reason=Reason.USAGE,
        where=str(data),
        expected="mitdb-12/100.npz and eleven more",
        remedy=REMEDY,
    )


def load_recordings(data: Path, patients: tuple[str, ...]) -> dict[str, Recording]:
    """Load the named patients' recordings, each checked against its known digest.

    Args:
        data: the folder that holds ``mitdb-12``, or that folder itself.
        patients: record numbers, such as ``("100", "106")``.

    Raises:
        UsageError: a recording is missing, damaged, or not the known one.
    """
    folder = recordings_folder(data)
    recordings = {}
    for patient in patients:
        recording = load_recording(folder / f"{patient}.npz")
        check_is_known(recording, where=str(folder / f"{patient}.npz"))
        recordings[patient] = recording
    return recordings


def check_is_known(recording: Recording, *, where: str) -> None:
    """Refuse a recording whose samples, beats or labels are not those the figures rest on.

    Raises:
        UsageError: another content than the known one, or an unknown record.
    """
    expected = CONTENT_SHA256.get(recording.patient, "one of the twelve records used here")
    found = recording.content_sha256()
    if found != expected:
        raise UsageError(
            "the recording is not the one that the published figures rest on",
            reason=Reason.ARTIFACT_DIGEST,
            where=where,
            found=found,
            expected=expected,
            remedy=REMEDY,
        )


def load_recording(path: Path) -> Recording:
    """Read one ``.npz`` recording without trusting it: no pickle, nothing oversized.

    Args:
        path: the file; its stem is the record number.

    Raises:
        UsageError: missing, unreadable, or not of the layout described above.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise _unusable(path, f"{size} bytes", f"at most {MAX_FILE_BYTES} bytes")
        arrays = read_npz(path, max_member_bytes=MAX_MEMBER_BYTES)
    except FileNotFoundError as error:
        raise _unusable(path, "no such file", "a recording") from error
    except UNREADABLE as error:
        raise _unusable(path, f"{type(error).__name__}: {error}"[:200], "a recording") from error
    return _recording(path, arrays)


def _recording(path: Path, arrays: dict[str, NDArray[np.generic]]) -> Recording:
    if set(arrays) != MEMBERS:
        raise _unusable(path, ", ".join(sorted(arrays))[:200], ", ".join(sorted(MEMBERS)))
    ecg, r_peaks, pvc = arrays["ecg"], arrays["r_peaks"], arrays["pvc"]
    shapes = {"ecg": (ecg, np.int16), "r_peaks": (r_peaks, np.int32), "pvc": (pvc, np.int32)}
    for name, (array, dtype) in shapes.items():
        if array.ndim != 1 or array.dtype != dtype:
            raise _unusable(path, f"{name}: {array.dtype} {array.shape}", f"{dtype.__name__} [n]")
    rates = {name: arrays[name].tolist() for name in ("fs", "adu_per_mv")}
    if rates != {"fs": SAMPLING_RATE_HZ, "adu_per_mv": ADU_PER_MV}:
        raise _unusable(path, str(rates)[:200], "360 Hz and 200 units per millivolt")
    if path.stem not in COHORT_BY_PATIENT:
        raise _unusable(path, path.stem[:40], "one of the twelve records used here")
    beats = r_peaks.astype(np.int64)
    ascending = beats.size > 0 and bool(np.all(np.diff(beats) > 0))
    if not ascending or beats[0] < 0 or beats[-1] >= ecg.size:
        raise _unusable(path, "r_peaks out of order or out of range", "ascending sample numbers")
    if not np.isin(pvc, r_peaks).all():
        raise _unusable(path, "a pvc that is no beat", "every pvc among the r_peaks")
    return Recording(
        patient=path.stem,
        ecg_adu=ecg.astype(np.int16),
        r_peaks=beats,
        is_pvc=np.isin(r_peaks, pvc),
    )


def _unusable(path: Path, found: str, expected: str) -> UsageError:
    return UsageError(
        "the recording cannot be used",
        reason=Reason.DOCUMENT_INVALID,
        where=str(path),
        found=found,
        expected=expected,
        remedy=REMEDY,
    )
