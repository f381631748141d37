"""The device's TUF client for one authority: ``tuf``'s own, over a scratch folder and our ports.

The client opens one run after another, each alone over its trust store, and keeps as one set what
a run accepted.  What a run does stands in ``tuf_session``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from primum_verifier.shell.fetching import Fetcher
from primum_verifier.shell.trust_store import TrustedSet, TrustStore
from primum_verifier.shell.tuf_admission import Moment
from primum_verifier.shell.tuf_errors import translated
from primum_verifier.shell.tuf_floors import BuiltIn
from primum_verifier.shell.tuf_scratch import scratch_folder
from primum_verifier.shell.tuf_session import Repository, TufSession

__all__ = ["BuiltIn", "TufClient", "TufSession"]


class TufClient:
    """Runs the TUF client workflow for one authority.

    Args:
        authority: the name for errors and views.
        bootstrap: the exact bytes of the root the device was provisioned with.
        metadata_url: where the metadata lies; ends with a slash.
        targets_url: where the targets lie; ends with a slash.
        fetcher: how bytes are got.
        store: where what is accepted is kept.
        scratch: the folder for the scratch folder; the system's temporary folder when None.
        built_in: what the software knows from the day it was built; nothing when None.
    """

    def __init__(
        self,
        *,
        authority: str,
        bootstrap: bytes,
        metadata_url: str,
        targets_url: str,
        fetcher: Fetcher,
        store: TrustStore,
        scratch: Path | None = None,
        built_in: BuiltIn | None = None,
    ) -> None:
        self.authority = authority
        self._repository = Repository(
            authority=authority,
            bootstrap=bootstrap,
            metadata_url=metadata_url,
            targets_url=targets_url,
            fetcher=fetcher,
            built_in=built_in or BuiltIn(),
        )
        self._store = store
        self._scratch = scratch

    @contextmanager
    def session(self, *, at: datetime, allowance: timedelta = timedelta(0)) -> Iterator[TufSession]:
        """One run of the client at one fixed time (TUF 5.1); what it accepted is kept at its end.

        Args:
            at: the one reference time of the run.
            allowance: how long timestamp and snapshot may have expired, for a device that was
                provisioned as offline; root, targets and delegated roles never may.

        Raises:
            BusyError: another process runs over this trust store.
            PrimumError: whatever went wrong inside, after what was accepted has been kept; or
                ``trust.rollback`` when what was accepted is below a floor: then nothing is kept.
        """
        with self._store.exclusive():
            before = self._store.load() or TrustedSet()
            with scratch_folder(self._scratch) as folder:
                session = TufSession(
                    self._repository,
                    before=before,
                    folder=folder,
                    moment=Moment(at=at, allowance=allowance),
                )
                try:
                    with translated(self.authority):
                        session.open()
                        yield session
                finally:
                    accepted = session.accepted()
                    if accepted is not None:
                        self._store.save(accepted)
