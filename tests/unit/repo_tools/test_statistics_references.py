"""Each statistic beside papers, definitions and other packages; one table, also for people."""

from __future__ import annotations

import pytest
from tests.benchmarks.references import REFERENCES, Reference, main


@pytest.mark.parametrize(
    "reference", REFERENCES, ids=lambda one: f"{one.method} beside {one.source}"
)
def test_a_statistic_is_what_its_source_says(reference: Reference) -> None:
    if reference.needs:
        pytest.skip(f"needs {reference.source}: make references")
    assert reference.deviation() <= reference.allowed


def test_a_deviation_that_is_too_large_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    off = Reference("a guess", "a paper", lambda: iter([(1.0, 1.1), (2.0, 2.0)]), 0.05)
    monkeypatch.setattr("tests.benchmarks.references.REFERENCES", (off,))
    assert main([]) == 1
    assert "TOO FAR" in capsys.readouterr().out
