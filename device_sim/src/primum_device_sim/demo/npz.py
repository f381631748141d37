"""Writes numpy arrays as ``.npz`` files whose bytes depend on nothing but the arrays.

``numpy.savez`` does nearly that; here order, timestamps and attributes of the archive are stated,
so that a signed digest can be made again. Stored members have the same bytes everywhere; deflated
ones are smaller, and have the same bytes wherever the same zlib is.
"""

from __future__ import annotations

import io
import zipfile
from typing import Final

import numpy as np
from numpy.typing import NDArray

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_PLAIN_FILE: Final = 0o100644 << 16


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
