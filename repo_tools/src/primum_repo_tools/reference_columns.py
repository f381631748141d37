"""Reference data as columns: an ``.npz`` file, a folder of ``.npy`` files, or a ``.csv`` file.

A column is one array; where it came from, by name and digest, goes into what is signed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from primum_repo_tools.files import read_input
from primum_repo_tools.given_arrays import MAX_ARRAYS, MAX_ARRAYS_BYTES, read_arrays
from primum_repo_tools.given_cases import Array
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason


@dataclass(frozen=True)
class Column:
    """One array, with the name and SHA-256 of the file that it came from."""

    name: str
    values: Array
    file: str
    sha256: str

    def numbers(self) -> NDArray[np.float64]:
        """The values as numbers; what is none is NaN.

        Raises:
            UsageError: they are no numbers in one dimension.
        """
        if self.values.dtype.kind not in "fiub" or self.values.ndim != 1:
            found = f"{self.name}: {self.values.dtype} of shape {list(self.values.shape)}"
            raise wrong_columns(self.file, found, "numbers in one dimension")
        return self.values.astype(np.float64)


def wrong_columns(where: str, found: str, expected: str, remedy: str = "") -> UsageError:
    """The error for data that cannot be a reference."""
    return UsageError(
        "The data cannot be a reference.",
        reason=Reason.USAGE,
        where=where,
        found=found,
        expected=expected,
        remedy=remedy or "See the release engineer's guide, Monitoring.",
    )


def read_columns(paths: list[Path]) -> dict[str, Column]:
    """Every column of every file.

    Raises:
        UsageError: a file cannot be read, or two hold a column of one name.
    """
    found: dict[str, Column] = {}
    for path in paths:
        for column in _csv(path) if path.suffix == ".csv" else _arrays(path):
            if column.name in found:
                raise wrong_columns(
                    str(path), f"a second column {column.name}", "each column in one file"
                )
            found[column.name] = column
    return found


def _arrays(path: Path) -> list[Column]:
    arrays = read_arrays(path)
    files = {name: path / f"{name}.npy" if path.is_dir() else path for name in arrays}
    digests = {
        file: sha256_hex(read_input(file, what="arrays", max_bytes=MAX_ARRAYS_BYTES))
        for file in set(files.values())
    }
    return [
        Column(name, array, files[name].name, digests[files[name]])
        for name, array in arrays.items()
    ]


def _csv(path: Path) -> list[Column]:
    """The columns of a table with their names in the first row; an empty cell is no number."""
    data = read_input(path, what="table", max_bytes=MAX_ARRAYS_BYTES)
    try:
        rows = list(csv.reader(data.decode("utf-8-sig").splitlines(), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise wrong_columns(str(path), str(error)[:200], "a table in CSV, UTF-8") from error
    rows = [row for row in rows if row]
    names = rows[0] if rows else []
    wrong = next((at for at, row in enumerate(rows, start=1) if len(row) != len(names)), None)
    if not 1 <= len(names) <= MAX_ARRAYS or len(set(names)) != len(names) or wrong is not None:
        found = (
            f"row {wrong} of another length" if wrong else f"{len(names)} names in its first row"
        )
        raise wrong_columns(str(path), found, "a first row of names, then rows as long as it")
    digest = sha256_hex(data)
    return [
        Column(name, _typed([row[place] for row in rows[1:]]), path.name, digest)
        for place, name in enumerate(names)
    ]


def _typed(cells: list[str]) -> Array:
    try:
        return np.array([float(cell) if cell.strip() else np.nan for cell in cells])
    except ValueError:
        return np.array(cells, dtype=np.str_)
