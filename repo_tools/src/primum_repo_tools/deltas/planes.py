"""Differences of words as byte planes, as :mod:`primum_verifier.delta.lanes` adds them again."""

from __future__ import annotations

import numpy as np

from primum_repo_tools.deltas.alignment import Bytes


def folded(old: Bytes, new: Bytes, *, width: int) -> bytes:
    """What is added to the words of ``old`` to get those of ``new``: zigzag, by byte planes.

    Args:
        old: little-endian words.
        new: as many.
        width: bytes of a word: 1, 2, 4 or 8.
    """
    kind = np.dtype(f"<u{width}")
    before, after = (np.frombuffer(part.tobytes(), dtype=kind) for part in (old, new))
    difference = after - before
    sign = (difference >> kind.type(8 * width - 1)) * kind.type(np.iinfo(kind).max)
    zigzag = (difference << kind.type(1)) ^ sign
    planes: Bytes = zigzag.view(np.uint8).reshape(-1, width).T
    return planes.tobytes()
