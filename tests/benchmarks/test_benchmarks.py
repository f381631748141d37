"""A benchmark that is called wrongly, or asked what it is, says so; none ends in a traceback."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from tests.benchmarks.figures import arguments, keep

HERE = Path(__file__).parent
BENCHMARKS = sorted(
    path.stem for path in HERE.glob("*.py") if "\ndef main(" in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_explains_itself_and_refuses_what_it_does_not_know(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"tests.benchmarks.{name}")
    for words, code in ((["--help"], 0), (["--no-such-option"], 2), (["many"], 2)):
        monkeypatch.setattr(sys, "argv", [f"tests.benchmarks.{name}", *words])
        with pytest.raises(SystemExit) as ended:
            module.main()
        assert ended.value.code == code, words
        told = capsys.readouterr()
        if not code:
            assert "--json FILE" in told.out
            assert str(module.__doc__).strip().splitlines()[0] in told.out


def test_figures_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    options = arguments("What it is.").parse_args(["--json", str(path)])
    assert json.loads(keep({"ratio": 0.5}, options.json)) == json.loads(path.read_text())
    assert keep({"ratio": 0.5}, None)
