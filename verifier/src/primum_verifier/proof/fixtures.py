"""Reads the fixtures of a self-test without numpy: known inputs and what is expected of them.

The file is an ``.npz``: a zip of ``.npy`` arrays.  Of both formats only what the release side
writes is read: stored or deflated members, version 1.0 headers, C order, and the element types of
:class:`~primum_verifier.proof.element_types.ElementType`.  Nothing is unpickled and nothing is
decompressed beyond a stated size.

==========================  =========  ========================================================
array                       type       meaning
==========================  =========  ========================================================
``input.<name>``            any        [n, ...] one input of the model; [n] for single numbers
``reference.<output>``      any        [n, ...] what the release side computed
``case``                    unicode    [n] unique names
``cohort``                  unicode    [n] the group a case belongs to
``label``                   int8       [n] truth: 1, 0, or -1 unlabelled
``expected_decision``       int8       [n] 1 positive, 0 negative, -1 no decision
``decision.<sha256>``       int8       [n] what the earlier release with this manifest decided
==========================  =========  ========================================================

Sources: ``numpy.lib.format`` (NPY format 1.0), PKWARE APPNOTE 6.3.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.element_types import BY_NPY, ElementType, Number
from primum_verifier.proof.selftest_spec import MAX_CASES, MAX_RANK, MAX_TENSORS

MAX_FIXTURE_BYTES = 64 * MIB
"""The file, and all arrays in it together: a self-test carries tens of seconds, not a study."""

MAX_BASELINES = 64
"""Earlier releases whose decisions the fixtures may hold: what a fleet can still be running."""

_MAX_ARRAYS = 2 * MAX_TENSORS + MAX_BASELINES + 8
_MAX_NAME = 120
_MAX_HEADER = 512
_MAX_LABEL = 200

_KINDS = "|".join(map(re.escape, BY_NPY))
_HEADER = re.compile(
    rf"\{{'descr': '(?P<kind>{_KINDS}|<U(?P<width>\d{{1,3}}))', 'fortran_order': False, "
    r"'shape': \((?P<shape>[\d, ]{0,100})\), \} *\n"
)
_SHAPE = re.compile(r"\d{1,9},|\d{1,9}(?:, \d{1,9})+")
_TEXT_NAME = re.compile(r"[\w.:/-]+", re.ASCII)

_SHA256 = re.compile(r"[0-9a-f]{64}")

NO_DECISION = -1
NO_LABEL = -1


@dataclass(frozen=True, slots=True)
class FixtureArray:
    """An input or the reference of an output for all cases; ``shape`` begins with their number.

    Attributes:
        name: of the input or output.
        dtype: the type of each number.
        shape: [n, ...].
        data: little-endian, C order.
    """

    name: str
    dtype: ElementType
    shape: tuple[int, ...]
    data: bytes

    def of_case(self, index: int) -> bytes:
        """The bytes of one case."""
        size = len(self.data) // self.shape[0]
        return self.data[index * size : (index + 1) * size]

    def numbers(self) -> tuple[Number, ...]:
        """The numbers of all cases, one after the other in C order."""
        return self.dtype.unpack(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixtures:
    """Known inputs and what is expected of them, each tuple in the order of the cases.

    ``baselines`` holds what earlier releases decided, by the SHA-256 of their manifests.
    """

    cases: tuple[str, ...]
    cohorts: tuple[str, ...]
    labels: tuple[int, ...]
    expected_decisions: tuple[int, ...]
    references: dict[str, FixtureArray]
    inputs: tuple[FixtureArray, ...]
    baselines: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Array:
    dtype: ElementType | None
    """None for texts."""
    shape: tuple[int, ...]
    data: bytes


def read_fixtures(data: bytes, *, where: str = "fixtures") -> Fixtures:
    """The fixtures in ``data``.

    Args:
        data: the whole file; its digest was checked against the specification.
        where: the name a person knows the file by.

    Raises:
        RefusedError: ``document.invalid`` or ``artifact.size``; nothing in the file may be used.
    """
    if len(data) > MAX_FIXTURE_BYTES:
        raise RefusedError(
            "The fixtures are too large.",
            reason=Reason.ARTIFACT_SIZE,
            where=where,
            found=f"{len(data)} bytes",
            expected=f"at most {MAX_FIXTURE_BYTES} bytes",
        )
    try:
        return _assemble({name: _read_npy(raw) for name, raw in _members(data)})
    # What zipfile and zlib raise on damaged input is not documented as one family.
    except (
        _BadFixturesError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError,
        ValueError, OverflowError, NotImplementedError, RuntimeError, IndexError, KeyError,
    ) as error:  # fmt: skip
        raise RefusedError(
            "The fixtures cannot be read.",
            reason=Reason.DOCUMENT_INVALID,
            where=where,
            found=str(error)[:_MAX_LABEL] or type(error).__name__,
            expected="an .npz of the documented arrays",
            remedy="Build the release again; nothing was run.",
        ) from error


class _BadFixturesError(Exception):
    """What is wrong, in words; translated at the border of this module."""


def _members(data: bytes) -> list[tuple[str, bytes]]:
    found: dict[str, bytes] = {}
    left = MAX_FIXTURE_BYTES
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > _MAX_ARRAYS:
            raise _BadFixturesError(f"{len(entries)} arrays")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in found or len(name) > _MAX_NAME or name == entry.filename:
                raise _BadFixturesError("a member that is doubled or no .npy")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _BadFixturesError("a compression other than deflate")
            with archive.open(entry) as member:
                # The stated size may lie: read one byte more than may be there.
                raw = member.read(left + 1)
            left -= len(raw)
            if left < 0:
                raise _BadFixturesError(f"more than {MAX_FIXTURE_BYTES} bytes of arrays")
            found[name] = raw
    return list(found.items())


def _read_npy(raw: bytes) -> _Array:
    if raw[:8] != b"\x93NUMPY\x01\x00":
        raise _BadFixturesError("an array that is no .npy of version 1.0")
    (length,) = struct.unpack_from("<H", raw, 8)
    if length > _MAX_HEADER:
        raise _BadFixturesError("a header that is too long")
    header = _HEADER.fullmatch(raw[10 : 10 + length].decode("latin-1"))
    if header is None:
        raise _BadFixturesError("an element type, an order or a header that is not read here")
    text = header["shape"]
    if not _SHAPE.fullmatch(text):
        raise _BadFixturesError("a shape that is not read here")
    shape = tuple(int(part) for part in text.split(",") if part.strip())
    if len(shape) > MAX_RANK + 1 or not 1 <= shape[0] <= MAX_CASES:
        raise _BadFixturesError("a shape outside the limits")
    data = raw[10 + length :]
    dtype = None if header["width"] else BY_NPY[header["kind"]]
    size = 4 * int(header["width"]) if dtype is None else dtype.size
    if size == 0 or len(data) != size * math.prod(shape):
        raise _BadFixturesError("an array whose bytes are not as many as its shape says")
    if dtype is ElementType.BOOL and data.strip(b"\0\1"):
        raise _BadFixturesError("a bool other than 0 and 1")
    return _Array(dtype, shape, data)


def _assemble(arrays: dict[str, _Array]) -> Fixtures:
    cases = _texts(arrays, "case")
    count = len(cases)
    if len(set(cases)) != count:
        raise _BadFixturesError("a case name that stands twice")
    inputs = []
    references = {}
    baselines = {}
    for name, array in arrays.items():
        family, _, member = name.partition(".")
        if family == "input" and member:
            inputs.append(_tensor(array, name, member, count=count))
        elif family == "reference" and member:
            references[member] = _tensor(array, name, member, count=count)
        elif family == "decision" and _SHA256.fullmatch(member):
            baselines[member] = _small_numbers(arrays, name, count=count)
        elif name not in ("case", "cohort", "label", "expected_decision"):
            raise _BadFixturesError("an array of an unknown name")
    if not inputs or len(inputs) > MAX_TENSORS or not references:
        raise _BadFixturesError("no input or no reference")
    if len(baselines) > MAX_BASELINES:
        raise _BadFixturesError(f"decisions of more than {MAX_BASELINES} earlier releases")
    return Fixtures(
        cases=cases,
        cohorts=_texts(arrays, "cohort", count=count),
        labels=_small_numbers(arrays, "label", count=count),
        expected_decisions=_small_numbers(arrays, "expected_decision", count=count),
        references=references,
        inputs=tuple(inputs),
        baselines=baselines,
    )


def _tensor(array: _Array, name: str, member: str, *, count: int) -> FixtureArray:
    if array.dtype is None or array.shape[0] != count:
        raise _BadFixturesError(f"{name}: texts, or another number of cases")
    return FixtureArray(member, array.dtype, array.shape, array.data)


def _expect(
    array: _Array, name: str, *, dtype: ElementType | None, count: int | None = None
) -> None:
    if array.dtype is not dtype or (count is not None and array.shape[0] != count):
        raise _BadFixturesError(f"{name}: another type or number of cases")
    if len(array.shape) != 1:
        raise _BadFixturesError(f"{name}: more than one dimension")


def _texts(arrays: dict[str, _Array], name: str, *, count: int | None = None) -> tuple[str, ...]:
    array = _named(arrays, name)
    _expect(array, name, dtype=None, count=count)
    width = len(array.data) // array.shape[0]
    texts = tuple(
        array.data[at : at + width].decode("utf-32-le", "strict").rstrip("\0")
        for at in range(0, len(array.data), width)
    )
    if not all(len(text) <= _MAX_NAME and _TEXT_NAME.fullmatch(text) for text in texts):
        raise _BadFixturesError(f"{name}: a name that is empty, too long or not plain ASCII")
    return texts


def _small_numbers(arrays: dict[str, _Array], name: str, *, count: int) -> tuple[int, ...]:
    array = _named(arrays, name)
    _expect(array, name, dtype=ElementType.INT8, count=count)
    numbers = struct.unpack(f"<{count}b", array.data)
    if not set(numbers) <= {1, 0, NO_DECISION}:
        raise _BadFixturesError(f"{name}: a value other than 1, 0 and -1")
    return numbers


def _named(arrays: dict[str, _Array], name: str) -> _Array:
    if name not in arrays:
        raise _BadFixturesError(f"no array {name}")
    return arrays[name]
