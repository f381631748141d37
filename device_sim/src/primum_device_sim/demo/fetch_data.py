"""Gets the twelve recordings from PhysioNet, over HTTPS, and writes them as they are read here.

Each record is three WFDB files; what comes of them must have the digest that the project knows, so
a damaged or another record never lands in the folder. A recording that is there and right is not
fetched again, and each lands whole or not at all: a broken run is resumed by running it again.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import urllib3

from primum_device_sim.demo.npz import npz_bytes
from primum_device_sim.demo.recordings import (
    ADU_PER_MV,
    COHORT_BY_PATIENT,
    CONTENT_SHA256,
    SAMPLING_RATE_HZ,
    Recording,
    check_is_known,
    load_recording,
)
from primum_device_sim.demo.wfdb import parse_annotations, parse_header, parse_signal
from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.core.reasons import Reason

BASE_URL: Final = "https://physionet.org/files/mitdb/1.0.0/"
# A record's samples are 1.95 MB; header and annotations are a few kB.
MAX_BYTES: Final = 4 * 1024 * 1024
TIMEOUT_S: Final = 30.0
ATTEMPTS: Final = 3
_CHUNK_BYTES: Final = 64 * 1024
_OK: Final = 200


class Download(Protocol):
    """Gets one file of the database."""

    def __call__(self, name: str) -> bytes:
        """The file's bytes, at most ``MAX_BYTES``; a ``FailedError`` where it cannot be had."""
        ...


def fetch(
    destination: Path,
    *,
    patients: tuple[str, ...] = tuple(COHORT_BY_PATIENT),
    download: Download | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> tuple[Path, ...]:
    """Make ``destination/mitdb-12`` complete.

    Args:
        destination: the folder that ``PRIMUM_DATA`` will name; made if it is missing.
        patients: record numbers.
        download: gets one file by name; PhysioNet unless given.
        tell: takes one line for each recording, for a person to read.

    Returns:
        The recordings' files, there and checked.

    Raises:
        FailedError: no network, a server that does not answer, or a folder that cannot be written.
        UsageError: what came is not the recording that the project knows.
    """
    get = download or PhysioNet()
    folder = destination / "mitdb-12"
    paths = []
    for patient in patients:
        path = folder / f"{patient}.npz"
        if _is_there(path):
            tell(f"{patient}: already there")
        else:
            recording = fetch_record(patient, get)
            _write(path, recording)
            tell(f"{patient}: fetched and checked, {recording.r_peaks.size} beats")
        paths.append(path)
    return tuple(paths)


def fetch_record(patient: str, download: Download) -> Recording:
    """One record by its three files, checked against its header and its known digest.

    Raises:
        FailedError: a file cannot be had.
        UsageError: what came is not that record.
    """
    where = f"record {patient}"
    header = parse_header(download(f"{patient}.hea"), where=f"{patient}.hea")
    if (header.name, header.rate_hz, header.gain) != (patient, SAMPLING_RATE_HZ, ADU_PER_MV):
        raise UsageError(
            "the header is of another record",
            reason=Reason.DOCUMENT_INVALID,
            where=where,
            found=f"{header.name}, {header.rate_hz} Hz, {header.gain} units per mV",
            expected=f"{patient}, {SAMPLING_RATE_HZ} Hz, {ADU_PER_MV} units per mV",
        )
    if header.cohort and header.cohort != COHORT_BY_PATIENT[patient]:
        raise UsageError(
            "the header gives another sex than the project's table",
            reason=Reason.DOCUMENT_INVALID,
            where=where,
            found=header.cohort,
            expected=COHORT_BY_PATIENT[patient],
            remedy="please report it: the cohort table of the demo's report is wrong",
        )
    ecg_adu = parse_signal(download(f"{patient}.dat"), header, where=f"{patient}.dat")
    beats = parse_annotations(
        download(f"{patient}.atr"), samples=header.samples, where=f"{patient}.atr"
    )
    recording = Recording(
        patient=patient, ecg_adu=ecg_adu, r_peaks=beats.r_peaks, is_pvc=beats.is_pvc
    )
    check_is_known(recording, where=where)
    return recording


def recording_bytes(recording: Recording) -> bytes:
    """The recording as the ``.npz`` that ``recordings.load_recording`` reads."""
    return npz_bytes(
        {
            "ecg": recording.ecg_adu,
            "r_peaks": recording.r_peaks.astype(np.int32),
            "pvc": recording.r_peaks[recording.is_pvc].astype(np.int32),
            "fs": np.array(SAMPLING_RATE_HZ, dtype=np.int32),
            "adu_per_mv": np.array(ADU_PER_MV, dtype=np.int32),
        },
        compression=zipfile.ZIP_DEFLATED,
    )


class PhysioNet:
    """Downloads files of the MIT-BIH Arrhythmia Database 1.0.0 over HTTPS."""

    def __init__(self, base_url: str = BASE_URL) -> None:
        if not base_url.startswith("https://"):
            raise UsageError(
                "recordings are fetched over HTTPS only",
                reason=Reason.TRANSPORT_INSECURE,
                where=base_url,
                expected="https://…",
            )
        self._base_url = base_url
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=TIMEOUT_S), retries=urllib3.Retry(ATTEMPTS, redirect=2)
        )

    def __call__(self, name: str) -> bytes:
        """The file's bytes."""
        url = self._base_url + name
        try:
            response = self._pool.request("GET", url, preload_content=False)
            try:
                return _body(response, url)
            finally:
                response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise FailedError(
                "PhysioNet cannot be reached",
                reason=Reason.TRANSPORT_UNREACHABLE,
                where=url,
                found=f"{type(error).__name__}: {error}"[:300],
                remedy="check the network and run it again: what is there is kept. The demo and "
                "most tests need no recordings.",
            ) from error


def _body(response: urllib3.BaseHTTPResponse, url: str) -> bytes:
    if response.status != _OK:
        raise FailedError(
            "PhysioNet did not give the file",
            reason=Reason.TRANSPORT_STATUS,
            where=url,
            found=f"HTTP status {response.status}",
            expected=f"{_OK}",
            remedy="try again later",
        )
    content = bytearray()
    for chunk in response.stream(_CHUNK_BYTES):
        content += chunk
        if len(content) > MAX_BYTES:
            raise FailedError(
                "the file is far too long to be one of a record",
                reason=Reason.TRUST_LIMIT,
                where=url,
                found=f"more than {MAX_BYTES} bytes",
                expected="about 2 MB",
            )
    return bytes(content)


def _is_there(path: Path) -> bool:
    """Whether the recording is there and right; a damaged one is fetched again."""
    if not path.exists():
        return False
    try:
        return load_recording(path).content_sha256() == CONTENT_SHA256[path.stem]
    except UsageError:
        return False


def _write(path: Path, recording: Recording) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(recording_bytes(recording))
        beside.replace(path)
    except OSError as error:
        raise FailedError(
            "the recording cannot be written",
            reason=Reason.RESOURCE_STORAGE,
            where=str(path),
            found=str(error),
            remedy="name a folder that can be written to and has 8 MB free",
        ) from error
    finally:
        beside.unlink(missing_ok=True)
