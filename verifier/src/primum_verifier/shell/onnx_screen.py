"""Reads an ONNX model before anything trusts it: what the runtime will see is bounded and known.

A model file is hostile input to native code.  Before the runtime opens it, this module walks the
protobuf structure by itself and refuses what the signed specification does not allow:

1. a size, a nesting or a number of nodes that no such model needs;
2. data outside the file: another path, or an address in memory;
3. operators of a domain that is not listed, functions and training graphs, which could bring some;
4. an operator set version outside the stated range;
5. inputs or outputs other than the signed interface says.

It leaves to the confined bench whether the graph makes sense.  Field numbers are those of
``onnx.proto`` at IR version 13, the newest that onnxruntime 1.31 loads.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.limits import MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.element_types import BY_ONNX
from primum_verifier.proof.selftest_spec import BATCH, SelfTestSpec, TensorSpec
from primum_verifier.shell.protobuf_walk import BYTES, VARINT, Field, MalformedError, Walk

MAX_MODEL_BYTES = 512 * MIB
"""Beyond this a model is no wearable's; the protobuf limit of 2 GiB is never approached."""

MAX_NODES = 20_000
"""Operators in all graphs together: a million of them only costs the runtime memory and time."""

MAX_NESTING = 8
"""Graphs inside graphs (Loop, If, Scan); deeper ones exist to exhaust a stack."""

MAX_FIELDS = 1_000_000
"""Protobuf fields visited in all: about a second on a slow core."""

MIN_IR, MAX_IR = 3, 13
"""IR versions whose field numbers this module knows."""

_MAX_STRING = 1024
_MEMORY_MARKER = b"_ORT_MEM_ADDR_"
"""The runtime's own mark for "this tensor lies at that address"; in a file it is an attack."""

_CONSTANTS_ARE_INPUTS = 3
"""The IR version in which every weight stands among the inputs too, and is a constant for it:
a runtime takes no other value.  From 4 on such an input is one that a caller may set."""

_TEXTS = 8
_EXTERNAL = 1
_ANY_SHAPE = ("any",)

_Tensor = tuple[str, str, tuple[int | str, ...]]
"""Name, element type and shape as the file states them."""


