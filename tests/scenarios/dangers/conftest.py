"""Real repositories on disk, real devices over them, and what each staged danger must leave.

A publisher signs with real keys and writes plain files; a device runs the real client over a real
trust store.  ``Device.survives`` runs into a danger and checks what is left, and
``Device.next_run_succeeds`` shows that good input needs no hand repair.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from primum_verifier.core.errors import PrimumError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.fetching import Fetcher, FolderFetcher
from primum_verifier.shell.trust_store import FolderTrustStore
from primum_verifier.shell.tuf_client import BuiltIn, TufClient, TufSession
from primum_verifier.shell.tuf_views import role_states

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
MANIFEST = "releases/pvc/1.0.0/manifest.json"

_KEYS = [CryptoSigner.generate_ed25519() for _ in range(32)]
"""Made once: a new key proves nothing that a key of another number does not."""


Role = TypeVar("Role", Root, Timestamp, Snapshot, Targets)


def unpublished(signed: Role) -> Role:
    """The role as it is before its first version."""
    signed.version = 0
    return signed


@dataclass
class Publisher:
    """One authority's repository: state in memory that a test bends, files in a folder.

    Attributes:
        now: the moment that everything is staged at.
        later: when everything expires.
        folder: the web root, with ``metadata/`` and ``targets/``.
        first_key: which of the keys is its first, so that two authorities share none.
        announces: whether timestamp and snapshot carry digests and lengths.
    """

    now = NOW
    later = LATER

    folder: Path
    first_key: int = 0
    announces: bool = False
    signers: dict[str, list[CryptoSigner]] = field(default_factory=dict)
    delegated: dict[str, Targets] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "metadata").mkdir(parents=True)
        (self.folder / "targets").mkdir()
        keys = iter(_KEYS[self.first_key :])
        counts = {"root": 2, "targets": 2, "snapshot": 1, "timestamp": 1, "model": 1, "rollout": 1}
        self.signers = {role: [next(keys) for _ in range(n)] for role, n in counts.items()}
        self.root = unpublished(Root(expires=LATER, consistent_snapshot=True))
        for role in ("root", "targets", "snapshot", "timestamp"):
            self.set_keys(role, self.signers[role])
        self.targets = unpublished(Targets(expires=LATER))
        self.targets.delegations = Delegations({}, {})
        self.delegate("model", ["releases/*/*/*"])
        self.delegate("rollout", ["rollout/*"])
        self.snapshot = unpublished(Snapshot(expires=LATER))
        self.timestamp = unpublished(Timestamp(expires=LATER))
        self.first_root = self.publish_root()
        self.add(MANIFEST, b'{"release":1}', role="model")
        self.publish()

    def add_role(self, role: str, signers: list[CryptoSigner]) -> None:
        """A role that lists targets and that nobody delegates to yet."""
        self.delegated[role] = unpublished(Targets(expires=LATER))
        self.signers[role] = signers

    @staticmethod
    def strangers(count: int = 1) -> list[CryptoSigner]:
        """Keys that no repository lists."""
        return _KEYS[-count:]

    def set_keys(self, role: str, signers: list[CryptoSigner], *, threshold: int = 0) -> None:
        """Give a top-level role these keys and no other; all of them must sign unless said."""
        for keyid in list(self.root.roles[role].keyids):
            self.root.revoke_key(keyid, role)
        for signer in signers:
            self.root.add_key(signer.public_key, role)
        self.root.roles[role].threshold = threshold or len(signers)
        self.signers[role] = signers

    def delegate(
        self,
        role: str,
        paths: list[str],
        *,
        signer: CryptoSigner | None = None,
        terminating: bool = False,
    ) -> None:
        """Delegate paths from the top role to a new role that lists nothing yet."""
        if signer is not None:
            self.signers[role] = [signer]
        delegations = self.targets.delegations
        assert delegations is not None
        assert delegations.roles is not None
        delegations.roles[role] = DelegatedRole(
            role, [], len(self.signers[role]), terminating=terminating, paths=paths
        )
        for key in self.signers[role]:
            self.targets.add_key(key.public_key, role)
        self.add_role(role, self.signers[role])

    def spread(
        self, role: str, *, bits: int, signers: list[CryptoSigner], prefix: str | None = None
    ) -> SuccinctRoles:
        """Let a delegated role spread its targets over hash bins, all of whose keys must sign."""
        bins = SuccinctRoles([], len(signers), bits, prefix or role)
        self.delegated[role].delegations = Delegations({}, succinct_roles=bins)
        for signer in signers:
            self.delegated[role].add_key(signer.public_key)
        for name in bins.get_roles():
            self.add_role(name, signers)
        return bins

    def add(self, name: str, data: bytes, *, role: str = "targets") -> TargetFile:
        """List a target and write its bytes."""
        listing = self.targets if role == "targets" else self.delegated[role]
        info = TargetFile.from_data(name, data, ["sha256"])
        listing.targets[name] = info
        folder, slash, base = name.rpartition("/")
        path = self.folder / "targets" / f"{folder}{slash}{info.hashes['sha256']}.{base}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return info

    def sign(self, signed: Any, signers: Iterable[Signer]) -> bytes:
        """A metadata file with these signatures."""
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def put(self, name: str, data: bytes) -> Path:
        """Write a metadata file as it is, where a plain server looks for it."""
        path = (self.folder / "metadata" / name).resolve()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    def read(self, name: str) -> bytes:
        """A metadata file as it lies there."""
        return (self.folder / "metadata" / name).read_bytes()

    def all_files(self) -> dict[str, bytes]:
        """Every metadata file, for a mirror to serve again."""
        return {path.name: path.read_bytes() for path in (self.folder / "metadata").glob("*.json")}

    def restore(self, files: dict[str, bytes], *names: str) -> None:
        """Serve these files again as they were."""
        for name in names or files:
            self.put(name, files[name])

    def publish_root(self, signers: Iterable[Signer] | None = None) -> bytes:
        """The next root, signed by the root's keys unless said."""
        self.root.version += 1
        data = self.sign(self.root, self.signers["root"] if signers is None else signers)
        self.put(f"{self.root.version}.root.json", data)
        return data

    def publish(self, *changed: str) -> None:
        """The next version of the listing roles (all, or those named), snapshot and timestamp."""
        for role in changed or ("targets", *self.delegated):
            self.publish_listing(role)
        self.publish_snapshot()
        self.publish_timestamp()

    def publish_listing(self, role: str, signers: Iterable[Signer] | None = None) -> bytes:
        """The next version of a role that lists targets."""
        listing = self.targets if role == "targets" else self.delegated[role]
        listing.version += 1
        data = self.sign(listing, self.signers[role] if signers is None else signers)
        self.put(f"{listing.version}.{role}.json", data)
        self.snapshot_lists(role, data, listing.version)
        return data

    def snapshot_lists(self, role: str, data: bytes, version: int) -> None:
        """What the next snapshot says about a role."""
        meta = MetaFile(version)
        if self.announces:
            meta = MetaFile.from_data(version, data, ["sha256"])
        self.snapshot.meta[f"{role}.json"] = meta

    def publish_snapshot(self) -> bytes:
        """The next snapshot."""
        self.snapshot.version += 1
        data = self.sign(self.snapshot, self.signers["snapshot"])
        self.put(f"{self.snapshot.version}.snapshot.json", data)
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        if self.announces:
            self.timestamp.snapshot_meta = MetaFile.from_data(
                self.snapshot.version, data, ["sha256"]
            )
        return data

    def publish_timestamp(self, signers: Iterable[Signer] | None = None) -> bytes:
        """The next timestamp."""
        self.timestamp.version += 1
        self.timestamp.unrecognized_fields["issuedAt"] = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
        data = self.sign(self.timestamp, self.signers["timestamp"] if signers is None else signers)
        self.put("timestamp.json", data)
        return data

    def heal(self) -> None:
        """Publish everything anew, right and whole."""
        for listing in (self.targets, *self.delegated.values(), self.snapshot, self.timestamp):
            listing.expires = LATER
        self.root.expires = LATER
        self.publish_root()
        self.publish()


