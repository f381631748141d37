"""Show what Primum's documents are called, and the JSON Schema of each.

Without NAME every document stands in a list with its type and media type. With NAME its schema
(JSON Schema, draft 2020-12) is printed; --all writes every one as DIR/NAME.schema.json.

A document that fits its schema may still be refused: the schema's "$comment" says by what else.

Exit codes: 0 done, 2 usage (no such document), 3 failed (a file could not be written).

Examples:
  primum-verify schema
  primum-verify schema release-manifest
  primum-verify schema --all schemas
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from primum_verifier.core.errors import EXIT_DONE, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.documents import DOCUMENTS, document_named
from primum_verifier.shell.durable import storage_error, write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("--all", type=Path, metavar="DIR", help="write every schema into DIR")


def run(options: argparse.Namespace) -> int:
    """List the documents, print one schema, or write them all."""
    if options.name is not None and options.all is not None:
        raise UsageError(
            "NAME and --all exclude each other.",
            reason=Reason.USAGE,
            found=f"{options.name} and --all",
            expected="one of them, or neither for the list",
        )
    if options.all is not None:
        _write_all(options.all, as_json=options.json)
    elif options.name is not None:
        print(document_named(options.name).schema_text(), end="")  # noqa: T201
    else:
        _tell_list(as_json=options.json)
    return EXIT_DONE


def _tell_list(*, as_json: bool) -> None:
    if as_json:
        told = [
            {
                "name": document.name,
                "summary": document.summary,
                "type": document.type,
                "mediaType": document.media_type,
                "schema": document.schema_id,
                "maxBytes": document.max_bytes,
            }
            for document in DOCUMENTS
        ]
        print(json.dumps({"outcome": "done", "documents": told}))  # noqa: T201
        return
    for document in DOCUMENTS:
        print(f"{document.name}: {document.summary}")  # noqa: T201
        print(f"    {document.type or '(no type)'}, {document.media_type}")  # noqa: T201


def _write_all(folder: Path, *, as_json: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    paths = []
    for document in DOCUMENTS:
        path = folder / f"{document.name}.schema.json"
        write_file(path, document.schema_text().encode())
        paths.append(str(path))
    if as_json:
        print(json.dumps({"outcome": "done", "written": paths}))  # noqa: T201
    else:
        print(f"{len(paths)} schemas written to {folder}")  # noqa: T201
