"""An address taken apart, also one that cannot be one. Standard library only."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

_NO_ADDRESS = SplitResult("", "", "", "", "")


def parts_of(address: str) -> SplitResult:
    """The parts of an address; all empty where it cannot be one, such as ``https://[``."""
    try:
        return urlsplit(address)
    except ValueError:
        return _NO_ADDRESS
