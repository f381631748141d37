"""Mutations of a model's graph: what a wrong export, a careless hand or an attacker makes of it.

Each takes the model as onnx reads it and a seeded source, and changes it in place; what comes out
is a file that protobuf reads, and often one that runs.  Those of weights alone are in
:mod:`tests.campaigns.model_weights`, those around the graph in
:mod:`tests.campaigns.model_files`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Change = Callable[[onnx.ModelProto, random.Random], None]

_UNARY = ("Relu", "Sigmoid", "Abs", "Neg", "Tanh", "Exp", "Sqrt", "Identity", "Floor", "Softplus")
_BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
_TESTS = ("LessOrEqual", "GreaterOrEqual", "Less", "Greater", "Equal", "And", "Or", "Xor")
_FAMILIES = (_UNARY, _BINARY, _TESTS, ("ReduceMax", "ReduceMin", "ReduceMean", "ReduceL2"))


def node_of(model: onnx.ModelProto, output: str) -> Any:
    """The node that makes ``output``."""
    return next(node for node in model.graph.node if output in node.output)


def weights_of(model: onnx.ModelProto, name: str) -> Any:
    """The initialiser of this name."""
    return next(one for one in model.graph.initializer if one.name == name)


def any_node(model: onnx.ModelProto, draw: random.Random) -> Any:
    return draw.choice(model.graph.node)


# Nodes


def _exchange_inputs(model: onnx.ModelProto, draw: random.Random) -> None:
    node = draw.choice([node for node in model.graph.node if len(node.input) > 1])
    one, other = draw.sample(range(len(node.input)), 2)
    node.input[one], node.input[other] = node.input[other], node.input[one]


def _exchange_operators(model: onnx.ModelProto, draw: random.Random) -> None:
    one, other = draw.sample(list(model.graph.node), 2)
    one.op_type, other.op_type = other.op_type, one.op_type


def _exchange_nodes(model: onnx.ModelProto, draw: random.Random) -> None:
    """Two nodes in each other's place in the file: the order is part of the format."""
    nodes = list(model.graph.node)
    one, other = draw.sample(range(len(nodes)), 2)
    nodes[one], nodes[other] = nodes[other], nodes[one]
    _put_nodes(model, nodes)


def _put_nodes(model: onnx.ModelProto, nodes: list[Any]) -> None:
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _drop_node(model: onnx.ModelProto, draw: random.Random) -> None:
    """Without the node; half of the time what needed it takes what it took."""
    node = draw.choice(model.graph.node)
    made, taken = node.output[0], node.input[0]
    model.graph.node.remove(node)
    if draw.random() < 0.5:
        for other in model.graph.node:
            for place, name in enumerate(other.input):
                if name == made:
                    other.input[place] = taken


def _other_operator(model: onnx.ModelProto, draw: random.Random) -> None:
    """Another operator of the same family, as an off-by-one in a table of them would give."""
    known = [node for node in model.graph.node if any(node.op_type in one for one in _FAMILIES)]
    node = draw.choice(known)
    family = next(one for one in _FAMILIES if node.op_type in one)
    node.op_type = draw.choice([one for one in family if one != node.op_type])


def _unknown_operator(model: onnx.ModelProto, draw: random.Random) -> None:
    any_node(model, draw).op_type = draw.choice(("Siqmoid", "", "relu", "QLinearConv"))


def _other_domain(model: onnx.ModelProto, draw: random.Random) -> None:
    domain = draw.choice(("com.microsoft", "ai.onnx.ml", "ai.onnx", "evil.ops", "ai.onnx.training"))
    any_node(model, draw).domain = domain
    if draw.random() < 0.5:
        model.opset_import.append(helper.make_opsetid(domain, 1))


def _attribute(model: onnx.ModelProto, draw: random.Random) -> None:
    node = draw.choice([node for node in model.graph.node if node.attribute])
    attribute = draw.choice(node.attribute)
    match draw.randrange(3):
        case 0 if attribute.type == onnx.AttributeProto.INTS:
            place = draw.randrange(len(attribute.ints))
            attribute.ints[place] += draw.choice((-2, -1, 1, 2, 2**40))
        case 1:
            attribute.name = draw.choice(("axes", "axis", "pads", "no-such"))
        case _:
            attribute.i += draw.choice((-2, -1, 1, 2, 2**40))
            if attribute.ints:
                attribute.ints.append(1)


def _without_attribute(model: onnx.ModelProto, draw: random.Random) -> None:
    node = draw.choice([node for node in model.graph.node if node.attribute])
    node.attribute.remove(draw.choice(node.attribute))


def _missing_input(model: onnx.ModelProto, draw: random.Random) -> None:
    node = any_node(model, draw)
    node.input[draw.randrange(len(node.input))] = draw.choice(("nowhere", ""))


def _cycle(model: onnx.ModelProto, draw: random.Random) -> None:
    nodes = model.graph.node
    early, late = sorted(draw.sample(range(len(nodes)), 2))
    nodes[early].input[0] = nodes[late].output[0]


