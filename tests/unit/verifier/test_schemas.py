"""The published schemas say what the parser does; every document has one, and an example."""

from __future__ import annotations

import copy
import importlib
import json
import pkgutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import jsonschema  # type: ignore[import-untyped] # it ships no types
import pytest
from pydantic import BaseModel, ValidationError

from primum_verifier.core.document import (
    Document,
    OpenDocument,
    parse_document,
)
from primum_verifier.core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    EXIT_USAGE,
    RefusedError,
    UsageError,
)
from primum_verifier.core.limits import MAX_DOCUMENT_DEPTH
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_result import SelfTestReport
from primum_verifier.record.request import DeviceRequest
from primum_verifier.shell import cli
from primum_verifier.shell.documents import DOCUMENTS, Published, document_named

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
PURE = ("core", "keeping", "proof", "change", "record", "delta")
MARKS = {"type", "_type", "schemaVersion", "specversion"}
"""Members by which a document tells what it is, and in which generation."""

LEFT_TO_THE_PARSER = {"value_error"}
"""Errors that no schema can state: members that contradict each other."""

Path_ = tuple[str | int, ...]

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda item: item.name)

formats = jsonschema.FormatChecker(())


def is_moment(text: object) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is not None


formats.checks("date-time", ValueError)(is_moment)


def example(document: Published) -> Any:
    return json.loads((EXAMPLES / f"{document.name}.json").read_text("utf-8"))


def validator(document: Published) -> Any:
    return jsonschema.Draft202012Validator(document.schema(), format_checker=formats)


def refusal(document: Published, data: bytes) -> RefusedError | None:
    try:
        parse_document(document.model, data, where="test", max_bytes=document.max_bytes)
    except RefusedError as error:
        return error
    return None


def written(content: Any) -> bytes:
    return json.dumps(content).encode()


# Which documents there are


def models() -> set[type[Document]]:
    """Every public document class of the pure packages."""
    found: set[type[Document]] = set()
    for part in PURE:
        package = importlib.import_module(f"primum_verifier.{part}")
        for module in pkgutil.iter_modules(package.__path__):
            names = vars(importlib.import_module(f"primum_verifier.{part}.{module.name}"))
            found |= {
                item
                for name, item in names.items()
                if isinstance(item, type) and issubclass(item, Document) and name[0] != "_"
            }
    return found - {Document, OpenDocument}


