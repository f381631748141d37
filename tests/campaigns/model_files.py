"""Mutations of what stands around a model's graph: versions, words, files outside, the interface.

Most of them are to be refused before a runtime sees the file.
"""

from __future__ import annotations

import random

import onnx
from onnx import TensorProto, helper
from tests.campaigns.model_graphs import Change, any_node

# The file around the graph


def _opset(model: onnx.ModelProto, draw: random.Random) -> None:
    model.opset_import[0].version = draw.choice((0, 1, 6, 12, 13, 16, 18, 21, 26, 99, 2**40))


def _ir_version(model: onnx.ModelProto, draw: random.Random) -> None:
    model.ir_version = draw.choice((0, 2, 3, 4, 7, 9, 10, 13, 14, 99))


def _functions(model: onnx.ModelProto, draw: random.Random) -> None:
    name = any_node(model, draw).op_type
    model.functions.add(name=name, domain=draw.choice(("", "evil.ops")))


def _training(model: onnx.ModelProto, draw: random.Random) -> None:
    model.training_info.add().algorithm.name = draw.choice(("", "step"))


def _words(model: onnx.ModelProto, draw: random.Random) -> None:
    """What is only said about the model; the last is the runtime's mark for an address."""
    match draw.randrange(4):
        case 0:
            model.doc_string = "x" * draw.randint(0, 40)
        case 1:
            model.producer_name = f"tool {draw.randrange(100)}"
        case 2:
            entry = model.metadata_props.add()
            entry.key = "session.custom_op_library"
            entry.value = f"/opt/evil-{draw.randrange(9)}.so"
        case _:
            model.graph.doc_string = "*/_ORT_MEM_ADDR_/*"


def _outside(model: onnx.ModelProto, draw: random.Random) -> None:
    """Weights in another file, as an export of a large model has them."""
    tensor = draw.choice(model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    where = ("weights.bin", "../../x", "/dev/zero", "/proc/self/environ", "*/_ORT_MEM_ADDR_/*")
    for key, value in (
        ("location", draw.choice(where)),
        ("offset", str(draw.choice((0, -1, 2**40)))),
        ("length", str(draw.choice((4, 2**34)))),
    ):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


# The interface


def _rename(model: onnx.ModelProto, draw: random.Random) -> None:
    """Another name, in the interface alone or wherever it stands."""
    value = draw.choice([*model.graph.input, *model.graph.output])
    former, name = value.name, draw.choice(("x", f"{value.name}_", value.name.upper(), ""))
    value.name = name
    if draw.random() < 0.7:
        for node in model.graph.node:
            for names in (node.input, node.output):
                for place, one in enumerate(names):
                    if one == former:
                        names[place] = name


def _reorder_inputs(model: onnx.ModelProto, draw: random.Random) -> None:
    """The inputs in another order; half of the time each takes the other's name too."""
    first, second = model.graph.input
    if draw.random() < 0.5:
        first.name, second.name = second.name, first.name
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(first)
    first.CopyFrom(second)
    second.CopyFrom(copy)


def _value_type(model: onnx.ModelProto, draw: random.Random) -> None:
    value = draw.choice([*model.graph.input, *model.graph.output])
    kinds = (TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.STRING, 0, 77)
    value.type.tensor_type.elem_type = draw.choice(kinds)


def _value_shape(model: onnx.ModelProto, draw: random.Random) -> None:
    """Another rank, size or batch in the interface."""
    value = draw.choice([*model.graph.input, *model.graph.output])
    shape = value.type.tensor_type.shape
    match draw.randrange(4):
        case 0:
            del shape.dim[draw.randrange(len(shape.dim))]
        case 1:
            shape.dim[1].dim_value += draw.choice((-1, 1, 2**40))
        case 2:
            shape.dim[0].dim_value = draw.choice((1, 2, 64))
        case _:
            shape.dim[1].dim_param = "m"


def _more_or_fewer(model: onnx.ModelProto, draw: random.Random) -> None:
    """One output or input more, or one input less than signed."""
    match draw.randrange(3):
        case 0:
            name = any_node(model, draw).output[0]
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1])
            model.graph.output.append(info)
        case 1:
            name = draw.choice(model.graph.initializer).name
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
            model.graph.input.append(info)
        case _:
            del model.graph.input[draw.randrange(2)]


FILE_CHANGES: dict[str, Change] = {
    "opset": _opset,
    "ir-version": _ir_version,
    "functions": _functions,
    "training": _training,
    "words": _words,
    "outside": _outside,
    "rename": _rename,
    "reorder-inputs": _reorder_inputs,
    "value-type": _value_type,
    "value-shape": _value_shape,
    "more-or-fewer": _more_or_fewer,
}
"""Every mutation of a file around its graph, by name."""
