"""Every limit of the verifier, with its unit and the abuse it stops."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_DOCUMENT_BYTES: Final = 1 * MIB
"""A signed document larger than this is refused unread: parsing must stay cheap on a wearable."""

MAX_DOCUMENT_DEPTH: Final = 24
"""Deeper nesting exists only to exhaust the stack of a parser."""

MAX_TEXT: Final = 4000
"""Characters in one free text of a document; longer texts belong in a referenced file."""

MAX_NAME: Final = 200
"""Characters in one identifier, version, path or label."""

MAX_LIST: Final = 1000
"""Entries in one list of a document."""

MAX_APPROVALS: Final = 64
"""Approval envelopes read for one statement: ten thousand signatures would cost minutes."""

MAX_NOTICES: Final = 1000
"""Safety notices read; far above what a product line issues in its life."""

MAX_HOLD_HOURS: Final = 72
"""The longest that one function alone may hold new activations."""

HOLD_AGAIN_DAYS: Final = 30
"""Days in which one person may hold one release once: a hold must not be renewed for ever."""

MAX_SIGNATURES: Final = 16
"""Signatures read in one envelope."""

MAX_ARTIFACT_BYTES: Final = 8 * 1024 * MIB
"""A single artifact; the manifest's own length is checked against free space besides."""

MAX_TREE_LIST_BYTES: Final = 8 * MIB
"""The list of a software tree; a list is read whole, the files it names are not."""

MAX_TREE_FILES: Final = 20_000
"""Files in one software tree: more would use up the inodes of a small device."""

MAX_TREE_DEPTH: Final = 32
"""Folders above a file of a tree; deeper nesting exists to exceed the longest path of a system."""

MAX_TREE_BYTES: Final = 4 * 1024 * MIB
"""All files of a tree unpacked: a small pack must not become a full disk."""

MAX_ROOT_BYTES: Final = 512_000
MAX_TIMESTAMP_BYTES: Final = 32_768
"""Room for two post-quantum signatures; the library's default of 16,384 is too small for them."""

MAX_SNAPSHOT_BYTES: Final = 2_000_000
MAX_TARGETS_BYTES: Final = 5_000_000
MAX_DELEGATED_ROLES: Final = 32
"""Delegated roles visited for one target name; above it the answer is "limit reached"."""

MAX_ROOT_ROTATIONS: Final = 256
MAX_METADATA_DEPTH: Final = 64
"""Nesting of TUF metadata: JSON deeper than this exhausts a parser's stack."""
