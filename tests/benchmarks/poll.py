"""What a poll costs when nothing is new: both authorities together, against ``tuf``'s own client.

Both clients ask the same two repositories on one local http server over kept-alive connections, in
turn, so that a busy machine slows both.  Ours checks more and keeps what it accepted durably in a
folder; ``tuf``'s updater keeps its cache without a sync.  Its default fetcher is used as it comes.

Beside them stands the glance by which the resident supervisor polls as long as a whole refresh is
not due: one conditional request for each timestamp.

Counted at the server: requests, connections, and bytes in both directions (heads and bodies; an
exchange of one packet each way adds some 80 to 160 bytes of TCP and IP).
Printed: all, and ours divided by theirs.  Ratios of 1 in bytes and requests are the aim of a whole
poll, which is the next root, which is not there, and the timestamp.
"""

from __future__ import annotations

import hashlib
import re
import resource
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tests.benchmarks.figures import arguments, keep
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.ngclient.updater import Updater

from primum_agent.glance import Glance, Seen
from primum_agent.settings import Repositories, Repository, Settings, Transport
from primum_verifier.shell.http_fetching import HttpFetcher, Wire
from primum_verifier.shell.trust_store import FolderTrustStore, MemoryTrustStore, TrustStore
from primum_verifier.shell.tuf_client import TufClient

_AUTHORITIES = ("engineering", "clinical")
_END = datetime.now(UTC) + timedelta(days=7)


@dataclass
class Server:
    """A server of plain files that counts what passes: small enough to count every byte."""

    files: dict[str, bytes] = field(default_factory=dict)
    requests: int = 0
    connections: int = 0
    received: int = 0
    sent: int = 0

    def start(self) -> str:
        """Listen on loopback; the address with its slash."""
        listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"

    def _accept(self, listening: socket.socket) -> None:
        while True:
            speaking, _ = listening.accept()
            speaking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            threading.Thread(target=self._serve, args=(speaking,), daemon=True).start()

    def _serve(self, speaking: socket.socket) -> None:
        heard = b""
        while piece := speaking.recv(65536):
            heard += piece
            while (end := heard.find(b"\r\n\r\n")) >= 0:
                head, heard = heard[: end + 4], heard[end + 4 :]
                self.requests += 1
                self.received += len(head)
                answer = self._answer(head)
                self.sent += len(answer)
                speaking.sendall(answer)

    def _answer(self, head: bytes) -> bytes:
        body = self.files.get(head.split(b" ", 2)[1].decode())
        if body is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n404 Not Found\n"
        tag = b'ETag: "%s"' % hashlib.sha256(body).hexdigest()[:16].encode()
        asked = re.search(rb"(?i)if-none-match: ([^\r]*)", head)
        if asked and asked[1] == tag[6:]:
            return b"HTTP/1.1 304 Not Modified\r\n%s\r\n\r\n" % tag
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n\r\n%s" % (len(body), tag, body)

    def publish(self, authority: str) -> bytes:
        """Four top-level roles of one authority, with P-256 keys; the first root."""
        signers = {
            role: CryptoSigner.generate_ecdsa()
            for role in ("root", "timestamp", "snapshot", "targets")
        }
        root = Root(expires=_END)
        for role, signer in signers.items():
            root.add_key(signer.public_key, role)
        snapshot = Snapshot(expires=_END, meta={"targets.json": MetaFile(1)})
        timestamp = Timestamp(expires=_END, snapshot_meta=MetaFile(1))
        timestamp.unrecognized_fields["issuedAt"] = datetime.now(UTC).isoformat(timespec="seconds")
        made: dict[str, Metadata[Any]] = {
            "root": Metadata(root),
            "timestamp": Metadata(timestamp),
            "snapshot": Metadata(snapshot),
            "targets": Metadata(Targets(expires=_END)),
        }
        for role, metadata in made.items():
            metadata.sign(signers[role])
            name = "timestamp.json" if role == "timestamp" else f"1.{role}.json"
            self.files[f"/{authority}/metadata/{name}"] = metadata.to_bytes()
        return self.files[f"/{authority}/metadata/1.root.json"]


