"""Arrays that only an attacker writes: each limit of the fixture file, by what it stops."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.fixtures import MAX_BASELINES, read_fixtures
from primum_verifier.proof.selftest_spec import MAX_CASES, MAX_RANK, MAX_TENSORS

MOST = 2 * MAX_TENSORS + MAX_BASELINES + 8

Build = dict[str, Callable[..., Any]]


def with_label(build: Build, label: bytes) -> bytes:
    """Valid fixtures but for the bytes of one array."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in build["cases"]().items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(f"{name}.npy", label if name == "label" else member.getvalue())
    return buffer.getvalue()


def npy(shape: str, data: bytes, *, version: bytes = b"\x01\x00", padding: int = 0) -> bytes:
    head = f"{{'descr': '|i1', 'fortran_order': False, 'shape': ({shape}), }}".encode()
    head += b" " * padding + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(head)) + head + data


def test_the_plain_form_is_read(build: Build) -> None:
    assert read_fixtures(with_label(build, npy("12,", bytes(12)))).labels == (0,) * 12


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (npy("12,", bytes(12), version=b"\x02\x00"), "no .npy of version 1.0"),
        (b"", "no .npy of version 1.0"),
        (npy("12,", bytes(12), padding=600), "a header that is too long"),
        (npy("12, ,", bytes(12)), "a shape that is not read here"),
        (npy("0,", b""), "a shape outside the limits"),
        (npy(f"{MAX_CASES + 1},", bytes(MAX_CASES + 1)), "a shape outside the limits"),
        (npy("12" + ", 1" * (MAX_RANK + 1), bytes(12)), "a shape outside the limits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_header_that_asks_for_more_is_refused(build: Build, label: bytes, told: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_fixtures(with_label(build, label))
    assert caught.value.reason is Reason.DOCUMENT_INVALID
    assert told in caught.value.found


def test_more_arrays_than_a_model_can_have_are_refused_unread() -> None:
    """Attack: a directory of a hundred thousand entries.  End: refused by their number."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(MOST + 1):
            archive.writestr(f"input.x{number}.npy", b"never read")
    with pytest.raises(RefusedError) as caught:
        read_fixtures(buffer.getvalue())
    assert caught.value.found == f"{MOST + 1} arrays"
