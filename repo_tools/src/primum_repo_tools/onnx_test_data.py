"""Cases from ONNX test data: folders ``test_data_set_N`` with ``input_K.pb`` and ``output_K.pb``.

Each folder is one case.  The files are ``TensorProto``; the K-th belongs to the K-th input or
output of the model.  The outputs that lie there are what somebody else's runtime computed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from primum_repo_tools.files import read_input
from primum_repo_tools.given_cases import (
    Array,
    GivenCases,
    check_names,
    plain_bytes,
    shown,
    wrong_cases,
)
from primum_verifier.core.errors import UsageError
from primum_verifier.proof.fixtures import MAX_FIXTURE_BYTES, NO_LABEL, FixtureArray
from primum_verifier.proof.selftest_spec import BATCH, Interface, Tensors, TensorSpec

_FOLDERS = "test_data_set_*"
_REMEDY = "Name the folder that holds test_data_set_0 and the others, as the ONNX model zoo has it."


def cases_from_test_data(folder: Path, interface: Interface, *, cohort: str) -> GivenCases:
    """The cases in a folder of ONNX test data.

    Args:
        folder: holds ``test_data_set_0`` and so on.
        interface: of the model that they are for.
        cohort: the group that all of them belong to.

    Returns:
        The cases without labels; with references where every one of them has its outputs.

    Raises:
        UsageError: no such folder, a file that is no tensor, or one that does not fit.
    """
    sets = sorted(
        (path for path in folder.glob(_FOLDERS) if path.is_dir()),
        key=lambda path: (len(path.name), path.name),
    )
    where = str(folder)
    if not sets:
        raise wrong_cases(where, f"no folder {_FOLDERS}", "at least one", _REMEDY)
    cases = tuple(path.name for path in sets)
    check_names(cases, where=where)
    with_outputs = [path for path in sets if any(path.glob("output_*.pb"))]
    if with_outputs and len(with_outputs) != len(sets):
        without = [path.name for path in sets if path not in with_outputs]
        raise wrong_cases(
            where,
            f"no outputs in {shown(without)}",
            "outputs in each folder, or in none",
            "Take the folders without outputs away, or all outputs.",
        )
    outputs = _stacked(sets, "output", interface.outputs) if with_outputs else ()
    return GivenCases(
        where=where,
        cases=cases,
        cohorts=(cohort,) * len(cases),
        labels=(NO_LABEL,) * len(cases),
        inputs=_stacked(sets, "input", interface.inputs),
        references={array.name: array for array in outputs},
    )


def _stacked(sets: list[Path], family: str, tensors: Tensors) -> tuple[FixtureArray, ...]:
    rows = [_files(folder, family, tensors) for folder in sets]
    return tuple(
        FixtureArray(
            tensor.name,
            tensor.dtype,
            (len(rows), *tensor.case_shape),
            b"".join(row[place] for row in rows),
        )
        for place, tensor in enumerate(tensors)
    )


def _files(folder: Path, family: str, tensors: Tensors) -> list[bytes]:
    """The bytes of one case for each input or output of the model, in its order."""
    paths = [folder / f"{family}_{place}.pb" for place in range(len(tensors))]
    there = set(folder.glob(f"{family}_*.pb"))
    if there != set(paths):
        raise wrong_cases(
            str(folder),
            f"{family}s: {shown(sorted(path.name for path in there)) or 'none'}",
            shown([path.name for path in paths]),
            f"The model has {len(tensors)} {family}s, and each has one file.",
        )
    return [_case(path, tensor) for path, tensor in zip(paths, tensors, strict=True)]


def _case(path: Path, tensor: TensorSpec) -> bytes:
    array, name = _tensor(path)
    where = str(path)
    if name and name != tensor.name:
        raise wrong_cases(
            where, f"a tensor {name}", tensor.name, "Number the files in the model's own order."
        )
    if array.dtype.name != tensor.dtype:
        raise wrong_cases(
            where, str(array.dtype.name), str(tensor.dtype), "Take the data of this very model."
        )
    if tensor.shape[:1] == (BATCH,) and array.shape[:1] not in ((), (1,)):
        raise wrong_cases(
            where,
            f"a batch of {array.shape[0]}",
            "a batch of 1: a device runs one case at a time",
            "Write a folder for each row, or read them as arrays with --arrays.",
        )
    if array.shape != tensor.call_shape:
        raise wrong_cases(
            where,
            f"shape {list(array.shape)}",
            f"shape {list(tensor.call_shape)}",
            "Take the data of this very model.",
        )
    return plain_bytes(array, tensor.dtype)


def _tensor(path: Path) -> tuple[Array, str]:
    data = read_input(path, what="tensor", max_bytes=MAX_FIXTURE_BYTES)
    where = str(path)
    try:
        proto = onnx.TensorProto.FromString(data)
    except DecodeError as error:
        raise _no_tensor(where, str(error)[:200]) from error
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        raise _no_tensor(where, "its numbers lie in another file")
    try:
        return np.asarray(numpy_helper.to_array(proto)), proto.name
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise _no_tensor(where, f"{type(error).__name__}: {error}"[:200]) from error


def _no_tensor(where: str, found: str) -> UsageError:
    return wrong_cases(
        where,
        found,
        "a TensorProto with its numbers in it",
        "Sequences, maps and numbers outside the file are not read.",
    )
