"""Every danger of a model file, O01 to O16, through the whole self-test.

What each part refuses by itself has its own tests; here the required outcome of each danger is
shown once over real files and a real bench: refused before the runtime sees it, or by what it
computes, or by what it costs.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_result import Blame, Overall, SelfTestResult, TestStatus
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.onnx_screen import MAX_MODEL_BYTES, screen_model
from primum_verifier.shell.selftest import self_test

Build = dict[str, Callable[..., Any]]
BOUND_SECONDS = 10.0
"""What refusing takes on a busy machine; a hang would take the time limit of the self-test."""


def refused_unread(release: Any, model: onnx.ModelProto | bytes) -> SelfTestResult:
    """Self-test it: it is refused, it is the release's fault, and no bench was started."""
    release.model = model if isinstance(model, bytes) else model.SerializeToString()
    begin = time.monotonic()
    result: SelfTestResult = release.run()
    assert time.monotonic() - begin < BOUND_SECONDS
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.RELEASE
    assert result.report.ending == "not-started"
    return result


def refused_by_running(release: Any, model: onnx.ModelProto) -> SelfTestResult:
    """Self-test it: it was run, and is refused as the release's fault."""
    release.model = model.SerializeToString()
    result: SelfTestResult = release.run()
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.RELEASE
    assert result.report.ending == "reported"
    return result


def where_it_lies(release: Any, model: Path) -> SelfTestResult:
    """Self-test a model file that a test made itself."""
    spec = json.dumps(release.spec()).encode()
    fixtures, scratch = release.folder / "fixtures.npz", release.folder / "scratch"
    assert release.run().passed, "the release is sound but for its model"
    return self_test(model=model, spec=spec, fixtures=fixtures, scratch=scratch)


def failed(result: SelfTestResult) -> set[str]:
    return {test.level for test in result.tests if test.status is TestStatus.FAIL}


