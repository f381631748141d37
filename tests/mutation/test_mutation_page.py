"""The page of surviving changes says what the explanations say, and the copy means the same."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mutation_page import PAGE, Change, Wording, explanations, page, wordings
from undecorated import undecorated

VERIFIER = Path(__file__).resolve().parents[2] / "verifier" / "src" / "primum_verifier"
JUDGING = sorted(path for part in ("core", "keeping") for path in (VERIFIER / part).glob("*.py"))
ENTRY = Change("a.b", "above", "x < 1", "x <= 1").as_toml().replace('equivalent = ""', "")


def written(folder: Path, *entries: str) -> Path:
    path = folder / "explained.toml"
    path.write_text("\n".join(entries))
    return path


def test_the_page_is_written_from_the_explanations() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(explanations(), wordings())


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([ENTRY], "one of the two"),
        ([ENTRY + 'equivalent = ""'], "one of the two"),
        ([ENTRY + 'equivalent = "a"\nkilled_by = "b"'], "one of the two"),
        ([ENTRY + 'equivalent = "a"', ENTRY + 'equivalent = "b"'], "stands twice"),
        ([ENTRY + 'killed_by = "tests/mutation/gone.py::test_a"'], "there is no test"),
        ([ENTRY + 'killed_by = "tests/mutation/test_mutation_page.py::test_a"'], "no test"),
    ],
)
def test_an_explanation_that_explains_nothing_is_refused(
    tmp_path: Path, entries: list[str], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        explanations(written(tmp_path, *entries))


@pytest.mark.parametrize("text", ["plain", "it's", 'a\n"b"', "tab\\d|'"])
def test_what_is_printed_can_be_filled_in(tmp_path: Path, text: str) -> None:
    change = Change("a.b", text, text, text)
    path = written(tmp_path, change.as_toml().replace('""', '"nobody sees it"'))
    (found,) = explanations(path)
    assert found.change == change


@pytest.mark.parametrize(
    ("was", "becomes", "covered"),
    [
        ('refused("not here", 1)', 'refused("XXnot hereXX", 1)', True),
        ('refused("not here", "x y")', 'refused("NOT HERE", "x y")', True),
        ('refused("not here", 1)', "refused(None, 1)", False),
        ('refused("not here", 1)', 'refused("XXnot hereXX", 2)', False),
        ('role == "safety"', 'role == "XXsafetyXX"', False),
        ("now < end", "now <= end", False),
    ],
)
def test_only_a_sentence_is_wording(was: str, becomes: str, *, covered: bool) -> None:
    change = Change("core.rules_a.holds", "", was, becomes)
    assert Wording("core.rules_*", "read by people").covers(change) is covered
    assert not Wording("core.verdict.*", "read by people").covers(change)


def test_sentences_without_a_reason_are_refused(tmp_path: Path) -> None:
    entry = '[[wording]]\nfunctions = "a.*"\nwhy = ""'
    with pytest.raises(ValueError, match="no reason"):
        wordings(written(tmp_path, entry))


@pytest.mark.parametrize("path", JUDGING, ids=lambda path: path.stem)
def test_the_copy_that_is_changed_is_the_same_program(path: Path) -> None:
    source = path.read_text()
    plain = undecorated(source)
    names = [node.name for node in ast.walk(ast.parse(source)) if hasattr(node, "name")]
    assert [node.name for node in ast.walk(ast.parse(plain)) if hasattr(node, "name")] == names
    compile(plain, str(path), "exec")


def test_decorators_apply_in_their_order() -> None:
    source = (
        "def twice(function):\n    return lambda: function() * 2\n"
        "def plus(number):\n    return lambda function: lambda: function() + number\n"
        "class A:\n    @staticmethod\n    def kept():\n        return 1\n"
        "    @property\n    def shown(self):\n        return 5\n"
        "@twice\n@plus(\n    3,\n)\ndef one():\n    return 1\n"
    )
    before: dict[str, object] = {}
    after: dict[str, object] = {}
    exec(source, before)  # noqa: S102 - the source stands above
    exec(undecorated(source), after)  # noqa: S102 - as above
    for names in (before, after):
        assert eval("one(), A.kept(), A().shown", names) == (8, 1, 5)  # noqa: S307 - as above
    assert "    @staticmethod" in undecorated(source)
