"""What a model file says of itself: interface, operator set and domains, as a self-test signs it.

Read with the ``onnx`` package, on the release side alone.  What a device could not take is told
here, before anybody records cases for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from primum_repo_tools.files import read_input
from primum_repo_tools.settings import checked_settings
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.element_types import BY_ONNX
from primum_verifier.proof.selftest_spec import BATCH, Interface
from primum_verifier.shell.onnx_screen import MAX_MODEL_BYTES


@dataclass(frozen=True, kw_only=True)
class ModelInterface:
    """What a model states.

    Attributes:
        interface: its inputs and outputs.
        opset: the version of ``ai.onnx`` that it uses.
        domains: the operator domains that it names; the empty one is ``ai.onnx``.
    """

    interface: Interface
    opset: int
    domains: tuple[str, ...]


def interface_of(path: Path) -> ModelInterface:
    """The interface of a model file.

    Raises:
        UsageError: no ONNX model, or one whose inputs or outputs no self-test can state.
    """
    where = str(path)
    try:
        model = onnx.ModelProto.FromString(
            read_input(path, what="model", max_bytes=MAX_MODEL_BYTES)
        )
    except DecodeError as error:
        raise _not_taken(where, str(error)[:200], "an ONNX model", "Export it as ONNX.") from error
    opsets = {_plain(entry.domain): int(entry.version) for entry in model.opset_import}
    if "" not in opsets:
        raise _not_taken(where, "no operator set of ai.onnx", "an ONNX model", "Export it as ONNX.")
    weights = {tensor.name for tensor in model.graph.initializer}
    if doubled := [value.name for value in model.graph.input if value.name in weights]:
        raise _not_taken(
            where,
            f"weights among the inputs: {', '.join(doubled[:5])}",
            "inputs that are data, and weights that are none",
            "Export with IR version 4 or later and without keep_initializers_as_inputs.",
        )
    interface = {
        family: [_tensor(value, where) for value in values]
        for family, values in (("inputs", model.graph.input), ("outputs", model.graph.output))
    }
    return ModelInterface(
        interface=checked_settings(Interface, interface, where=where),
        opset=opsets[""],
        domains=tuple(sorted(opsets)),
    )


def _tensor(value: Any, where: str) -> dict[str, object]:  # noqa: ANN401 - protobuf has no types
    if value.type.WhichOneof("value") != "tensor_type":
        raise _not_taken(
            where, f"{value.name}: no tensor", "tensors of numbers", "Give the model tensors."
        )
    stated = value.type.tensor_type
    if stated.elem_type not in BY_ONNX:
        raise _not_taken(
            where,
            f"{value.name}: element type {stated.elem_type}",
            "floating, whole and bool numbers",
            "Give the model numbers that a self-test can compare.",
        )
    if not stated.HasField("shape"):
        raise _not_taken(where, f"{value.name}: no shape", "a stated shape", _FIXED)
    shape: list[object] = []
    for place, dimension in enumerate(stated.shape.dim):
        if dimension.WhichOneof("value") == "dim_value" and dimension.dim_value > 0:
            shape.append(int(dimension.dim_value))
        elif place == 0 and dimension.dim_param:
            shape.append(BATCH)
        else:
            found = f"{value.name}: dimension {place} is {dimension.dim_param or 'not stated'}"
            raise _not_taken(where, found, "fixed dimensions, but for a named batch first", _FIXED)
    return {"name": value.name, "dtype": str(BY_ONNX[stated.elem_type]), "shape": shape}


_FIXED = "Fix it at export: a device runs one case at a time, and every case has one shape."


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _not_taken(where: str, found: str, expected: str, remedy: str) -> UsageError:
    return UsageError(
        "No self-test can be stated for this model.",
        reason=Reason.USAGE,
        where=where,
        found=found,
        expected=expected,
        remedy=remedy,
    )
