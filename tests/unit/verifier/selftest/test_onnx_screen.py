"""Model files made to harm whoever opens them: all are refused before a runtime sees them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell import onnx_screen
from primum_verifier.shell.onnx_screen import MAX_NESTING, screen_model, screen_model_bytes

Build = dict[str, Callable[..., Any]]


@pytest.fixture
def spec(build: Build) -> SelfTestSpec:
    content = build["specification"](build["npz"](build["cases"]()))
    return SelfTestSpec.model_validate_json(json.dumps(content))


@pytest.fixture
def model(build: Build) -> onnx.ModelProto:
    made: onnx.ModelProto = build["classifier"]()
    return made


def refused(model: onnx.ModelProto | bytes, spec: SelfTestSpec) -> RefusedError:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(RefusedError) as caught:
        screen_model_bytes(content, spec=spec, where="model.onnx")
    return caught.value


def test_a_sound_model_is_let_through(model: onnx.ModelProto, spec: SelfTestSpec) -> None:
    screen_model_bytes(model.SerializeToString(), spec=spec, where="model.onnx")


def _outside(tensor: Any, location: str = "../weights") -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


@pytest.mark.parametrize(
    "location", ["../x", "/dev/zero", "weights.bin", "a\\b", "file:///etc/passwd", "*/x/*"]
)
def test_weights_outside_the_file_are_refused(
    model: onnx.ModelProto, spec: SelfTestSpec, location: str
) -> None:
    _outside(model.graph.initializer[0], location)
    assert "outside" in refused(model, spec).found


def test_external_entries_without_the_mark_are_refused(
    model: onnx.ModelProto, spec: SelfTestSpec
) -> None:
    _outside(model.graph.initializer[0])
    model.graph.initializer[0].ClearField("data_location")
    assert "outside" in refused(model, spec).found


def test_the_mark_without_entries_is_refused(model: onnx.ModelProto, spec: SelfTestSpec) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert "outside" in refused(model, spec).found


def _hide(model: onnx.ModelProto, tensor: Any, where: str) -> None:
    """Put ``tensor`` where a screen that only looks at the main graph does not look."""
    attribute = model.graph.node[0].attribute.add(name="hidden", type=onnx.AttributeProto.INT)
    match where:
        case "attribute":
            attribute.t.CopyFrom(tensor)
        case "attribute list":
            attribute.tensors.add().CopyFrom(tensor)
        case "subgraph":
            attribute.g.initializer.add().CopyFrom(tensor)
        case "subgraph list":
            attribute.graphs.add().initializer.add().CopyFrom(tensor)
        case "subgraph of a subgraph":
            inner = attribute.g.node.add().attribute.add(name="deeper")
            inner.g.initializer.add().CopyFrom(tensor)
        case "sparse values":
            attribute.sparse_tensor.values.CopyFrom(tensor)
        case "sparse list":
            attribute.sparse_tensors.add().indices.CopyFrom(tensor)
        case "sparse initializer":
            model.graph.sparse_initializer.add().values.CopyFrom(tensor)
        case _:
            raise AssertionError(where)


@pytest.mark.parametrize(
    "where",
    [
        "attribute",
        "attribute list",
        "subgraph",
        "subgraph list",
        "subgraph of a subgraph",
        "sparse values",
        "sparse list",
        "sparse initializer",
    ],
)
def test_weights_outside_the_file_are_found_wherever_they_hide(
    model: onnx.ModelProto, spec: SelfTestSpec, where: str
) -> None:
    tensor = TensorProto()
    tensor.CopyFrom(model.graph.initializer[0])
    _outside(tensor)
    _hide(model, tensor, where)
    assert "outside" in refused(model, spec).found


def test_an_address_in_memory_is_refused(model: onnx.ModelProto, spec: SelfTestSpec) -> None:
    model.doc_string = "*/_ORT_MEM_ADDR_/*"
    assert "memory" in refused(model, spec).found


def test_an_operator_of_another_domain_is_refused(
    model: onnx.ModelProto, spec: SelfTestSpec
) -> None:
    model.graph.node[0].domain = "com.microsoft"
    assert "com.microsoft" in refused(model, spec).found


def test_another_operator_set_is_refused(model: onnx.ModelProto, spec: SelfTestSpec) -> None:
    model.opset_import.append(helper.make_opsetid("evil.ops", 1))
    assert "evil.ops" in refused(model, spec).found


def test_an_operator_of_another_domain_in_a_subgraph_is_refused(
    model: onnx.ModelProto, spec: SelfTestSpec
) -> None:
    attribute = model.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH)
    attribute.g.node.add(op_type="Run", domain="evil.ops")
    assert "evil.ops" in refused(model, spec).found


def test_the_default_domain_has_two_spellings(model: onnx.ModelProto, spec: SelfTestSpec) -> None:
    model.graph.node[0].domain = "ai.onnx"
    screen_model_bytes(model.SerializeToString(), spec=spec, where="model.onnx")


def test_functions_of_its_own_are_refused(model: onnx.ModelProto, spec: SelfTestSpec) -> None:
    model.functions.add(name="f")
    assert "functions" in refused(model, spec).found


def test_a_training_graph_is_refused(model: onnx.ModelProto, spec: SelfTestSpec) -> None:
    model.training_info.add()
    assert "training" in refused(model, spec).found


@pytest.mark.parametrize("version", [1, 12, 22, 99, 2**40])
def test_an_operator_set_outside_the_range_is_refused(
    model: onnx.ModelProto, spec: SelfTestSpec, version: int
) -> None:
    model.opset_import[0].version = version
    error = refused(model, spec)
    assert error.reason is Reason.ARTIFACT_UNSUPPORTED
    assert f"opset {version}" in error.found


@pytest.mark.parametrize("others", [[], [("ai.onnx.ml", 3)]])
def test_a_model_without_an_operator_set_of_onnx_is_told_as_that(
    model: onnx.ModelProto, spec: SelfTestSpec, others: list[tuple[str, int]]
) -> None:
    """Danger: somebody looks for an operator set of the number None."""
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*one) for one in others)
    allowed = spec.model_copy(update={"allowed_domains": ("", "ai.onnx.ml")})
    error = refused(model, allowed)
    assert error.found == "no operator set of ai.onnx"
    assert error.reason is Reason.ARTIFACT_UNSUPPORTED


@pytest.mark.parametrize("version", [0, 2, 99])
def test_an_ir_version_nobody_checked_is_refused(
    model: onnx.ModelProto, spec: SelfTestSpec, version: int
) -> None:
    model.ir_version = version
    assert "IR version" in refused(model, spec).found


def test_an_operator_set_that_stands_twice_is_refused(
    model: onnx.ModelProto, spec: SelfTestSpec
) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 99))
    assert "twice" in refused(model, spec).found


def test_a_second_main_graph_is_refused(model: onnx.ModelProto, spec: SelfTestSpec) -> None:
    """Attack: readers disagree on which of two graphs counts.  End: neither does."""
    second = onnx.ModelProto()
    second.graph.name = "other"
    found = refused(model.SerializeToString() + second.SerializeToString(), spec).found
    assert found == "2 main graphs"


def test_graphs_nested_deep_are_refused_without_a_deep_stack(
    model: onnx.ModelProto, spec: SelfTestSpec
) -> None:
    graph = model.graph
    for _ in range(MAX_NESTING):
        attribute = graph.node.add(op_type="If").attribute.add(name="then_branch")
        attribute.type = onnx.AttributeProto.GRAPH
        graph = attribute.g
        graph.name = "inner"
    assert "nested" in refused(model, spec).found


def test_a_million_nodes_are_refused_in_bounded_time(
    model: onnx.ModelProto, spec: SelfTestSpec
) -> None:
    node = helper.make_node("Sigmoid", ["z"], ["z"]).SerializeToString()
    field = b"\x0a" + bytes([len(node)]) + node  # GraphProto.node
    body = model.graph.SerializeToString() + field * 1_000_000
    length = len(body)
    size = bytearray()
    while length:
        size.append((length & 0x7F) | (0x80 if length > 0x7F else 0))
        length >>= 7
    model.ClearField("graph")
    begin = time.process_time()
    refused(model.SerializeToString() + b"\x3a" + bytes(size) + body, spec)
    assert time.process_time() - begin < 5


def test_more_nodes_than_allowed_are_refused(model: onnx.ModelProto, spec: SelfTestSpec) -> None:
    for _ in range(onnx_screen.MAX_NODES):
        model.graph.node.add()
    assert "nodes" in refused(model, spec).found


def test_a_flood_of_tiny_fields_is_refused_in_bounded_time(spec: SelfTestSpec) -> None:
    begin = time.process_time()
    assert "more fields" in refused(b"\x08\x08" * 2_000_000, spec).found
    assert time.process_time() - begin < 10


def _rename(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "y"


def _retype(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _widen(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 9


def _flatten(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[1]


def _free(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "m"


def _unstated(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param")


def _fixed(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _extra_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))


def _extra_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [8, 1]))


@pytest.mark.parametrize(
    "change",
    [
        _rename, _retype, _widen, _flatten, _free, _unstated, _fixed, _extra_output, _extra_input,
    ],
)  # fmt: skip
def test_an_interface_other_than_the_signed_one_is_refused(
    model: onnx.ModelProto, spec: SelfTestSpec, change: Callable[[onnx.ModelProto], None]
) -> None:
    change(model)
    error = refused(model, spec)
    assert error.reason is Reason.COMPAT_CONTRACT
    assert error.found != error.expected


def test_a_weight_among_the_inputs_is_a_constant_only_in_files_that_have_to_list_it(
    model: onnx.ModelProto, spec: SelfTestSpec
) -> None:
    """Danger: a weight that a caller may set is an input that nobody signed."""
    _extra_input(model)
    assert refused(model, spec).reason is Reason.COMPAT_CONTRACT
    model.ir_version = 3
    screen_model_bytes(model.SerializeToString(), spec=spec, where="model.onnx")
    model.graph.input[-1].name = "v"
    assert "'v'" in refused(model, spec).found
    model.graph.initializer[0].name = "x"  # an input that is signed is no constant
    model.graph.input[-1].name = "x"
    assert refused(model, spec).found == "none"


@pytest.mark.parametrize(
    "content",
    [
        b"\x00",
        b"PK\x03\x04" + b"\x00" * 100,
        b"\xff" * 64,
        b"\x3a\x80\x80\x80\x80\x40",  # a graph of 2**34 bytes
        b"\x08" + b"\x80" * 11 + b"\x01",  # a number that never ends
        b"\x0b\x0c",  # groups, which ONNX does not use
        b"not a model",
    ],
)
def test_what_is_no_model_is_refused(spec: SelfTestSpec, content: bytes) -> None:
    assert refused(content, spec).reason is Reason.ARTIFACT_UNSUPPORTED


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x02\x00", "field number 0"),
        (b"\x88\x80\x80\x80\x80\x01\x00", "field number"),  # beyond 2**29 - 1
        (b"\x08" + b"\x80" * 10 + b"\x01", "more than 10 bytes"),
        (b"\x08\x80", "cut short"),
        (b"\x3a\x02\x00", "reaches past"),
        (b"\x0b", "wire type 3"),
    ],
)
def test_each_way_to_break_the_wire_format_is_named(
    spec: SelfTestSpec, content: bytes, found: str
) -> None:
    assert found in refused(content, spec).found


def test_an_empty_or_an_enormous_file_is_refused_by_its_size(
    spec: SelfTestSpec, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    with pytest.raises(RefusedError) as caught:
        screen_model(path, spec=spec)
    assert caught.value.reason is Reason.ARTIFACT_SIZE
    with path.open("wb") as file:
        file.truncate(onnx_screen.MAX_MODEL_BYTES + 1)
    with pytest.raises(RefusedError) as caught:
        screen_model(path, spec=spec)
    assert caught.value.reason is Reason.ARTIFACT_SIZE


def test_a_file_that_cannot_be_read_says_nothing_about_the_model(
    spec: SelfTestSpec, tmp_path: Path
) -> None:
    with pytest.raises(FailedError):
        screen_model(tmp_path / "missing.onnx", spec=spec)
    with pytest.raises(FailedError):
        screen_model(tmp_path, spec=spec)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(content=st.binary(max_size=400))
def test_random_bytes_give_a_refusal_and_nothing_else(spec: SelfTestSpec, content: bytes) -> None:
    refused(content, spec)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500)
@given(data=st.data())
def test_a_damaged_model_gives_a_refusal_or_passes_and_nothing_else(
    model: onnx.ModelProto, spec: SelfTestSpec, data: st.DataObject
) -> None:
    content = bytearray(model.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(1, len(content)))
    with contextlib.suppress(RefusedError):
        screen_model_bytes(bytes(content[:cut]), spec=spec, where="model.onnx")
