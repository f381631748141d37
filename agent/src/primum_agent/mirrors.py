"""Where each authority may be read, and what is remembered of servers that failed.

The settings give the order: mirrors as they stand there, a gateway in the house first, and the
repository's own address last.  A server that failed while another one worked is asked last for a
while, and then again in its place.  What it did is an event, once; how often it happened since is
counted.  Nothing is ever trusted because of where it came from.

What is remembered is kept by :mod:`primum_agent.mirror_memory`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from primum_agent.clock import Clock, plain_time
from primum_agent.events import Entry, EventKind
from primum_agent.journal_port import JournalPort
from primum_agent.mirror_memory import Demotion, demotions_of, keep_demotions, order_of
from primum_agent.settings import Repository, Settings
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.view import ENGINEERING, AuthorityView
from primum_verifier.shell.ways import AuthorityAddress

FIRST_DEMOTION = 600.0
LONGEST_DEMOTION = 86_400.0
"""Powered seconds for which a server is asked last; it doubles, and who lied has the longest."""

DOUBTFUL_SHARE = 0.5
"""Of the life of a timestamp: once so much is over, another server is asked for a newer one."""

FROZEN_SHARE = 0.75
"""Of the life of a timestamp: once so much is over and no server has a newer one, that is told."""

UNTOLD_LIFE = timedelta(days=1)
"""Left of a timestamp that does not say when it was issued, when it counts as frozen."""

_DOUBLINGS = 10


def addresses_of(repository: Repository) -> tuple[AuthorityAddress, ...]:
    """Every address of an authority in the order of the settings."""
    return tuple(
        AuthorityAddress(item.metadata_url, item.targets_url, item.artifacts_url)
        for item in repository.everywhere
    )


class Servers:
    """Every server of a device: the ways to its authorities, and the mirrors of its files.

    Args:
        settings: the device's settings.
        journal: the open journal.
        clock: the clock port.
        attempt: the id of this attempt.
    """

    def __init__(
        self, settings: Settings, *, journal: JournalPort, clock: Clock, attempt: str
    ) -> None:
        self._known = {name: addresses_of(item) for name, item in settings.repositories.all.items()}
        self._journal = journal
        self._clock = clock
        self._attempt = attempt

    # The ways to an authority

    def addresses(self, authority: str) -> Sequence[AuthorityAddress]:
        """See :class:`primum_verifier.shell.ways.Ways`."""
        known = self._known[authority]
        if len(known) == 1:
            return known
        places = {item.metadata_url: item for item in known}
        powered = self._journal.powered_seen()
        names = order_of([*places], demotions_of(self._journal), powered=powered)
        return [places[name] for name in names]

    def worked(self, authority: str, address: AuthorityAddress) -> None:
        """See :class:`primum_verifier.shell.ways.Ways`."""
        known = demotions_of(self._journal)
        found = known.pop(address.metadata_url, None)
        if found is None:
            return
        self._keep(known)
        self._journal.record(
            Entry(
                kind=EventKind.MIRROR_WORKS,
                attempt=self._attempt,
                result="done",
                detail={
                    "authority": authority,
                    "server": address.metadata_url,
                    "after": found.times,
                    "was": found.reason,
                },
            )
        )

    def failed(self, authority: str, address: AuthorityAddress, error: PrimumError) -> None:
        """See :class:`primum_verifier.shell.ways.Ways`."""
        self._demote(authority, address, error, lied=isinstance(error, RefusedError))

    def doubts(self, authority: str, view: AuthorityView | None) -> bool:
        """See :class:`primum_verifier.shell.ways.Ways`."""
        del authority
        return view is not None and is_older(view, DOUBTFUL_SHARE, now=self._clock.now())

    # The mirrors of files

    def of_files(self) -> FileServers:
        """Where engineering's files may be had."""
        return FileServers(self)

    def _demote(
        self, authority: str, address: AuthorityAddress, error: PrimumError, *, lied: bool
    ) -> None:
        if len(self._known[authority]) == 1:
            # Nobody could be asked before it.
            return
        known, powered = demotions_of(self._journal), self._journal.powered_seen()
        before = known.get(address.metadata_url)
        times = 1 if before is None else before.times + 1
        seconds = min(FIRST_DEMOTION * 2.0 ** min(times - 1, _DOUBLINGS), LONGEST_DEMOTION)
        found = Demotion(
            reason=str(error.reason),
            since=plain_time(self._clock.now()) if before is None else before.since,
            times=times,
            until=powered + (LONGEST_DEMOTION if lied else seconds),
            lied=lied,
        )
        known[address.metadata_url] = found
        self._keep(known)
        if before is not None and (before.reason, before.lied) == (found.reason, found.lied):
            return
        self._journal.record(
            Entry(
                kind=EventKind.MIRROR_FAILED,
                attempt=self._attempt,
                result="refused" if lied else "failed",
                reasons=(found.reason,),
                detail={
                    "authority": authority,
                    "server": address.metadata_url,
                    "askedLastForSeconds": round(found.until - powered),
                    **error.as_dict(),
                },
            )
        )

    def _keep(self, known: Mapping[str, Demotion]) -> None:
        """Keep what is remembered; a server that the settings no longer name is forgotten."""
        named = {item.metadata_url for items in self._known.values() for item in items}
        kept = {name: item for name, item in known.items() if name in named}
        keep_demotions(self._journal, kept)


class FileServers:
    """See :class:`primum_agent.transfer.Mirrors`: engineering's servers, for the files.

    Args:
        servers: every server of the device.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def bases(self) -> Sequence[str]:
        """See :class:`primum_agent.transfer.Mirrors`."""
        return [item.artifacts_url for item in self._servers.addresses(ENGINEERING)]

    def worked(self, base: str) -> None:
        """See :class:`primum_agent.transfer.Mirrors`."""
        self._servers.worked(ENGINEERING, self._of(base))

    def failed(self, base: str, error: PrimumError, *, lied: bool) -> None:
        """See :class:`primum_agent.transfer.Mirrors`."""
        del lied
        self._servers.failed(ENGINEERING, self._of(base), error)

    def _of(self, base: str) -> AuthorityAddress:
        known = self._servers.addresses(ENGINEERING)
        return next(item for item in known if item.artifacts_url == base)


def is_older(view: AuthorityView, share: float, *, now: datetime) -> bool:
    """Whether so much of the life of a view's timestamp is over.

    Args:
        view: what an authority says, as accepted.
        share: of its life, between 0 and 1.
        now: the present time.
    """
    timestamp = view.roles.get("timestamp")
    if timestamp is None:
        return False
    if view.issued_at is None:
        return timestamp.expires - now < UNTOLD_LIFE
    life = timestamp.expires - view.issued_at
    return now - view.issued_at > life * share
