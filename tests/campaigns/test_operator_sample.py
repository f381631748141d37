"""Some operator tests of the ``onnx`` package as self-tests, held against the page of them all."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tests.campaigns.model_oracle import NOT_LOADED, RAN
from tests.campaigns.model_parent import Verdict
from tests.campaigns.operator_campaign import Bench, reason_of, run, versions, wrong_with
from tests.campaigns.operator_cases import (
    Case,
    NoFixturesError,
    made_cases,
    state,
    stored_cases,
)
from tests.campaigns.operator_oracle import Plain
from tests.campaigns.operator_page import GROUPS, PAGE, Result, page, read_page

EVERY_STORED, EVERY_MADE = 6, 60


def test_operator_tests_that_nobody_here_wrote_come_out_as_the_page_says(tmp_path: Path) -> None:
    """Each sixth that is stored and each sixtieth that is made; both judges agree on all."""
    told = read_page()
    cases = [
        *islice(stored_cases(), 0, None, EVERY_STORED),
        *islice(made_cases(), 0, None, EVERY_MADE),
    ]
    bench = Bench(tmp_path)
    passed = 0
    try:
        for case in cases:
            outcome = bench.test(case)
            assert outcome.faults == (), case.name
            assert outcome.result.group == told.get(case.name, ""), outcome.result
            passed += not outcome.result.group
    finally:
        bench.close()
    assert bench.parent.deaths == 0
    print(f"{len(cases)} cases, {passed} pass")


def test_the_page_is_of_the_packages_that_are_installed() -> None:
    text = PAGE.read_text("utf-8")
    for name, number in versions().items():
        assert f"{name} {number}" in text, "run make campaign-operators"


def test_a_run_that_is_complete_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = list(islice(stored_cases(), 4))
    to, kept = tmp_path / "page.md", tmp_path / "kept"
    assert run(cases, seconds=0, kept=kept, again=False, to=to) == 0
    assert not to.exists()
    assert "4 were not tried" in capsys.readouterr().out
    assert run(cases, seconds=60, kept=kept, again=False, to=to) == 0
    assert "of 4 cases pass" in to.read_text()
    capsys.readouterr()
    assert run(cases, seconds=0, kept=kept, again=False, to=to) == 0
    assert "4 cases, 4 tried before" in capsys.readouterr().out


def test_what_the_page_says_can_be_read_again(tmp_path: Path) -> None:
    results = [
        Result(kind="node", name=f"test_{place}_{turn}", group=group, detail=detail)
        for place, group in enumerate(("", *GROUPS))
        for turn, detail in enumerate(("", "some: words `of` a runtime"))
    ]
    to = tmp_path / "page.md"
    to.write_text(page(results, versions={"onnx": "1"}))
    assert read_page(to) == {one.name: one.group for one in results if one.group}


def test_two_judges_that_disagree_are_a_finding() -> None:
    passed = Verdict(overall="passed", ending="reported")
    numbers = Verdict(overall="failed", ending="reported", failed=("numeric",))
    load = Verdict(overall="failed", ending="reported", failed=("load",))
    agrees, differs = Plain(ended=RAN, agrees=True), Plain(ended=RAN, off="1 of 2 float32")
    refuses = Plain(ended=NOT_LOADED, error="Could not find an implementation for Cos(7) node")
    for verdict, plain in ((passed, agrees), (numbers, differs), (load, refuses)):
        assert wrong_with(verdict, plain) == []
    for verdict, plain in (
        (passed, differs), (passed, refuses), (numbers, agrees), (load, agrees), (load, differs),
        (numbers, refuses),
    ):  # fmt: skip
        assert wrong_with(verdict, plain), (verdict, plain)
    assert reason_of(passed, agrees) == ("", "")
    assert reason_of(load, refuses) == ("operator not implemented", "Cos(7)")
    assert reason_of(numbers, differs) == ("other numbers", "1 of 2 float32")


@pytest.mark.parametrize(
    ("kind", "shape", "group"),
    [
        (TensorProto.STRING, [1], "element type"),
        (TensorProto.BFLOAT16, [1], "element type"),
        (TensorProto.FLOAT, [2, "n"], "open shape"),
        (TensorProto.FLOAT, None, "open shape"),
        (TensorProto.FLOAT, [0], "empty tensor"),
        (TensorProto.FLOAT, [3], "data of another type or shape"),
        (TensorProto.FLOAT, [1] * 9, "interface"),
    ],
)
def test_what_cannot_be_stated_is_said(kind: int, shape: list[int | str], group: str) -> None:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "one",
        [info("x", TensorProto.FLOAT, [1])],
        [info("y", kind, shape)],
    )
    import numpy as np

    size = [0] if shape == [0] else [1] * len(shape or [1])
    data = (([np.zeros(1, np.float32)], [np.zeros(size, np.float32)]),)
    model: bytes = helper.make_model(graph).SerializeToString()
    with pytest.raises(NoFixturesError) as caught:
        state(Case("node", "one", model, data, 1e-3, 1e-7))
    assert caught.value.group == group


def test_models_and_tolerances_are_taken_as_they_are() -> None:
    case = next(stored_cases())
    stated = state(case)
    assert stated.model == case.model
    assert b'"absTol": "0.0000001"' in stated.spec
    assert b'"relTol": "0.001"' in stated.spec
    assert onnx.load_model_from_string(stated.model).graph.node