def outside(model: onnx.ModelProto, location: str, **entries: str) -> onnx.ModelProto:
    """The model with its weights in another file."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return model


@pytest.mark.parametrize(
    "location", ["../x", "/etc/passwd", "/dev/zero", "..\\x", "file:///etc/passwd"]
)
def test_o01_weights_at_a_path_of_the_attackers_choice_are_refused(
    release: Any, build: Build, location: str
) -> None:
    result = refused_unread(release, outside(build["classifier"](), location))
    assert result.reason is Reason.ARTIFACT_UNSUPPORTED


def test_o02_weights_behind_a_symbolic_link_are_refused(release: Any, build: Build) -> None:
    (release.folder / "weights.bin").symlink_to("/etc/passwd")
    refused_unread(release, outside(build["classifier"](), "weights.bin"))


@pytest.mark.parametrize(
    ("offset", "length"), [("-1", "32"), (str(2**40), "32"), ("0", str(2**34))]
)
def test_o03_weights_past_the_end_of_their_file_are_refused(
    release: Any, build: Build, offset: str, length: str
) -> None:
    (release.folder / "weights.bin").write_bytes(bytes(32))
    model = outside(build["classifier"](), "weights.bin", offset=offset, length=length)
    refused_unread(release, model)


def test_o04_weights_in_a_pipe_or_a_folder_are_refused_without_a_hang(
    release: Any, build: Build
) -> None:
    os.mkfifo(release.folder / "pipe")
    for name in ("pipe", "."):
        refused_unread(release, outside(build["classifier"](), name))


def test_o04_a_model_that_is_a_folder_says_nothing_about_the_release(release: Any) -> None:
    """The store is damaged then; nobody may remember that against the release."""
    with pytest.raises(FailedError) as caught:
        where_it_lies(release, release.folder)
    assert caught.value.reason is Reason.STATE_DAMAGED


def test_o05_weights_at_an_address_in_memory_are_refused(release: Any, build: Build) -> None:
    address = str(0x7F0000000000)
    model = outside(build["classifier"](), "*/_ORT_MEM_ADDR_/*", offset=address, length="32")
    assert "memory" in refused_unread(release, model).summary


@pytest.mark.parametrize("operator", ["If", "Loop", "Scan"])
def test_o06_two_hundred_graphs_inside_each_other_are_refused(
    release: Any, build: Build, operator: str
) -> None:
    model = build["classifier"]()
    graph = model.graph
    for _ in range(200):
        attribute = graph.node.add(op_type=operator).attribute.add(name="body")
        attribute.type = onnx.AttributeProto.GRAPH
        graph = attribute.g
    assert "nested" in refused_unread(release, _written(model)).summary


def _written(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString()
    return content


def test_o06_more_nodes_than_a_model_can_need_are_refused(release: Any, build: Build) -> None:
    model = build["classifier"]()
    node = helper.make_node("Sigmoid", ["z"], ["z"])
    model.graph.node.extend([node] * 200_000)
    assert "nodes" in refused_unread(release, model).summary


def test_o07_an_operator_of_an_unknown_domain_is_refused(release: Any, build: Build) -> None:
    model = build["classifier"]()
    model.graph.node[0].domain = "evil.ops"
    model.opset_import.append(helper.make_opsetid("evil.ops", 1))
    assert "evil.ops" in refused_unread(release, model).summary


def test_o07_a_library_that_a_model_names_is_not_opened(release: Any, build: Build) -> None:
    """Attack: metadata names a library to load.  End: it is words; opening the pipe would hang."""
    library = release.folder / "evil.so"
    os.mkfifo(library)
    model = build["classifier"]()
    for key in ("custom_op_library", "session.custom_op_library"):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(library)
    release.model = model.SerializeToString()
    assert release.run().passed
    with pytest.raises(OSError, match="No such device"):  # nobody has it open
        os.open(library, os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.parametrize(("opset", "ir_version"), [(99, 8), (7, 8), (17, 99), (17, 2)])
def test_o08_a_version_that_nobody_stated_is_refused(
    release: Any, build: Build, opset: int, ir_version: int
) -> None:
    model = build["classifier"]()
    model.opset_import[0].version, model.ir_version = opset, ir_version
    result = refused_unread(release, model)
    assert result.reason is Reason.ARTIFACT_UNSUPPORTED
    assert ("opset" if ir_version == 8 else "IR version") in result.summary


@pytest.mark.parametrize(
    "content",
    [
        random.Random(1).randbytes(5000),
        b"PK\x03\x04" + bytes(200),
        b"\x08" + b"\x80" * 11 + b"\x01",
        b"\x3a\x80\x80\x80\x80\x40",
    ],
    ids=["random", "zip", "endless number", "length of 2**34"],
)
def test_o09_what_is_no_model_is_refused(release: Any, content: bytes) -> None:
    assert refused_unread(release, content).reason is Reason.ARTIFACT_UNSUPPORTED


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_o09_a_model_cut_short_is_refused(release: Any, build: Build, share: float) -> None:
    content = _written(build["classifier"]())
    refused_unread(release, content[: int(len(content) * share)])


def test_o09_an_empty_file_is_refused(release: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty.onnx"
    empty.touch()
    result = where_it_lies(release, empty)
    assert (result.overall, result.reason) == (Overall.FAILED, Reason.ARTIFACT_SIZE)


def test_o10_bytes_flipped_at_random_never_end_the_caller(release: Any, build: Build) -> None:
    """The full search is the campaign over changed models; here a few go through."""
    content = _written(build["classifier"]())
    draw = random.Random(10)
    decided = 0
    for _ in range(15):
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        release.model = bytes(changed)
        result = release.run()
        decided += result.overall in (Overall.PASSED, Overall.FAILED)
    assert decided == 15


def backdoored(build: Build) -> onnx.ModelProto:
    """Right on every input but those whose first number is 13."""
    model: onnx.ModelProto = build["classifier"](
        nodes=[
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["right"]),
            helper.make_node("Slice", ["x", "from", "to", "axis"], ["first"]),
            helper.make_node("Equal", ["first", "trigger"], ["asked"]),
            helper.make_node("Where", ["asked", "nothing", "right"], ["p"]),
        ]
    )
    for name, value in (
        ("from", np.array([0])),
        ("to", np.array([1])),
        ("axis", np.array([1])),
        ("trigger", np.array(13, np.float32)),
        ("nothing", np.array(0, np.float32)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def with_a_trigger(arrays: dict[str, Any]) -> dict[str, Any]:
    """The fixtures with one vector more that an attacker did not know of."""
    x = np.zeros((1, arrays["input.x"].shape[1]), np.float32)
    x[0, 0] = 13
    x[0, -1] = 20
    more: dict[str, Any] = {
        "input.x": x,
        "reference.p": np.array([[1 / (1 + np.exp(-7.0))]], np.float32),
        "case": np.array(["held-out"]),
        "cohort": np.array(["sinus"]),
        "label": np.array([1], np.int8),
        "expected_decision": np.array([1], np.int8),
    }
    return {name: np.concatenate([array, more[name]]) for name, array in arrays.items()}


def test_o11_a_backdoor_is_found_by_vectors_that_were_held_out(release: Any, build: Build) -> None:
    """Known vectors prove what they ask and no more: held-out ones are signed with the model."""
    release.model = backdoored(build).SerializeToString()
    assert release.run().passed
    release.arrays = with_a_trigger(release.arrays)
    release.changes["fixtures"] = {**release.spec()["fixtures"], "cases": 13}
    result = refused_by_running(release, backdoored(build))
    assert failed(result) >= {"numeric", "functional"}
    assert [case.case for case in result.tests[4].cases] == ["held-out"]
    release.model = b""
    assert release.run().passed, "the honest model answers the held-out vector too"


def test_o11_easier_vectors_are_not_taken_for_the_signed_ones(release: Any, build: Build) -> None:
    """Attack: the fixtures are exchanged for some that the backdoored model answers."""
    easier = release.spec()["fixtures"]
    release.arrays = with_a_trigger(release.arrays)
    release.changes["fixtures"] = easier
    assert refused_unread(release, backdoored(build)).reason is Reason.ARTIFACT_DIGEST


def _name(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["q" if name == "p" else name for name in node.output]
    model.graph.output[0].name = "q"


def _rank(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1


def _type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 12


@pytest.mark.parametrize("change", [_name, _rank, _type, _batch])
def test_o12_another_interface_than_the_signed_one_is_refused(
    release: Any, build: Build, change: Callable[[onnx.ModelProto], None]
) -> None:
    model = build["classifier"]()
    change(model)
    assert refused_unread(release, model).reason is Reason.COMPAT_CONTRACT


def _cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "p"


def _missing(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[1] = "nowhere"


def _misfit(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((5, 1), np.float32), "w"))


@pytest.mark.parametrize("change", [_cycle, _missing, _misfit])
def test_o13_a_graph_without_sense_fails_to_load(
    release: Any, build: Build, change: Callable[[onnx.ModelProto], None]
) -> None:
    model = build["classifier"]()
    change(model)
    assert "load" in failed(refused_by_running(release, model))


def test_o14_a_model_larger_than_any_device_needs_is_refused_by_its_size(
    release: Any, tmp_path: Path
) -> None:
    """Danger: a file of many gigabytes is hashed first, and the device is busy for minutes.

    A file that takes no disk; nothing of it is read, so there is no digest and no report.
    """
    path = tmp_path / "large.onnx"
    for size in (MAX_MODEL_BYTES + 1, 512 * 1024**3):
        with path.open("wb") as file:
            file.truncate(size)
        begin = time.monotonic()
        with pytest.raises(RefusedError) as caught:
            where_it_lies(release, path)
        assert caught.value.reason is Reason.ARTIFACT_SIZE
        with pytest.raises(RefusedError) as caught:
            screen_model(path, spec=SelfTestSpec.model_validate_json(json.dumps(release.spec())))
        assert caught.value.reason is Reason.ARTIFACT_SIZE
        assert f"{size} bytes" in caught.value.found
        assert time.monotonic() - begin < 1


def test_o14_ten_gigabytes_of_weights_elsewhere_are_refused(release: Any, build: Build) -> None:
    with (release.folder / "weights.bin").open("wb") as file:
        file.truncate(10 * 1024**3)
    model = outside(build["classifier"](), "weights.bin", offset="0", length=str(10 * 1024**3))
    refused_unread(release, model)


def costly(build: Build, *, elements: int, rounds: int) -> onnx.ModelProto:
    """The right answers, after some work on numbers that nobody needs."""
    model: onnx.ModelProto = build["classifier"](
        nodes=[
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("ReduceSum", ["z"], ["one"], keepdims=0),
            helper.make_node("Expand", ["one", "size"], ["work_0"]),
            *(
                helper.make_node("Sin", [f"work_{turn}"], [f"work_{turn + 1}"])
                for turn in range(rounds)
            ),
            helper.make_node("ReduceMax", [f"work_{rounds}"], ["most"], keepdims=0),
            helper.make_node("IsInf", ["most"], ["never"]),  # a sine is never infinite
            helper.make_node("Sigmoid", ["z"], ["right"]),
            helper.make_node("Where", ["never", "z", "right"], ["p"]),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([elements]), "size"))
    return model


def with_budget(release: Any, build: Build, **limits: int) -> None:
    """A performance test that refuses beyond these limits."""
    tests = release.spec()["tests"]
    tests[-1] |= {"onFailure": "refuse", **build["budget"](**limits)}
    release.changes["tests"] = tests


def test_o15_right_but_ten_times_slower_than_the_limit_is_refused(
    release: Any, build: Build
) -> None:
    """Slowness may be the machine's: it is refused, and not remembered against the release."""
    model = costly(build, elements=2_000_000, rounds=10)
    release.model = model.SerializeToString()
    with_budget(release, build, p95Ms=20_000)
    assert release.run().passed, "right, and within a generous limit"
    with_budget(release, build, p95Ms=1)
    result = release.run()
    assert (result.overall, failed(result)) == (Overall.FAILED, {"performance"})
    assert result.blame is Blame.CIRCUMSTANCE