@dataclass
class Device:
    """One device: a pinned root, a trust store in a folder, a scratch folder to look into."""

    publisher: Publisher
    folder: Path
    url: str = ""
    fetcher: Fetcher | None = None
    built_in: BuiltIn | None = None
    store: FolderTrustStore = field(init=False)

    def __post_init__(self) -> None:
        self.scratch.mkdir(parents=True)
        self.root = self.publisher.first_root
        self.store = FolderTrustStore(self.trusted)

    @property
    def trusted(self) -> Path:
        return self.folder / "trusted"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def client(self) -> TufClient:
        url = self.url or f"{self.publisher.folder.as_uri()}/"
        return TufClient(
            authority="engineering",
            bootstrap=self.root,
            metadata_url=f"{url}metadata/",
            targets_url=f"{url}targets/",
            fetcher=self.fetcher or FolderFetcher(self.publisher.folder),
            store=self.store,
            scratch=self.scratch,
            built_in=self.built_in,
        )

    @contextmanager
    def session(self, **moment: Any) -> Iterator[TufSession]:
        with self.client().session(**{"at": NOW, **moment}) as session:
            session.refresh()
            yield session

    def run(self, *names: str, **moment: Any) -> dict[str, bytes | None]:
        """Refresh and read documents, as a device does; None for what nobody signs."""
        with self.session(**moment) as session:
            found = {name: session.document(name) for name in names}
            session.complete()
        return {name: None if one is None else one.data for name, one in found.items()}

    def files(self) -> dict[str, bytes]:
        """Everything in the trust store, by name."""
        return {
            str(path.relative_to(self.trusted)): path.read_bytes()
            for path in sorted(self.trusted.rglob("*"))
            if path.is_file()
        }

    def floors(self) -> dict[str, int]:
        loaded = self.store.load()
        return {} if loaded is None else dict(loaded.floors)

    def versions(self) -> dict[str, int]:
        loaded = self.store.load()
        states = {} if loaded is None else role_states(loaded.metadata)
        return {role: state.version for role, state in states.items()}

    def assert_untouched(self, before: dict[str, bytes], *, accepted: Collection[str] = ()) -> None:
        """What is trusted is byte-identical, but for what was rightly accepted; nothing is left.

        Args:
            before: the files before the danger.
            accepted: the names of files that were rightly accepted before the refusal.
        """
        after, were = trusting(self.files()), trusting(before)
        changed = {name for name in after | were if after.get(name) != were.get(name)}
        assert changed <= set(accepted), changed
        if "primum.floors" in before:
            lowest = json.loads(before["primum.floors"])["floors"]
            now = self.floors()
            assert all(now.get(name, 0) >= version for name, version in lowest.items())
        assert not [path for path in self.folder.rglob("*") if path.name.endswith(".partial")]
        assert not list(self.scratch.iterdir())

    def survives(
        self,
        reason: Reason | Collection[Reason],
        *names: str,
        accepted: Collection[str] = (),
        **moment: Any,
    ) -> PrimumError:
        """Run into a danger; it is refused for the right reason, and nothing of it stays."""
        before = self.files()
        with pytest.raises(PrimumError) as caught:
            self.run(*names, **moment)
        expected = {reason} if isinstance(reason, Reason) else set(reason)
        assert caught.value.reason in expected, caught.value.for_people()
        self.assert_untouched(before, accepted=accepted)
        return caught.value

    def next_run_succeeds(self, **moment: Any) -> None:
        """The next run with good input succeeds with no hand repair."""
        self.publisher.heal()
        assert self.run(MANIFEST, **moment) == {MANIFEST: b'{"release":1}'}
        assert self.versions()["timestamp"] == self.publisher.timestamp.version
        assert not list(self.scratch.iterdir())


