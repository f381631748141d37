"""Numbers that follow from a seed, for the jitter of a played device."""

from __future__ import annotations

import random
from collections.abc import Callable


def draws_of(seed: str) -> Callable[[], float]:
    """Numbers in [0, 1), the same again for the same seed."""
    return random.Random(seed).random  # noqa: S311 - the same draws again are the purpose
