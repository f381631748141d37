"""The weights of two versions of an ONNX model, laid beside each other.

Training changes nearly every weight a little and the layout hardly at all, so the bytes of a
weight have their like in the old file although no sixteen of them are equal.  What is found here
is a hint: a delta made with it is checked like any other, and a file that is no model has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from primum_repo_tools.deltas.alignment import Bytes, Run
from primum_verifier.shell.protobuf_walk import BYTES, Field, MalformedError, Walk

MAX_FIELDS = 1_000_000
_MAX_NAME = 1024

# Field numbers of onnx.proto.
_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_ATTRIBUTE, _ATTRIBUTE_TENSOR = 5, 5

_WIDTHS = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes of one element, by the number of its type in onnx.proto."""

_MIN_BYTES = 256
"""Smaller tensors are found, if at all, among the other bytes."""


@dataclass(frozen=True)
class Weights:
    """One tensor of the new file and its like in the old one.

    Attributes:
        run: where its bytes stand in both.
        width: bytes of one element.
    """

    run: Run
    width: int


@dataclass(frozen=True)
class _Tensor:
    name: str
    start: int
    end: int
    width: int

    @property
    def form(self) -> tuple[int, int]:
        return self.end - self.start, self.width


def matching_weights(old: Bytes, new: Bytes) -> list[Weights]:
    """The tensors that both files hold in the same form, in the order of ``new``.

    They are told by their names, and those without a namesake by their order.
    """
    before, after = _tensors(old), _tensors(new)
    by_name = {(tensor.name, tensor.form): tensor for tensor in before}
    pairs = [(by_name.pop((tensor.name, tensor.form), None), tensor) for tensor in after]
    left: dict[tuple[int, int], list[_Tensor]] = {}
    for tensor in by_name.values():
        left.setdefault(tensor.form, []).append(tensor)
    found = []
    at = 0
    for known, tensor in sorted(pairs, key=lambda pair: pair[1].start):
        others = left.get(tensor.form)
        like = known or (others.pop(0) if others else None)
        if like is not None and tensor.start >= at:
            found.append(Weights(Run(tensor.start, tensor.end, like.start), tensor.width))
            at = tensor.end
    return found


def _tensors(data: Bytes) -> list[_Tensor]:
    """Every tensor of a model; none where the bytes are no model."""
    view = data.data
    walk = Walk(view, max_fields=MAX_FIELDS)
    try:
        return [
            tensor
            for graph in walk.fields(0, len(view))
            if (graph.number, graph.wire) == (_GRAPH, BYTES)
            for tensor in _of_graph(walk, graph)
        ]
    except MalformedError:
        return []


def _of_graph(walk: Walk, graph: Field) -> Iterator[_Tensor]:
    nodes = 0
    for field in walk.fields(graph.start, graph.end):
        if field.wire != BYTES:
            continue
        if field.number == _INITIALIZER:
            yield from _of_tensor(walk, field, otherwise="")
        elif field.number == _NODE:
            nodes += 1
            for inner in walk.fields(field.start, field.end):
                if (inner.number, inner.wire) == (_ATTRIBUTE, BYTES):
                    yield from _of_attribute(walk, inner, otherwise=f"node {nodes}")


def _of_attribute(walk: Walk, attribute: Field, *, otherwise: str) -> Iterator[_Tensor]:
    for field in walk.fields(attribute.start, attribute.end):
        if (field.number, field.wire) == (_ATTRIBUTE_TENSOR, BYTES):
            yield from _of_tensor(walk, field, otherwise=otherwise)


def _of_tensor(walk: Walk, tensor: Field, *, otherwise: str) -> Iterator[_Tensor]:
    # TensorProto: data_type is 2, float_data 4, name 8, raw_data 9.
    name, element, content = "", 0, None
    for field in walk.fields(tensor.start, tensor.end):
        match field.number, field.wire:
            case 2, 0:
                element = field.value
            case 8, 2:
                name = walk.text(field, max_bytes=_MAX_NAME)
            case ((9 | 4), 2):
                content = field
            case _:
                pass
    width = _WIDTHS.get(element)
    if width is None or content is None or content.end - content.start < _MIN_BYTES:
        return
    if (content.end - content.start) % width == 0:
        yield _Tensor(name or otherwise, content.start, content.end, width)