def trusting(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files that hold trust; the files of floors also hold the time, and are judged apart."""
    return {name: data for name, data in files.items() if not name.startswith("primum.floors")}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here, and what is synced when is tested elsewhere."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one: a disk would only add its waiting."""
    memory = Path("/dev/shm")  # noqa: S108 - a name of its own is made in it
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="primum-danger-", dir=where) as name:
        yield Path(name)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "web")


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path) -> Device:
    """A device that has accepted the first versions."""
    made = Device(publisher, tmp_path / "device")
    made.run(MANIFEST)
    return made


@pytest.fixture
def make_publisher(tmp_path: Path) -> Callable[..., Publisher]:
    return lambda name="other", **options: Publisher(tmp_path / name, **options)


@pytest.fixture
def make_device(tmp_path: Path) -> Callable[..., Device]:
    return lambda publisher, name="another", **options: Device(
        publisher, tmp_path / name, **options
    )


Answer = Callable[[BaseHTTPRequestHandler], bool]
"""Answers a request and says so, or leaves it to the plain file server."""


class _Quiet(SimpleHTTPRequestHandler):
    """A plain file server whose single answers a test may take over."""

    protocol_version = "HTTP/1.1"
    answer: Answer | None = None
    requests: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.answer is None or not type(self).answer(self):  # type: ignore[misc]
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args


@dataclass
class Served:
    """A web root behind a real server.

    Attributes:
        url: where it is.
        requests: the paths asked for, in order.
        handler: its class, whose ``answer`` a test sets.
    """

    url: str
    requests: list[str]
    handler: type[_Quiet]


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Served]]:
    """Serves a folder on loopback."""
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> Served:
        class Handler(_Quiet):
            requests: ClassVar[list[str]] = []

        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return Served(f"http://127.0.0.1:{server.server_port}/", Handler.requests, Handler)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def staged(tmp_path: Path) -> Any:
    """Both authorities, a world to bend, and a device over a journal on disk."""
    from tests.scenarios.compromise.staged import Staged

    return Staged(tmp_path)


@pytest.fixture
def staged_with_site(tmp_path: Path) -> Any:
    """The same, with a hospital on the trust map."""
    from tests.scenarios.compromise.staged import Staged

    return Staged(tmp_path, site=True)