def mentioned(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from mentioned(part)


def outermost() -> set[type[Document]]:
    """The classes that stand in no other, and say what they are or may grow."""
    every = models()
    inner = {
        part
        for model in every
        for field in model.model_fields.values()
        for part in mentioned(field.annotation)
    }
    bases = {base for model in every for base in model.__mro__[1:]}
    return {
        model
        for model in every - inner - bases
        if issubclass(model, OpenDocument)
        or MARKS & {field.alias or name for name, field in model.model_fields.items()}
    }


PUBLISHED_WITHIN = {SelfTestReport}
"""Documents that stand alone and in another: a report before and after somebody signs it."""

MESSAGES = {DeviceRequest}
"""What is said once and never kept: closed, and without a word of what it is."""


def test_every_outermost_document_is_published() -> None:
    published = {document.model for document in DOCUMENTS}
    missing = {model.__name__ for model in outermost() - published}
    assert not missing, "add a line to primum_verifier.shell.documents.DOCUMENTS"
    assert published - PUBLISHED_WITHIN - MESSAGES <= outermost()


def test_names_types_and_schema_ids_are_each_their_own() -> None:
    for seen in (
        [document.name for document in DOCUMENTS],
        [document.schema_id for document in DOCUMENTS],
        [document.type for document in DOCUMENTS if document.type],
        [document.model for document in DOCUMENTS],
    ):
        assert len(set(seen)) == len(seen)


def test_every_example_is_of_a_published_document() -> None:
    names = {document.name for document in DOCUMENTS}
    assert {path.stem for path in EXAMPLES.glob("*.json")} <= names


# Examples


@each_document
def test_the_example_is_read_and_is_the_same_after_writing(document: Published) -> None:
    data = (EXAMPLES / f"{document.name}.json").read_bytes()
    found = parse_document(document.model, data, where=document.name)
    assert parse_document(document.model, found.to_bytes(), where="again") == found
    if isinstance(found, OpenDocument):
        assert found.not_understood == (), "an example shows what this build knows"


@each_document
def test_the_example_fits_its_schema(document: Published) -> None:
    validator(document).validate(example(document))


# Schemas


@each_document
def test_the_schema_is_one_and_says_who_it_is(document: Published) -> None:
    schema = document.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:primum:schema:{document.name}:v0.1"
    assert schema["title"] == document.model.__name__
    assert schema["description"].startswith(document.summary.split("`")[0][:20])
    assert json.loads(document.schema_text()) == schema


@each_document
def test_closed_objects_are_closed_in_the_schema_and_open_ones_open(document: Published) -> None:
    schema = document.schema()
    by_name = {model.__name__: model for model in (*models(), document.model)}
    for name, drawn in {schema["title"]: schema, **schema.get("$defs", {})}.items():
        if "properties" in drawn:
            is_open = issubclass(by_name.get(name, Document), OpenDocument)
            assert drawn["additionalProperties"] is is_open, name


def places(content: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The path of every value inside, outermost first."""
    yield path
    if isinstance(content, dict):
        for name, value in content.items():
            yield from places(value, (*path, name))
    elif isinstance(content, list):
        for number, value in enumerate(content[:2]):
            yield from places(value, (*path, number))


def at(content: Any, path: Path_) -> Any:
    for part in path:
        content = content[part]
    return content


WRONG_TYPES: dict[type, Any] = {
    str: 7,
    int: "7",
    float: "7",
    bool: "true",
    list: {"0": "x"},
    dict: ["x"],
    type(None): [[]],
}


def spoilt(content: Any) -> Iterator[tuple[str, Any]]:
    """The example with one thing wrong in it, for every place and every way."""
    for path in places(content):
        value = at(content, path)
        if isinstance(value, dict):
            made = copy.deepcopy(content)
            at(made, path)["unheardOf"] = 1
            yield f"{path} + unheardOf", made
        if path:
            made = copy.deepcopy(content)
            del at(made, path[:-1])[path[-1]]
            yield f"{path} missing", made
            malformed = ["\u0007 ?"] if isinstance(value, str) else []
            for wrong in (WRONG_TYPES[type(value)], None, *malformed):
                made = copy.deepcopy(content)
                at(made, path[:-1])[path[-1]] = wrong
                yield f"{path} = {wrong!r}", made


@each_document
def test_schema_and_parser_agree_on_every_spoilt_example(document: Published) -> None:
    """One member unknown, missing, malformed or of another type: both refuse it, or neither.

    Only contradictions between members are left to the parser.
    """
    fits = validator(document).is_valid
    refused = 0
    for name, content in spoilt(example(document)):
        found = refusal(document, written(content))
        if found is None:
            assert fits(content), f"the schema refuses what the parser reads: {name}"
            continue
        refused += 1
        assert found.reason in {Reason.DOCUMENT_INVALID, Reason.ELIGIBILITY_CRIT_UNKNOWN}
        assert found.exit_code == EXIT_REFUSED
        cause = found.__cause__
        assert isinstance(cause, ValidationError)
        if {item["type"] for item in cause.errors()} - LEFT_TO_THE_PARSER:
            assert not fits(content), f"the parser refuses what the schema allows: {name}"
    assert refused, "nothing was ever refused: the test sees nothing"


@each_document
def test_an_unknown_member_outside_is_kept_only_where_the_document_is_open(
    document: Published,
) -> None:
    content = {**example(document), "unheardOf": {"a": [1]}}
    is_open = issubclass(document.model, OpenDocument)
    assert (refusal(document, written(content)) is None) == is_open
    assert validator(document).is_valid(content) == is_open


# Hostile bytes


@each_document
def test_nesting_that_only_exhausts_a_parser_is_refused(document: Published) -> None:
    levels = min(5000, document.max_bytes // 20)
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    body = written(example(document))
    for data in (deep, body[:-1] + b',"a":' + deep + b"}"):
        found = refusal(document, data)
        assert found is not None
        assert found.reason is Reason.DOCUMENT_INVALID
        assert found.expected == f"at most {MAX_DOCUMENT_DEPTH} levels"


@each_document
def test_one_byte_more_than_its_limit_is_refused_unread(document: Published) -> None:
    body = written(example(document))
    assert refusal(document, body + b" " * (document.max_bytes - len(body))) is None
    found = refusal(document, body + b" " * (document.max_bytes - len(body) + 1))
    assert found is not None
    assert found.reason is Reason.DOCUMENT_INVALID
    assert found.expected == f"at most {document.max_bytes} bytes"


@each_document
def test_a_member_that_stands_twice_is_refused_at_every_depth(document: Published) -> None:
    content = example(document)
    objects = [path for path in places(content) if isinstance(at(content, path), dict)]
    for path in objects:
        made = copy.deepcopy(content)
        inner = at(made, path)
        if not inner:
            continue
        first = next(iter(inner))
        inner["\u0000mark"] = inner[first]
        data = written(made).replace(b'"\\u0000mark"', json.dumps(first).encode())
        found = refusal(document, data)
        assert found is not None, path
        assert found.reason is Reason.DOCUMENT_INVALID
        assert "stands twice" in found.found


@each_document
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"',
        b"\xff\xfe",
        b"NaN",
        b'{"a":Infinity}',
        b"{}{}",
        b"9" * 4000,
    ],
)
def test_what_is_no_such_document_is_refused(document: Published, data: bytes) -> None:
    found = refusal(document, data)
    assert found is not None
    assert (found.reason, found.exit_code) == (Reason.DOCUMENT_INVALID, EXIT_REFUSED)


def open_parts(document: Published) -> list[Path_]:
    """Where a document of this kind may carry ``crit``."""
    if issubclass(document.model, OpenDocument):
        return [()]
    return [
        (field.alias or name,)
        for name, field in document.model.model_fields.items()
        for part in mentioned(field.annotation)
        if issubclass(part, OpenDocument)
    ]


@each_document
def test_a_critical_member_that_is_not_known_makes_it_unreadable(document: Published) -> None:
    """A restriction that a newer tool adds is never passed over."""
    content = example(document)
    parts = open_parts(document)
    for path in parts:
        made = copy.deepcopy(content)
        at(made, path)["newRestriction"] = True
        assert refusal(document, written(made)) is None
        at(made, path)["crit"] = ["newRestriction"]
        found = refusal(document, written(made))
        assert found is not None
        assert found.reason is Reason.ELIGIBILITY_CRIT_UNKNOWN
        assert found.exit_code == EXIT_REFUSED
        wrongs: list[Any] = ["newRestriction", [1], ["not a name"], [None], {}]
        for wrong in wrongs:
            at(made, path)["crit"] = wrong
            found = refusal(document, written(made))
            assert found is not None
            assert found.reason is Reason.DOCUMENT_INVALID
    if not parts:
        found = refusal(document, written({**content, "crit": []}))
        assert found is not None
        assert found.reason is Reason.DOCUMENT_INVALID


@each_document
def test_critical_members_that_are_known_change_nothing(document: Published) -> None:
    content = example(document)
    for path in open_parts(document):
        inner = at(content, path)
        inner["crit"] = [name for name in inner if name.isalnum()]
        assert refusal(document, written(content)) is None
        assert validator(document).is_valid(content)


# The command


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(["schema", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_list_names_every_document_with_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys)
    assert code == EXIT_DONE
    for document in DOCUMENTS:
        assert f"{document.name}: {document.summary}\n" in out
        assert f"{document.type or '(no type)'}, {document.media_type}\n" in out


def test_the_list_for_programs_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "--json")
    listed = json.loads(out)["documents"]
    assert code == EXIT_DONE
    assert [item["name"] for item in listed] == [document.name for document in DOCUMENTS]
    assert [item["schema"] for item in listed] == [document.schema_id for document in DOCUMENTS]


@each_document
def test_the_schema_of_a_name_is_printed(
    document: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = told(capsys, document.name)
    assert (code, out) == (EXIT_DONE, document.schema_text())


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_all_are_written(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "schemas"
    code, out, _ = told(capsys, *words, "--all", str(folder))
    assert code == EXIT_DONE
    assert {path.name for path in folder.iterdir()} == {
        f"{document.name}.schema.json" for document in DOCUMENTS
    }
    for document in DOCUMENTS:
        text = (folder / f"{document.name}.schema.json").read_text("utf-8")
        assert text == document.schema_text()
    if words:
        assert len(json.loads(out)["written"]) == len(DOCUMENTS)
    else:
        assert f"{len(DOCUMENTS)} schemas" in out


def test_an_unknown_name_is_told_with_those_that_are_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = told(capsys, "recall")
    assert (code, out) == (EXIT_USAGE, "")
    assert "release-manifest" in err
    with pytest.raises(UsageError):
        document_named("recall")


def test_a_name_and_all_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = told(capsys, "event", "--all", str(tmp_path / "schemas"))
    assert code == EXIT_USAGE
    assert "exclude each other" in err
    assert not (tmp_path / "schemas").exists()


def test_a_folder_that_cannot_be_made_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    code, _, err = told(capsys, "--all", str(tmp_path / "file" / "schemas"))
    assert code == EXIT_FAILED
    assert "could not be written" in err


def test_the_list_of_commands_imports_no_document() -> None:
    """``primum-verify --help`` stays quick: it reads names, not models."""
    import subprocess
    import sys

    code = (
        "import sys; from primum_verifier.shell import cli; cli._parser(['--help']);"
        "assert 'pydantic' not in sys.modules; assert 'schema' in cli.COMMANDS"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
