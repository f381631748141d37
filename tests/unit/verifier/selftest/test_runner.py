"""A model that computes confined for as long as it is asked, whatever it does to its process."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.unit.verifier.selftest.conftest import (
    FEATURES,
    classifier,
    hanging_model,
    known_cases,
    npz,
    specification,
)

from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.confinement import COMPLETE, Confinement
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.runner import ConfinedModel

Make = Callable[..., ConfinedModel]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ConfinedModel] = []
    spec = parse_document(
        SelfTestSpec, canonical_json(specification(npz(known_cases()))), where="spec"
    )

    def build(model: onnx.ModelProto | None = None, **given: Any) -> ConfinedModel:
        path = tmp_path / f"model-{len(made)}.onnx"
        onnx.save(model or classifier(), str(path))
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        made.append(
            ConfinedModel(
                model=path,
                interface=spec.interface,
                memory_mib=1024,
                scratch=scratch,
                **given,
            )
        )
        return made[-1]

    yield build
    for model in made:
        model.close()
    assert not list((tmp_path / "scratch").glob("*")), "nothing is left behind"


def asked(model: ConfinedModel, case: int = 0, *, seconds: float = 20.0) -> float:
    x = known_cases()["input.x"][case]
    outputs = model.compute({"x": x.astype("<f4").tobytes()}, seconds=seconds)
    (value,) = struct.unpack("<f", outputs["p"])
    return float(value)


def test_the_same_numbers_come_out_as_in_the_self_test_case_after_case(make: Make) -> None:
    model = make()
    reference = known_cases()["reference.p"][:, 0]
    found = [asked(model, case) for case in range(len(reference))]
    np.testing.assert_allclose(found, reference, rtol=1e-5)
    assert model.starts == 1, "it is loaded once"
    assert model.peak_kib() > 0


def test_it_runs_under_every_confinement_that_this_system_holds(make: Make) -> None:
    serving = make(required=COMPLETE).start()
    assert set(serving.confinements) == set(Confinement)
    assert serving.load_microseconds > 0
    assert serving.runtime["onnxruntime"]


def test_a_model_that_hangs_costs_one_question_and_is_ended(make: Make) -> None:
    model = make(hanging_model())
    model.start()
    process = model._process
    assert process is not None
    with pytest.raises(FailedError) as raised:
        asked(model, seconds=0.5)
    assert raised.value.reason is Reason.SELFTEST_TIMEOUT
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_process_that_died_between_two_questions_is_started_anew(make: Make) -> None:
    model = make()
    first = asked(model)
    process = model._process
    assert process is not None
    os.kill(process.pid, 9)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert asked(model) == first
    assert model.starts == 2


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"x": b""},
        {"x": b"\0" * (4 * FEATURES - 1)},
        {"x": b"\0" * (4 * FEATURES + 4)},
        {"y": b"\0" * 4 * FEATURES},
        {"x": b"\0" * 4 * FEATURES, "y": b""},
    ],
)
def test_a_question_of_another_interface_is_refused_and_costs_nothing(
    make: Make, inputs: dict[str, bytes]
) -> None:
    model = make()
    first = asked(model)
    with pytest.raises(FailedError) as raised:
        model.compute(inputs, seconds=20.0)
    assert raised.value.reason is Reason.COMPAT_CONTRACT
    assert asked(model) == first
    assert model.starts == 1


def test_a_model_that_cannot_compute_a_case_says_so_and_goes_on(make: Make) -> None:
    """The declared batch is free, the graph wants two: every case fails, and nothing dies."""
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["z"]),
        onnx.helper.make_node("Reshape", ["z", "two"], ["p"]),
    ]
    broken = classifier(nodes=nodes)
    two = onnx.numpy_helper.from_array(np.array([2, 1]), "two")
    broken.graph.initializer.append(two)
    model = make(broken)
    for _ in range(2):
        with pytest.raises(FailedError) as raised:
            asked(model)
        assert raised.value.reason is Reason.COMPAT_CONTRACT
    assert model.starts == 1


def test_a_model_that_does_not_load_is_told(make: Make) -> None:
    nodes = [onnx.helper.make_node("NoSuchOperator", ["x"], ["p"])]
    with pytest.raises(FailedError) as raised:
        make(classifier(nodes=nodes)).start()
    assert raised.value.reason is Reason.SELFTEST_INCOMPLETE
    assert "NoSuchOperator" in raised.value.found


_SERVING = (
    "import json, os, sys\nfd = int(sys.argv[1])\nsys.stdin.buffer.raw.read(65536)\n"
    'os.write(fd, json.dumps({"frame": "serving", "runtime": {}, "provider": "none",'
    ' "confinements": [], "loadUs": 1}).encode() + b"\\n")\nsys.stdin.buffer.raw.read(65536)\n'
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (_SERVING + "os.write(fd, b'\\0' + b'x' * 3)", Reason.SELFTEST_INCOMPLETE),
        (_SERVING + "os.kill(os.getpid(), 11)", Reason.SELFTEST_INCOMPLETE),
        (_SERVING + "os.close(fd)", Reason.SELFTEST_INCOMPLETE),
        (_SERVING + "import time; time.sleep(60)", Reason.SELFTEST_TIMEOUT),
        (
            _SERVING + "import time\nos.write(2, b'x' * 10_000_000)\ntime.sleep(60)",
            Reason.SELFTEST_TIMEOUT,
        ),
        (_SERVING + "os.write(fd, b'\\1\\xff\\xff' + b'x' * 70000)", Reason.COMPAT_CONTRACT),
        ("import os, sys\nos.write(int(sys.argv[1]), b'x' * 99999)", Reason.SELFTEST_INCOMPLETE),
        ("import os, sys\nos.write(int(sys.argv[1]), b'[]\\n')", Reason.SELFTEST_INCOMPLETE),
        ("import sys\nsys.exit(1)", Reason.SELFTEST_INCOMPLETE),
    ],
)
def test_whatever_a_taken_over_process_answers_the_caller_lives_and_is_told(
    make: Make, body: str, reason: Reason
) -> None:
    model = make(command=(sys.executable, "-I", "-c", body))
    with pytest.raises(FailedError) as raised:
        asked(model, seconds=2.0)
    assert raised.value.reason is reason


def test_without_a_required_confinement_no_model_is_loaded(make: Make) -> None:
    refusal = (
        "import json, os, sys\nsys.stdin.buffer.raw.read(65536)\n"
        'os.write(int(sys.argv[1]), json.dumps({"frame": "unable", "problem": "confinement",'
        ' "text": "this system does not hold: landlock"}).encode() + b"\\n")\n'
    )
    with pytest.raises(FailedError) as raised:
        make(command=(sys.executable, "-I", "-c", refusal)).start()
    assert "landlock" in raised.value.found