@dataclass
class Poll:
    """One way to poll, and what it took in each round."""

    ask: Callable[[], None]
    rounds: list[dict[str, float]] = field(default_factory=list)

    def measure(self, server: Server) -> None:
        """One poll of both authorities."""
        before = (server.requests, server.connections, server.sent, server.received)
        used, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        self.ask()
        wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        after = (server.requests, server.connections, server.sent, server.received)
        names = ("requests", "connections", "bytesFromServer", "bytesToServer")
        counts = {name: b - a for name, a, b in zip(names, before, after, strict=True)}
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        self.rounds.append({**counts, "wallMs": wall * 1000, "cpuMs": cpu * 1000})

    def medians(self) -> dict[str, float]:
        """The median of each figure."""
        return {
            name: round(statistics.median(one[name] for one in self.rounds), 2)
            for name in self.rounds[0]
        }


def ours(url: str, roots: dict[str, bytes], stores: dict[str, TrustStore]) -> Callable[[], None]:
    """The device's client for each authority, over one fetcher."""
    fetcher = HttpFetcher(Wire(allow_http=True))
    clients = [
        TufClient(
            authority=name,
            bootstrap=roots[name],
            metadata_url=f"{url}{name}/metadata/",
            targets_url=f"{url}{name}/targets/",
            fetcher=fetcher,
            store=stores[name],
        )
        for name in _AUTHORITIES
    ]

    def ask() -> None:
        for client in clients:
            with client.session(at=datetime.now(UTC)) as session:
                session.refresh()
                session.complete()

    return ask


def theirs(url: str, roots: dict[str, bytes], folder: Path) -> Callable[[], None]:
    """``tuf``'s updater for each authority, as its manual shows it; one per poll, as it wants."""

    def ask() -> None:
        for name in _AUTHORITIES:
            cache = folder / name
            cache.mkdir(parents=True, exist_ok=True)
            Updater(
                metadata_dir=str(cache),
                metadata_base_url=f"{url}{name}/metadata/",
                bootstrap=roots[name],
            ).refresh()

    return ask


def glance(url: str, server: Server, folder: Path) -> Callable[[], None]:
    """The supervisor's glance at both authorities."""
    places = {name: f"{url}{name}/metadata/" for name in _AUTHORITIES}
    settings = Settings(
        schema_version="0.1",
        device_id="bench",
        component="bench",
        hardware_id="bench",
        repositories=Repositories(
            **{name: Repository(place, place) for name, place in places.items()}
        ),
        folder=folder,
        transport=Transport(allow_http=True),
    )
    made = Glance(settings, client=folder / "none")
    newest = {
        name: hashlib.sha256(server.files[f"/{name}/metadata/timestamp.json"]).hexdigest()
        for name in _AUTHORITIES
    }

    def ask() -> None:
        if made.look(newest, places) is not Seen.NOTHING_NEW:
            raise SystemExit("something was new")

    return ask


def main() -> None:
    """Measure, print one JSON object, and keep it where it is asked for."""
    parser = arguments(__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=50, help="50 by default")
    options = parser.parse_args()
    rounds: int = options.rounds
    server = Server()
    roots = {name: server.publish(name) for name in _AUTHORITIES}
    url = server.start()
    with tempfile.TemporaryDirectory(prefix="primum-poll-") as name:
        folder = Path(name)
        polls = {
            "primum": Poll(
                ours(url, roots, {one: FolderTrustStore(folder / one) for one in _AUTHORITIES})
            ),
            "primumInMemory": Poll(ours(url, roots, {one: MemoryTrustStore() for one in roots})),
            "glance": Poll(glance(url, server, folder)),
            "tuf": Poll(theirs(url, roots, folder / "tuf")),
        }
        for poll in polls.values():
            poll.ask()
        for _ in range(rounds):
            for poll in polls.values():
                poll.measure(server)
    told = {name: poll.medians() for name, poll in polls.items()}
    for name in ("primum", "primumInMemory", "glance"):
        told[f"{name}ToTuf"] = {
            figure: round(value / told["tuf"][figure], 2) if told["tuf"][figure] else value
            for figure, value in told[name].items()
        }
    print(keep({"rounds": rounds, **told}, options.json))


if __name__ == "__main__":
    main()