def _double_node(model: onnx.ModelProto, draw: random.Random) -> None:
    """One output made twice, or an equal node beside with an output of its own."""
    node = onnx.NodeProto()
    node.CopyFrom(any_node(model, draw))
    if draw.random() < 0.5:
        node.output[0] += "_again"
    model.graph.node.append(node)


def _between(model: onnx.ModelProto, draw: random.Random, nodes: Callable[[str, str], Any]) -> None:
    """Put nodes between an output that is no truth value and whoever takes it."""
    node = draw.choice([node for node in model.graph.node if node.op_type not in _TESTS])
    name = node.output[0]
    node.output[0] = f"{name}_before"
    kept = list(model.graph.node)
    at = kept.index(node) + 1
    _put_nodes(model, [*kept[:at], *nodes(f"{name}_before", name), *kept[at:]])


def _identity(model: onnx.ModelProto, draw: random.Random) -> None:
    """What changes nothing: to be let through, or refused where a type does not fit."""
    _between(model, draw, lambda made, name: [helper.make_node("Identity", [made], [name])])


def _half_precision_cast(model: onnx.ModelProto, draw: random.Random) -> None:
    """A value goes through a smaller type and back, as a mixed-precision export does."""
    small = draw.choice((TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8))
    _between(
        model,
        draw,
        lambda made, name: [
            helper.make_node("Cast", [made], [f"{name}_small"], to=small),
            helper.make_node("Cast", [f"{name}_small"], [name], to=TensorProto.FLOAT),
        ],
    )


# Control flow


def _loop(model: onnx.ModelProto, draw: random.Random) -> None:
    """One turn, none, a few, or more than anybody waits for, of a body that adds a number."""
    step = draw.choice((0.0, 0.0, 1e-3, 0.5))
    rounds = draw.choice((0, 1, 1, 3, 10, 2**62))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Add", ["carried", "step"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
        [numpy_helper.from_array(np.array(step, np.float32), "step")],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(rounds), "rounds"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.bool_), "yes"))
    _between(
        model,
        draw,
        lambda made, name: [helper.make_node("Loop", ["rounds", "yes", made], [name], body=body)],
    )


def _branch(model: onnx.ModelProto, draw: random.Random) -> None:
    """An If that always takes one branch; the other gives another number."""
    branches = []
    for place, change in enumerate(("Identity", draw.choice(("Identity", "Neg", "Sqrt")))):
        out = f"branch_{place}"
        branches.append((out, change))
    taken = draw.random() < 0.5
    model.graph.initializer.append(numpy_helper.from_array(np.array(taken, np.bool_), "taken"))

    def nodes(made: str, name: str) -> list[Any]:
        then, other = (
            helper.make_graph(
                [helper.make_node(change, [made], [out])],
                out,
                [],
                [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
            )
            for out, change in branches
        )
        return [helper.make_node("If", ["taken"], [name], then_branch=then, else_branch=other)]

    _between(model, draw, nodes)


def _nested(model: onnx.ModelProto, draw: random.Random) -> None:
    """Branches inside branches, to exhaust the stack of whoever follows them."""
    graph = model.graph
    for _ in range(draw.choice((3, 8, 40, 120))):
        attribute = graph.node.add(op_type="If", input=["taken"], output=["x"]).attribute.add()
        attribute.name, attribute.type = "then_branch", onnx.AttributeProto.GRAPH
        attribute.g.name = "inner"
        graph = attribute.g


# Axes and order


def _wrong_axis(model: onnx.ModelProto, draw: random.Random) -> None:
    """Over the batch, where it should be over the samples."""
    axes = [
        (node, attribute)
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name in ("axes", "axis")
    ]
    _, attribute = draw.choice(axes)
    if attribute.ints:
        attribute.ints[0] = draw.choice((0, -1, 2, -2))
    else:
        attribute.i = draw.choice((0, -1, 2, -2))


def _exchange_intervals(model: onnx.ModelProto, draw: random.Random) -> None:
    """The export mistake that the demo knows, and its two relatives."""
    names = list(node_of(model, "rr_before").output)
    former = list(names)
    while names == former:
        draw.shuffle(names)
    node_of(model, "rr_before").output[:] = names


GRAPH_CHANGES: dict[str, Change] = {
    "exchange-inputs": _exchange_inputs,
    "exchange-operators": _exchange_operators,
    "exchange-nodes": _exchange_nodes,
    "drop-node": _drop_node,
    "other-operator": _other_operator,
    "unknown-operator": _unknown_operator,
    "other-domain": _other_domain,
    "attribute": _attribute,
    "without-attribute": _without_attribute,
    "missing-input": _missing_input,
    "cycle": _cycle,
    "double-node": _double_node,
    "identity": _identity,
    "half-precision-cast": _half_precision_cast,
    "loop": _loop,
    "branch": _branch,
    "nested": _nested,
    "wrong-axis": _wrong_axis,
    "exchange-intervals": _exchange_intervals,
}
"""Every mutation of nodes and of how they are joined, by name."""