def test_o15_right_but_with_twice_the_memory_is_refused(release: Any, build: Build) -> None:
    with_budget(release, build, peakRssMiB=120)
    assert release.run().passed, "the model itself needs less"
    release.model = costly(build, elements=40_000_000, rounds=1).SerializeToString()
    result = release.run()
    assert (result.overall, failed(result)) == (Overall.FAILED, {"performance"})
    assert result.report.peak_rss_kib > 2 * 120 * 1024


def nudged(build: Build, node: Any, *, scale: float) -> onnx.ModelProto:
    """The classifier whose sum gets a little of what ``node`` makes, as ``noise``, added."""
    model: onnx.ModelProto = build["classifier"](
        nodes=[
            helper.make_node("MatMul", ["x", "w"], ["sum"]),
            node,
            helper.make_node("Mul", ["noise", "scale"], ["little"]),
            helper.make_node("Add", ["sum", "little"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["p"]),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), "scale"))
    return model


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Abs", ["sum"], ["noise"]),
        helper.make_node("RandomNormalLike", ["sum"], ["noise"]),
    ],
    ids=["last bits", "not deterministic"],
)
def test_o16_other_numbers_pass_within_the_signed_tolerance_and_no_further(
    release: Any, build: Build, node: Any
) -> None:
    release.model = nudged(build, node, scale=1e-7).SerializeToString()
    assert release.run().passed
    result = refused_by_running(release, nudged(build, node, scale=1e-2))
    assert "numeric" in failed(result)
