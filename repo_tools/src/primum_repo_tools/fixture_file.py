"""Writes fixtures as the file that a device reads, the same bytes for the same fixtures, anywhere.

Order, times, attributes, headers and compression of the file are stated here, so that neither the
clock nor the version of numpy enters; a deflated file holds for the same version of zlib.  Samples
of a converter in float32 shrink to about a third.  A release with the fixtures of an earlier one
names the same artifact, and a device that has it fetches nothing.

The format is that of :mod:`primum_verifier.proof.fixtures`; nothing in it is pickled.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

from primum_repo_tools.files import read_input
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.element_types import BY_NPY, ElementType
from primum_verifier.proof.fixtures import (
    MAX_FIXTURE_BYTES,
    FixtureArray,
    Fixtures,
    read_fixtures,
)

_NPY_NAMES = {dtype: name for name, dtype in BY_NPY.items()}
_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNMENT = 64
"""Where the numbers of an array begin: NPY format 1.0."""

_LEVEL = 9
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_PLAIN_FILE = 0o100644 << 16


def fixture_bytes(fixtures: Fixtures) -> bytes:
    """The file of these fixtures.

    Args:
        fixtures: their arrays stand in the file in the order that they have here.

    Raises:
        UsageError: a device would not read it: too large, too many, or a name that is not allowed.
    """
    size = sum(len(array.data) for array in (*fixtures.inputs, *fixtures.references.values()))
    if size > MAX_FIXTURE_BYTES:
        raise UsageError(
            "The fixtures are larger than a device reads.",
            reason=Reason.USAGE,
            where="fixtures",
            found=f"{size} bytes of inputs and references",
            expected=f"at most {MAX_FIXTURE_BYTES} bytes",
            remedy="Take fewer cases, or shorter strips where the model allows it.",
        )
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, raw in _arrays(fixtures):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _PLAIN_FILE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, raw, compresslevel=_LEVEL)
    data = whole.getvalue()
    _require_read_back(data, fixtures)
    return data


def read_fixture_file(path: Path) -> tuple[Fixtures, bytes]:
    """The fixtures in a file, and its bytes.

    Raises:
        UsageError: it is missing, or a device would not read it either.
    """
    data = read_input(path, what="fixtures", max_bytes=MAX_FIXTURE_BYTES)
    try:
        return read_fixtures(data, where=str(path)), data
    except RefusedError as error:
        raise UsageError(
            "The fixtures cannot be read.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.found,
            expected="a file that primum-repo fixtures make wrote",
            remedy="Make it from the arrays: primum-repo fixtures make --help",
        ) from error


def _require_read_back(data: bytes, fixtures: Fixtures) -> None:
    try:
        same = read_fixtures(data) == fixtures
    except RefusedError as error:
        raise UsageError(
            "A device would not read these fixtures.",
            reason=Reason.USAGE,
            where="fixtures",
            found=error.found,
            expected="names in ASCII of up to 120 characters (letters, digits, _ . : / -), each"
            " once, and as many cases and arrays as the guide states",
            remedy="Change the arrays and make the fixtures again.",
        ) from error
    if not same:
        raise RuntimeError("fixtures that were written are read back as others")


def _arrays(fixtures: Fixtures) -> list[tuple[str, bytes]]:
    """The members of the file by name, in their order."""
    count = len(fixtures.cases)
    return [
        ("case", _texts(fixtures.cases)),
        ("cohort", _texts(fixtures.cohorts)),
        ("label", _decisions(fixtures.labels)),
        ("expected_decision", _decisions(fixtures.expected_decisions)),
        *((f"input.{array.name}", _numbers(array, count)) for array in fixtures.inputs),
        *(
            (f"reference.{array.name}", _numbers(array, count))
            for array in fixtures.references.values()
        ),
        *(
            (f"decision.{release}", _decisions(fixtures.baselines[release]))
            for release in sorted(fixtures.baselines)
        ),
    ]


def _numbers(array: FixtureArray, count: int) -> bytes:
    if array.shape[0] != count:
        raise RuntimeError(f"{array.name} holds another number of cases")
    return _npy(_NPY_NAMES[array.dtype], array.shape, array.data)


def _decisions(numbers: tuple[int, ...]) -> bytes:
    raw = struct.pack(f"<{len(numbers)}b", *numbers)
    return _npy(_NPY_NAMES[ElementType.INT8], (len(numbers),), raw)


def _texts(texts: tuple[str, ...]) -> bytes:
    width = max((len(text) for text in texts), default=0)
    raw = b"".join(text.ljust(width, "\0").encode("utf-32-le") for text in texts)
    return _npy(f"<U{width}", (len(texts),), raw)


def _npy(descr: str, shape: tuple[int, ...], data: bytes) -> bytes:
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}"
    spare = -(len(_MAGIC) + 2 + len(head) + 1) % _ALIGNMENT
    text = (head + " " * spare + "\n").encode("ascii")
    return _MAGIC + struct.pack("<H", len(text)) + text + data