def screen_model(path: Path, *, spec: SelfTestSpec) -> None:
    """Refuse the model at ``path`` unless its structure is what ``spec`` allows.

    Args:
        path: the model file; its digest was checked by the caller.
        spec: the signed specification that states interface, operator sets and domains.

    Raises:
        RefusedError: ``artifact.size``, ``artifact.unsupported`` or ``compat.contract``.
        FailedError: the file cannot be read here; nothing may be concluded about the model.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            check_size(size, where=path.name)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                screen_model_bytes(content, spec=spec, where=path.name)
    except OSError as error:
        raise FailedError(
            "The model file cannot be read.",
            reason=Reason.STATE_DAMAGED,
            where=str(path),
            found=str(error.strerror or error),
            expected="a regular file",
            remedy="Check the content store, then try again.",
        ) from error


def screen_model_bytes(content: bytes | mmap.mmap, *, spec: SelfTestSpec, where: str) -> None:
    """As :func:`screen_model`, over bytes; ``where`` heads the error."""
    check_size(len(content), where=where)
    if content.find(_MEMORY_MARKER) >= 0:
        raise _unsupported("a reference to an address in memory", "weights in the file", where)
    with memoryview(content) as view:
        try:
            _Screen(view, spec=spec, where=where).model()
        except MalformedError as error:
            raise _unsupported(str(error), "a well-formed ONNX model", where) from error


class _Screen:
    """One walk: the rules of this module, each beside the field it guards."""

    def __init__(self, view: memoryview, *, spec: SelfTestSpec, where: str) -> None:
        self._size = len(view)
        self._walk = Walk(view, max_fields=MAX_FIELDS)
        self._spec = spec
        self._where = where
        self._nodes = 0
        self._ir_version = 0
        # "ai.onnx" is another spelling of the default domain.
        self._domains = {_plain_domain(domain) for domain in spec.allowed_domains}

    def model(self) -> None:
        """ModelProto: the versions, then the graph; nothing else may carry operators."""
        opsets: dict[str, int] = {}
        graphs: list[Field] = []
        for field in self._walk.fields(0, self._size):
            match field.number:
                case 1:
                    self._ir_version = self._number(field)
                case 8:
                    domain, version = self._opset(field)
                    if domain in opsets:
                        raise self._refuse(f"operator set {domain!r} twice", "each once")
                    opsets[domain] = version
                case 7:
                    graphs.append(field)
                case 20:
                    raise self._refuse("a training graph", "inference only")
                case 25:
                    raise self._refuse("functions of its own", "operators of the listed domains")
                case _:
                    pass
        if not MIN_IR <= self._ir_version <= MAX_IR:
            expected = f"IR version {MIN_IR} to {MAX_IR}"
            raise self._refuse(f"IR version {self._ir_version}", expected)
        self._check_opsets(opsets)
        if len(graphs) != 1:
            raise self._refuse(f"{len(graphs)} main graphs", "one")
        self._graph(graphs[0], depth=1, main=True)

    def _check_opsets(self, opsets: dict[str, int]) -> None:
        for domain in opsets:
            self._check_domain(domain)
        low, high = self._spec.opset_min, self._spec.opset_max
        found = opsets.get("")
        if found is None or not low <= found <= high:
            told = "no operator set of ai.onnx" if found is None else f"opset {found}"
            raise self._refuse(told, f"opset {low} to {high} of ai.onnx")

    def _opset(self, field: Field) -> tuple[str, int]:
        domain, version = "", 0
        for inner in self._message(field):
            match inner.number:
                case 1:
                    domain = self._walk.text(inner, max_bytes=_MAX_STRING)
                case 2:
                    version = self._number(inner)
                case _:
                    pass
        return _plain_domain(domain), version

    def _graph(self, field: Field, *, depth: int, main: bool = False) -> None:
        """GraphProto, and through its nodes every graph inside it."""
        if depth > MAX_NESTING:
            raise self._refuse(f"graphs nested deeper than {MAX_NESTING}", f"{MAX_NESTING} levels")
        inputs: list[Field] = []
        outputs: list[Field] = []
        weights: list[Field] = []
        for inner in self._message(field):
            match inner.number:
                case 1:
                    self._node(inner, depth=depth)
                case 5:
                    self._tensor(inner)
                    weights.append(inner)
                case 15:
                    self._sparse_tensor(inner)
                case 11:
                    inputs.append(inner)
                case 12:
                    outputs.append(inner)
                case _:
                    pass
        if main:
            if self._ir_version == _CONSTANTS_ARE_INPUTS:
                constants = {self._name(one, number=8) for one in weights}
                inputs = [one for one in inputs if self._name(one, number=1) not in constants]
            self._check_interface("input", inputs, self._spec.interface.inputs)
            self._check_interface("output", outputs, self._spec.interface.outputs)

    def _node(self, field: Field, *, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._refuse(f"more than {MAX_NODES} nodes", f"at most {MAX_NODES}")
        for inner in self._message(field):
            match inner.number:
                case 7:
                    # A domain that stands twice is checked twice: whichever is taken is listed.
                    domain = self._walk.text(inner, max_bytes=_MAX_STRING)
                    self._check_domain(_plain_domain(domain))
                case 5:
                    self._attribute(inner, depth=depth)
                case _:
                    pass

    def _attribute(self, field: Field, *, depth: int) -> None:
        """AttributeProto: its stated type is not believed, everything in it is walked."""
        for inner in self._message(field):
            match inner.number:
                case 5 | 10:
                    self._tensor(inner)
                case 6 | 11:
                    self._graph(inner, depth=depth + 1)
                case 22 | 23:
                    self._sparse_tensor(inner)
                case _:
                    pass

    def _sparse_tensor(self, field: Field) -> None:
        for inner in self._message(field):
            if inner.number in (1, 2):
                self._tensor(inner)

    def _tensor(self, field: Field) -> None:
        """TensorProto: its data stands in the file and nowhere else."""
        for inner in self._message(field):
            match inner.number:
                case 13:
                    outside = True
                case 14:
                    outside = self._number(inner) == _EXTERNAL
                case _:
                    outside = False
            if outside:
                raise self._refuse("weights outside the model file", "all weights in the file")

    def _name(self, field: Field, *, number: int) -> str:
        """The text that stands in a message as this field; empty where none does."""
        name = ""
        for inner in self._message(field):
            if inner.number == number:
                name = self._walk.text(inner, max_bytes=_MAX_STRING)
        return name

    def _check_interface(
        self, what: str, found: list[Field], expected: tuple[TensorSpec, ...]
    ) -> None:
        shown = [self._value_info(field) for field in found]
        wanted: list[_Tensor] = [(one.name, one.dtype, one.shape) for one in expected]
        if shown != wanted:
            raise RefusedError(
                f"The model's {what}s are not those of the signed interface.",
                reason=Reason.COMPAT_CONTRACT,
                where=self._where,
                found=_shown_interface(shown),
                expected=_shown_interface(wanted),
                remedy="Build the release again from the model that the specification describes.",
            )

    def _value_info(self, field: Field) -> _Tensor:
        name, dtype = "", "no type"
        shape: tuple[int | str, ...] = ()
        for inner in self._message(field):
            match inner.number:
                case 1:
                    name = self._walk.text(inner, max_bytes=_MAX_STRING)
                case 2:
                    dtype, shape = self._type(inner)
                case _:
                    pass
        return name, dtype, shape

    def _type(self, field: Field) -> tuple[str, tuple[int | str, ...]]:
        dtype: str = "not a tensor"
        shape: tuple[int | str, ...] = ()
        has_shape = False
        for inner in self._message(field):
            if inner.number != 1:  # only TypeProto.tensor_type is a tensor
                continue
            for part in self._message(inner):
                match part.number:
                    case 1:
                        number = self._number(part)
                        other = "texts" if number == _TEXTS else f"element type {number}"
                        dtype = BY_ONNX.get(number, other)
                    case 2:
                        has_shape = True
                        shape += tuple(
                            self._dimension(dim) for dim in self._message(part) if dim.number == 1
                        )
                    case _:
                        pass
        # A shape without dimensions is a single number; no shape at all may become any.
        return dtype, shape if has_shape else _ANY_SHAPE

    def _dimension(self, field: Field) -> int | str:
        """One dimension: a number, :data:`BATCH` for a named one, "?" for an unknown one."""
        found: int | str = "?"
        for inner in self._message(field):
            match inner.number:
                case 1:
                    found = self._number(inner)
                case 2:
                    found = BATCH if self._walk.text(inner, max_bytes=_MAX_STRING) else "?"
                case _:
                    pass
        return found

    def _check_domain(self, domain: str) -> None:
        if domain not in self._domains:
            raise self._refuse(
                f"operators of the domain {domain!r:.80}",
                "only " + ", ".join(name or "ai.onnx" for name in sorted(self._domains)),
            )

    def _message(self, field: Field) -> Iterator[Field]:
        if field.wire != BYTES:
            raise MalformedError(f"field {field.number} at byte {field.start} is no message")
        return self._walk.fields(field.start, field.end)

    def _number(self, field: Field) -> int:
        if field.wire != VARINT:
            raise MalformedError(f"field {field.number} at byte {field.start} is no number")
        return field.value

    def _refuse(self, found: str, expected: str) -> RefusedError:
        return _unsupported(found, expected, self._where)


def _plain_domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _shown_interface(tensors: list[_Tensor]) -> str:
    shown = [
        f"{name!r:.80}: {dtype}[{', '.join(str(dimension) for dimension in shape[:16])}]"
        for name, dtype, shape in tensors[:16]
    ]
    return "; ".join(shown) or "none"


def check_size(size: int, *, where: str) -> None:
    """Refuse a file that is empty or larger than any model may be, before anything of it is read.

    Raises:
        RefusedError: ``artifact.size``.
    """
    if not 0 < size <= MAX_MODEL_BYTES:
        raise RefusedError(
            "The model file has no acceptable size.",
            reason=Reason.ARTIFACT_SIZE,
            where=where,
            found=f"{size} bytes",
            expected=f"1 to {MAX_MODEL_BYTES} bytes",
        )


def _unsupported(found: str, expected: str, where: str) -> RefusedError:
    return RefusedError(
        "The model is not one that this device may load.",
        reason=Reason.ARTIFACT_UNSUPPORTED,
        where=where,
        found=found,
        expected=expected,
        remedy="Export the model again within the stated limits; nothing was loaded.",
    )
