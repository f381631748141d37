"""Where an authority may be read, the best first, and who hears how it went.

Every way leads to the same signed metadata or to nothing that is accepted: which one is taken is a
matter of cost, never of trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from primum_verifier.core.errors import PrimumError
from primum_verifier.core.view import AuthorityView


@dataclass(frozen=True)
class AuthorityAddress:
    """Where one authority's plain files lie; each address ends with a slash."""

    metadata_url: str
    targets_url: str
    artifacts_url: str = ""


class Ways(Protocol):
    """The port."""

    def addresses(self, authority: str) -> Sequence[AuthorityAddress]:
        """Where it may be read, the best first; at least one."""

    def worked(self, authority: str, address: AuthorityAddress) -> None:
        """It was read to its end there."""

    def failed(self, authority: str, address: AuthorityAddress, error: PrimumError) -> None:
        """It could not be read there, or only as it was before, while another way worked."""

    def doubts(self, authority: str, view: AuthorityView | None) -> bool:
        """Whether what was read is so old that another way is to be asked for something newer."""


@dataclass(frozen=True)
class FixedWays:
    """One way to each authority, and nobody who hears how it went.

    Attributes:
        places: the addresses, by authority.
    """

    places: Mapping[str, AuthorityAddress]

    def addresses(self, authority: str) -> Sequence[AuthorityAddress]:
        """See :class:`Ways`."""
        return (self.places[authority],)

    def worked(self, authority: str, address: AuthorityAddress) -> None:
        """See :class:`Ways`."""

    def failed(self, authority: str, address: AuthorityAddress, error: PrimumError) -> None:
        """See :class:`Ways`."""

    def doubts(self, authority: str, view: AuthorityView | None) -> bool:
        """See :class:`Ways`; there is no other way."""
        del authority, view
        return False
