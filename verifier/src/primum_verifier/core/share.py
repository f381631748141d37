"""A device's own draw for a release: by it a rollout goes from a few devices to all of them."""

import hashlib

_SHARE_BITS = 48
"""As many as a float holds exactly: with more, the last draws would round up to 100 itself."""


def share_of(release: str, device_id: str) -> float:
    """The device's own draw in [0, 100) for a release, by its manifest's SHA-256.

    It is the same at every poll, for every ring and under every plan: a percentage that grows
    keeps who was in, and nobody can draw again by publishing a new plan.
    """
    digest = hashlib.sha256(f"{release}\n{device_id}".encode()).digest()
    return int.from_bytes(digest[: _SHARE_BITS // 8], "big") / float(2**_SHARE_BITS) * 100
