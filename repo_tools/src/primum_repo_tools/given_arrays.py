"""Cases from the arrays of whoever recorded them: one ``.npz``, or a folder of ``.npy`` files.

==================================  ============================================================
``input.NAME``                      [n, ...] one input of the model, in the model's own type
``case``, ``cohort``                [n] texts
``label``                           [n] 1, 0, or -1 unlabelled
``reference.NAME``                  may stand there: outputs that are known already
``expected_decision``               may stand there: 1, 0, or -1 no decision
``decision.SHA256``                 may stand there: what an earlier release decided
==================================  ============================================================

Nothing is unpickled: an array of objects is refused.
"""

from __future__ import annotations

import io
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from primum_repo_tools.files import read_input
from primum_repo_tools.given_cases import (
    Array,
    GivenCases,
    check_names,
    shown,
    tensors_of,
    wrong_cases,
)
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MIB
from primum_verifier.proof.selftest_spec import Interface

MAX_ARRAYS_BYTES = 512 * MIB
"""What is read of one file or folder; fixtures themselves are far smaller."""

MAX_ARRAYS = 256
"""Arrays in one file or folder."""

_UNREADABLE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, UserWarning, struct.error, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and zipfile raise over damaged bytes: neither has one family of errors."""

_TAKES = "arrays input.NAME, case, cohort and label, row by row; no objects"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[\w.:/-]{1,120}", re.ASCII)
_SIGNED = {-1, 0, 1}


def cases_from_arrays(path: Path, interface: Interface) -> GivenCases:
    """The cases in a file or folder of arrays.

    Args:
        path: an ``.npz`` file, or a folder of ``.npy`` files.
        interface: of the model that they are for.

    Raises:
        UsageError: it cannot be read, or something in it does not fit; told by array.
    """
    arrays = read_arrays(path)
    where = str(path)
    families: dict[str, dict[str, Array]] = {"input": {}, "reference": {}, "decision": {}}
    plain: dict[str, Array] = {}
    for name, array in arrays.items():
        family, _, member = name.partition(".")
        if family in families and member:
            families[family][member] = array
        elif name in ("case", "cohort", "label", "expected_decision"):
            plain[name] = array
        else:
            raise wrong_cases(where, f"an array {name}", _TAKES, "Leave out what is no fixture.")
    for name in ("case", "cohort", "label"):
        if name not in plain:
            raise wrong_cases(where, f"no array {name}", _TAKES, _remedy_without(name))
    cases = _texts(plain["case"], "case", where=where)
    check_names(cases, where=where)
    count = len(cases)
    references = families["reference"]
    given = (
        tensors_of(references, interface.outputs, family="reference", count=count, where=where)
        if references
        else ()
    )
    return GivenCases(
        where=where,
        cases=cases,
        cohorts=_texts(plain["cohort"], "cohort", where=where, count=count),
        labels=_signs(plain["label"], "label", where=where, count=count),
        inputs=tensors_of(
            families["input"], interface.inputs, family="input", count=count, where=where
        ),
        references={array.name: array for array in given},
        expected=_signs(plain["expected_decision"], "expected_decision", where=where, count=count)
        if "expected_decision" in plain
        else None,
        baselines=_baselines(families["decision"], where=where, count=count),
    )


def read_arrays(path: Path) -> dict[str, Array]:
    """Every array of an ``.npz`` file or of a folder of ``.npy`` files, none of them pickled.

    Raises:
        UsageError: missing, unreadable, too large or too many.
    """
    return _folder(path) if path.is_dir() else _archive(path)


def read_array(path: Path) -> Array:
    """The one array of an ``.npy`` file, not pickled.

    Raises:
        UsageError: missing, unreadable or too large.
    """
    raw = read_input(path, what="array", max_bytes=MAX_ARRAYS_BYTES)
    return _array(raw, str(path))


def _folder(folder: Path) -> dict[str, Array]:
    paths = sorted(folder.glob("*.npy"))
    _check_number(len(paths), folder)
    left = MAX_ARRAYS_BYTES
    arrays = {}
    for path in paths:
        raw = read_input(path, what="array", max_bytes=left)
        left -= len(raw)
        arrays[path.name.removesuffix(".npy")] = _array(raw, str(path))
    return arrays


def _archive(path: Path) -> dict[str, Array]:
    data = read_input(path, what="arrays", max_bytes=MAX_ARRAYS_BYTES)
    arrays = {}
    left = MAX_ARRAYS_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_number(len(entries), path)
            for entry in entries:
                with archive.open(entry) as member:
                    raw = member.read(left + 1)  # the stated size may lie
                left -= len(raw)
                if left < 0:
                    raise wrong_cases(
                        str(path),
                        f"more than {MAX_ARRAYS_BYTES} bytes of arrays",
                        f"at most {MAX_ARRAYS_BYTES} bytes",
                        "Choose the cases first.",
                    )
                name = entry.filename.removesuffix(".npy")
                arrays[name] = _array(raw, f"{path}: {name}")
    except _UNREADABLE as error:
        raise _unreadable(str(path), error) from error
    return arrays


def _array(raw: bytes, where: str) -> Array:
    try:
        with warnings.catch_warnings():
            # numpy repairs headers that Python 2 wrote, with a warning; none is wanted here.
            warnings.simplefilter("error")
            loaded: Array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except _UNREADABLE as error:
        raise _unreadable(where, error) from error
    return loaded


def _check_number(count: int, path: Path) -> None:
    if not 1 <= count <= MAX_ARRAYS:
        raise wrong_cases(
            str(path),
            f"{count} arrays",
            f"1 to {MAX_ARRAYS} arrays, in an .npz file or as .npy files in a folder",
            "Write them with numpy.savez(path, **arrays).",
        )


def _unreadable(where: str, error: BaseException) -> UsageError:
    return wrong_cases(
        where,
        f"{type(error).__name__}: {error}"[:200],
        "arrays in NPY format without objects",
        "Write them with numpy.savez(path, **arrays); texts as numpy.array of str.",
    )


def _remedy_without(name: str) -> str:
    if name == "cohort":
        return "Say which group each case belongs to; decisions and flips are counted by cohort."
    if name == "label":
        return "Say what is true of each case: 1, 0, or -1 where nobody knows."
    return "Give each case a name that leads back to its recording."


def _texts(array: Array, name: str, *, where: str, count: int | None = None) -> tuple[str, ...]:
    if array.dtype.kind != "U" or array.ndim != 1 or (count is not None and len(array) != count):
        raise wrong_cases(
            where,
            f"{name}: {array.dtype} of shape {list(array.shape)}",
            f"texts, one for each {'case' if count is None else f'of {count} cases'}",
            f"Write {name} as numpy.array of str, one row for each case.",
        )
    texts = tuple(array.tolist())
    bad = [text for text in texts if not _NAME.fullmatch(text)]
    if bad:
        raise wrong_cases(
            where,
            f"{name}: {shown([repr(text)[:60] for text in bad])}",
            "1 to 120 ASCII letters, digits and _ . : / -",
            "Names stand in reports of devices: write them plainly, and nobody's name in them.",
        )
    return texts


def _signs(array: Array, name: str, *, where: str, count: int) -> tuple[int, ...]:
    if array.dtype.kind not in "iub" or array.shape != (count,):
        raise wrong_cases(
            where,
            f"{name}: {array.dtype} of shape {list(array.shape)}",
            f"whole numbers, one for each of {count} cases",
            f'Write {name} as array.astype("int8"), one row for each case.',
        )
    numbers = tuple(int(number) for number in array.tolist())
    if not set(numbers) <= _SIGNED:
        raise wrong_cases(
            where,
            f"{name}: {shown([str(number) for number in sorted(set(numbers) - _SIGNED)])}",
            "1, 0 and -1 alone",
            "One finding is tested at one operating point: say for each case whether it is there.",
        )
    return numbers


def _baselines(
    arrays: Mapping[str, Array], *, where: str, count: int
) -> dict[str, tuple[int, ...]]:
    for release in arrays:
        if not _SHA256.fullmatch(release):
            raise wrong_cases(
                where,
                f"an array decision.{release[:80]}",
                "decision.SHA256, by the manifest of an earlier release",
                "primum-repo status shows the digest of each release.",
            )
    return {
        release: _signs(array, f"decision.{release}", where=where, count=count)
        for release, array in arrays.items()
    }
