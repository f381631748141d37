"""Writes numpy arrays as ``.npz`` files whose bytes depend on nothing but the arrays.

It also names what reading a damaged one may raise, since neither format has one family of errors.

``numpy.savez`` does nearly that; here order, timestamps and attributes of the archive are stated,
so that a signed digest can be made again. Stored members have the same bytes everywhere; deflated
ones are smaller, and have the same bytes wherever the same zlib is.
"""

from __future__ import annotations

import io
import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

# The text of an array's header is parsed as Python, so a damaged one may fail as Python does.
UNREADABLE: Final = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    SyntaxError,
    UnicodeError,
    tokenize.TokenError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    UserWarning,
)

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_PLAIN_FILE: Final = 0o100644 << 16


def read_npz(path: Path, *, max_member_bytes: int) -> dict[str, NDArray[np.generic]]:
    """Every array of the file, none of them pickled, none larger than stated.

    Raises:
        One of ``UNREADABLE``: missing, damaged, or not such a file.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > max_member_bytes:
                raise ValueError(f"{member.filename[:40]}: {member.file_size} bytes")
    with np.load(path, allow_pickle=False) as npz, warnings.catch_warnings():
        # numpy repairs headers that Python 2 wrote, with a warning; none of ours is one.
        warnings.simplefilter("error")
        arrays = {name: npz[name] for name in npz.files}
    # What does not begin like an array comes back as the bytes it is.
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("a member that is no array")
    return arrays


def npz_bytes(arrays: dict[str, NDArray[np.generic]], *, compression: int) -> bytes:
    """The arrays, in the order given, as the bytes of an ``.npz``.

    Args:
        arrays: by name; little-endian, no objects.
        compression: ``zipfile.ZIP_STORED`` or ``zipfile.ZIP_DEFLATED``.
    """
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(
                member, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False
            )
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _PLAIN_FILE
            entry.compress_type = compression
            archive.writestr(entry, member.getvalue(), compresslevel=9)
    return whole.getvalue()
