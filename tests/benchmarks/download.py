"""What it costs to get one artifact: fetched, verified, installed; against peers and the limit.

One file of each size lies in a TUF repository behind a local http server in a process of its own.
Each contestant is a fresh process, and they run in turn, so that a busy machine slows all:

- limit: one pass in Python, socket to file, hashed on the way, synced and renamed; no TUF at all;
- tuf: python-tuf's client as its manual shows it, into a folder; it syncs nothing;
- primum: our TUF client, our transfer into the content store, a generation made and switched to;
- curl: ``curl | tee | sha256sum`` and a sync of the file; no TUF either;
- rauc, with ``--rauc FOLDER``: the same bytes as a signed bundle, fetched by curl, then installed
  by RAUC's running service into a slot that is a file; its processor time counts, too.

Measured: wall and CPU seconds of the whole process; of what it does after its imports (``work``);
of the file alone, once it is known what it is (``file``: fetched, verified, ours installed too);
peak memory; calls that sync (one further run under strace, where there is one).  Medians, and
ratios of the same run.  Then what it costs to go on after a cut at 10, 50 and 90 %: bytes and
seconds.

A device is enrolled long before: its folders and its journal are made before the clock runs.

SWUpdate and Mender are not run here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from tests.benchmarks.figures import arguments, keep

MB = 1_000_000
TARGET = "artifact"
SHARES = (0.1, 0.5, 0.9)
SELF = [sys.executable, "-m", "tests.benchmarks.download"]
"""This file again, from the root of the checkout."""

ROOT = Path(__file__).parents[2]
SYNCS = "fsync,fdatasync,sync,syncfs,msync,sync_file_range"


# The server: a process of its own, so that its work is not counted as anybody's


@dataclass
class Server:
    """Serves a folder: ranges, tags, one cut at a time, and a count.

    Attributes:
        folder: what it serves.
        sent: bytes of bodies.
        cut: after how many bytes the next large body is cut, where it is to be.
    """

    folder: Path
    sent: int = 0
    cut: list[int] = field(default_factory=list)

    def run(self) -> None:
        """Serve until standard input ends."""
        listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        print(listening.getsockname()[1], flush=True)
        sys.stdin.read()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            speaking, _ = listening.accept()
            speaking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._speak, args=(speaking,), daemon=True).start()

    def _speak(self, speaking: socket.socket) -> None:
        heard = b""
        with speaking, contextlib.suppress(ConnectionError):
            while piece := speaking.recv(65536):
                heard += piece
                while b"\r\n\r\n" in heard:
                    head, _, heard = heard.partition(b"\r\n\r\n")
                    if not self._answer(speaking, head.decode()):
                        return

    def _answer(self, speaking: socket.socket, head: str) -> bool:
        path = head.split(" ")[1]
        if path.startswith("/-/cut/"):
            self.cut[:] = [int(path.rpartition("/")[2])]
        if path.startswith("/-/"):
            return _say(speaking, json.dumps(self.sent).encode())
        file = self.folder / path.lstrip("/")
        if not file.is_file():
            return _say(speaking, b"no", status="404 Not Found")
        size, found = file.stat().st_size, re.search(r"(?im)^range: bytes=(\d+)-", head)
        start = int(found[1]) if found else 0
        lines = [f"HTTP/1.1 {'206 Partial Content' if found else '200 OK'}"]
        lines += [f"Content-Length: {size - start}", f'ETag: "{size:x}"']
        lines += [f"Content-Range: bytes {start}-{size - 1}/{size}"] if found else []
        speaking.sendall("\r\n".join([*lines, "", ""]).encode())
        most = size - start
        if self.cut and size > MB:
            most = min(most, self.cut.pop())
        with file.open("rb") as opened:
            self.sent += speaking.sendfile(opened, start, most) if most else 0
        return most == size - start


def _say(speaking: socket.socket, body: bytes, *, status: str = "200 OK") -> bool:
    speaking.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return True


def asked(url: str, path: str) -> Any:
    """What the server says about itself."""
    import http.client

    connection = http.client.HTTPConnection(url.split("/")[2])
    connection.request("GET", path)
    found = json.loads(connection.getresponse().read())
    connection.close()
    return found


# The contestants: each is this file again, in a process of its own


def told(
    begun: tuple[float, float], file: tuple[float, float] | None = None, **more: object
) -> None:
    """What was spent since the imports, and for the file; the most memory that this process had."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    high = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    file = begun if file is None else file
    print(
        json.dumps(
            {
                "workWall": time.perf_counter() - begun[0],
                "workCpu": used.ru_utime + used.ru_stime - begun[1],
                "fileWall": time.perf_counter() - file[0],
                "fileCpu": used.ru_utime + used.ru_stime - file[1],
                "peakMiB": int(high[1]) / 1024 if high else 0.0,
                **more,
            }
        )
    )


def began() -> tuple[float, float]:
    """Now, after the imports."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def limit(url: str, folder: Path, digest: str) -> None:
    """One pass in Python and a sync: nobody who hashes in Python does less."""
    import hashlib

    begun = began()
    host, port = url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as speaking:
        speaking.sendall(f"GET /targets/{TARGET} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += speaking.recv(65536)
        head, _, rest = heard.partition(b"\r\n\r\n")
        said = re.search(rb"(?i)content-length: (\d+)", head)
        left, seen = int(said[1] if said else b"0") - len(rest), hashlib.sha256(rest)
        beside = folder / "beside"
        buffer = memoryview(bytearray(256 * 1024))
        with beside.open("wb", buffering=0) as file:
            file.write(rest)
            while left and (count := speaking.recv_into(buffer)):
                seen.update(buffer[:count])
                file.write(buffer[:count])
                left -= count
            os.fsync(file.fileno())
    if seen.hexdigest() != digest:
        sys.exit("wrong")
    beside.rename(folder / digest)
    sync_folder(folder)
    told(begun)


def sync_folder(folder: Path) -> None:
    """Make its names durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def tuf(url: str, folder: Path, digest: str) -> None:
    """python-tuf's own client."""
    from tuf.ngclient.updater import Updater

    begun = began()
    (folder / "metadata").mkdir(exist_ok=True)
    updater = Updater(
        metadata_dir=str(folder / "metadata"),
        metadata_base_url=f"{url}metadata/",
        target_dir=str(folder),
        target_base_url=f"{url}targets/",
        bootstrap=(folder.parent / "root.json").read_bytes(),
    )
    found = updater.get_targetinfo(TARGET)
    if found is None or found.hashes["sha256"] != digest:
        sys.exit("wrong")
    file = began()
    updater.download_target(found)
    told(begun, file)


def primum(url: str, folder: Path, digest: str) -> None:
    """Ours: refresh, transfer into the store, a generation of it, the link switched."""
    from primum_agent.clock import SystemClock
    from primum_agent.content_store import FolderStore, StoredItem
    from primum_agent.journal import Journal
    from primum_agent.layout import Layout
    from primum_agent.transfer import Transfer
    from primum_agent.trust_journal import JournalTrustStore
    from primum_verifier.shell.http_fetching import HttpFetcher, Wire
    from primum_verifier.shell.tuf_client import TufClient

    begun = began()
    journal = Journal.open(Layout(folder), clock=SystemClock(), device_id="bench")
    fetcher = HttpFetcher(Wire(allow_http=True))
    client = TufClient(
        authority="engineering",
        bootstrap=(folder.parent / "root.json").read_bytes(),
        metadata_url=f"{url}metadata/",
        targets_url=f"{url}targets/",
        fetcher=fetcher,
        store=JournalTrustStore(journal, "engineering"),
    )
    with client.session(at=datetime.now(UTC)) as session:
        session.refresh()
        found = session.target(TARGET)
        session.complete()
    if found is None or found.hashes["sha256"] != digest:
        sys.exit("wrong")
    store, file = FolderStore(Layout(folder)), began()
    transfer = Transfer(fetcher=fetcher, mirrors=_One(f"{url}artifacts/"), total_seconds=3600)
    partial = store.partial(digest, length=found.length, boot="boot")
    transfer.receive(partial, take=store.complete)
    taken = time.perf_counter() - file[0]
    item = StoredItem("model", "model", "model.onnx", found.length, digest)
    store.make_generation(1, items=[item], manifest=b"{}", record={"number": 1})
    store.activate(1)
    told(begun, file, received=transfer.received, transferWall=taken)


def enroll(folder: Path) -> None:
    """What a device has long before: the folders of its state, and its journal."""
    from primum_agent.clock import SystemClock
    from primum_agent.content_store import FolderStore
    from primum_agent.journal import Journal
    from primum_agent.layout import Layout

    layout = Layout(folder)
    layout.run.mkdir(parents=True)
    FolderStore(layout).prepare()
    Journal.open_or_restart(layout, clock=SystemClock(), device_id="bench").close()


@dataclass(frozen=True)
class _One:
    """One server, and nobody who hears how it went."""

    base: str

    def bases(self) -> list[str]:
        """Its address."""
        return [self.base]

    def worked(self, base: str) -> None:
        """Nobody hears it."""

    def failed(self, base: str, error: Exception, *, lied: bool) -> None:
        """Nobody hears it."""


def curl(url: str, folder: Path, digest: str) -> None:
    """The shell's way; a shell measures itself no better than this."""
    begun = began()
    line = (
        f"curl -sf {url}targets/{TARGET} | tee {folder}/beside | sha256sum && sync {folder}/beside"
    )
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True)
    if not done.stdout.startswith(digest):
        sys.exit("wrong")
    told(begun)


CONTESTANTS: dict[str, Callable[[str, Path, str], None]] = {
    "limit": limit,
    "tuf": tuf,
    "primum": primum,
    "curl": curl,
}


# Measuring


@dataclass
class Contest:
    """One size: the repository, and what each contestant took in each round."""

    folder: Path
    url: str
    digest: str
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def run(self, name: str, *, fresh: bool = True, trace: Path | None = None) -> dict[str, float]:
        """One process of a contestant."""
        place = self.folder / name
        if fresh:
            self.clear(name)
        traced = [] if trace is None else ["strace", "-f", "-c", "-o", str(trace), "-e", SYNCS]
        command = [*traced, *SELF, "--as", name]
        command += [self.url, str(place), self.digest]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr or done.stdout}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"wall": wall, "cpu": cpu, **json.loads(done.stdout.splitlines()[-1])}

    def clear(self, name: str) -> Path:
        """Its folder, as it is before anything was fetched."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        if name == "primum":
            enroll(place)
        return place

    def syncs(self, name: str) -> int | None:
        """How often it syncs, where strace can say."""
        if shutil.which("strace") is None:
            return None
        trace = self.folder / "trace"
        self.run(name, trace=trace)
        calls = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)", trace.read_text(), re.MULTILINE)
        return sum(int(count) for count in calls[:-1]) if calls else 0

    def goes_on(self, name: str, share: float, size: int) -> dict[str, float]:
        """What a second process costs, after the first one's link was cut."""
        place = self.clear(name)
        command = [*SELF, "--as", name, self.url, str(place), self.digest]
        quiet = subprocess.DEVNULL
        first = subprocess.Popen(command, stdout=quiet, stderr=quiet, cwd=ROOT)
        first_part = place / "store" / "partial" / self.digest
        asked(self.url, f"/-/cut/{int(size * share)}")
        until = time.monotonic() + 60
        if name == "primum":
            # Killed in the middle: nothing is said, nothing is synced.
            while not (first_part.is_file() and first_part.stat().st_size >= size * share):
                if first.poll() is not None or time.monotonic() > until:
                    break
                time.sleep(0.001)
            first.kill()
        first.wait()
        asked(self.url, "/-/cut/1000000000000")
        before = asked(self.url, "/-/sent")
        found = self.run(name, fresh=False)
        return {
            "bytes": asked(self.url, "/-/sent") - before,
            "wall": found["wall"],
            "workWall": found["workWall"],
        }


class Rauc:
    """A device with a real RAUC, as the tests have it, and a bundle of the same bytes.

    Args:
        folder: everything of this device.
        root: a folder laid out like ``/`` with RAUC in it.
        web: the web root; the bundle lies there.
    """

    def __init__(self, folder: Path, root: Path, web: Path) -> None:
        from tests.unit.agent.rauc_device import RaucDevice

        self._device = RaucDevice(folder, root)
        data = (web / "targets" / TARGET).read_bytes()
        (web / "targets" / "bundle").write_bytes(self._device.bundle(data))
        for name in ("A", "B"):
            with (folder / f"slot.{name}").open("r+b") as slot:
                slot.truncate(len(data))
        self._folder, self._stack = folder, contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start its service."""
        self._stack.enter_context(self._device.on())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._stack.close()

    def run(self, url: str) -> dict[str, float]:
        """One bundle, fetched and installed."""
        service = self._device._processes[-1].pid
        before, used = resource.getrusage(resource.RUSAGE_CHILDREN), _cpu_of(service)
        start = time.perf_counter()
        fetched = self._folder / "fetched.raucb"
        subprocess.run(["curl", "-sf", "-o", str(fetched), f"{url}targets/bundle"], check=True)
        installed = self._device._ask("install", str(fetched))
        wall = time.perf_counter() - start
        if installed.returncode:
            raise SystemExit(f"rauc: {installed}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        status = Path(f"/proc/{service}/status").read_text()
        high = re.search(r"VmHWM:\s+(\d+)", status)
        peak = int(high[1]) / 1024 if high else 0.0
        return {"wall": wall, "cpu": cpu + _cpu_of(service) - used, "peakMiB": peak}


def _cpu_of(process: int) -> float:
    """Seconds of a process and of its children that ended."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")


def publish(folder: Path, size: int) -> tuple[str, bytes]:
    """A repository with one target, which also lies where our artifacts do; digest and root."""
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

    end = datetime.now(UTC) + timedelta(days=7)
    for name in ("metadata", "targets", "artifacts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    target = folder / "targets" / TARGET
    with target.open("wb") as file:
        for _ in range(size // MB):
            file.write(os.urandom(MB))
    signer = CryptoSigner.generate_ecdsa()
    root = Root(expires=end, consistent_snapshot=False)
    for role in ("root", "timestamp", "snapshot", "targets"):
        root.add_key(signer.public_key, role)
    targets = Targets(expires=end)
    info = TargetFile.from_file(TARGET, str(target), ["sha256"])
    targets.targets[TARGET] = info
    timestamp = Timestamp(expires=end, snapshot_meta=MetaFile(1))
    timestamp.unrecognized_fields["issuedAt"] = datetime.now(UTC).isoformat(timespec="seconds")
    made: dict[str, Metadata[Any]] = {
        "1.root": Metadata(root),
        "timestamp": Metadata(timestamp),
        "snapshot": Metadata(Snapshot(expires=end, meta={"targets.json": MetaFile(1)})),
        "targets": Metadata(targets),
    }
    for name, metadata in made.items():
        metadata.sign(signer)
        (folder / "metadata" / f"{name}.json").write_bytes(metadata.to_bytes())
    digest = info.hashes["sha256"]
    os.link(target, folder / "artifacts" / digest)
    return digest, (folder / "metadata" / "1.root.json").read_bytes()


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def measure(size: int, *, rounds: int, folder: Path, rauc: Path | None) -> dict[str, Any]:
    """One size: medians, ratios, syncs, and what going on costs."""
    web = folder / "web"
    digest, root = publish(web, size * MB)
    (folder / "root.json").write_bytes(root)
    with contextlib.ExitStack() as stack:
        other = None
        if rauc is not None:
            other = stack.enter_context(Rauc(folder / "rauc", rauc, web))
        server = stack.enter_context(
            subprocess.Popen(
                [*SELF, "--serve", str(web)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
        )
        if server.stdout is None or server.stdin is None:
            raise SystemExit("no server")
        contest = Contest(folder, f"http://127.0.0.1:{int(server.stdout.readline())}/", digest)
        names = [name for name in CONTESTANTS if name != "curl" or shutil.which("curl")]
        for name in names:
            contest.run(name)
        for _ in range(rounds):
            for name in names:
                contest.rounds.setdefault(name, []).append(contest.run(name))
            if other is not None:
                contest.rounds.setdefault("rauc", []).append(other.run(contest.url))
        found: dict[str, Any] = {name: medians(contest.rounds[name]) for name in names}
        for name in names:
            found[name]["syncs"] = contest.syncs(name)
        ours = found["primum"]
        if other is not None:
            found["rauc"] = medians(contest.rounds["rauc"])
            found["toRauc"] = {
                "wall to rauc": round(ours["wall"] / found["rauc"]["wall"], 2),
                "fileWall to rauc": round(ours["fileWall"] / found["rauc"]["wall"], 2),
                "cpu to rauc": round(ours["cpu"] / found["rauc"]["cpu"], 2),
            }
        found["ratios"] = {
            f"{figure} to {other}": round(ours[figure] / found[other][figure], 2)
            for other in names
            if other != "primum"
            for figure in (
                ("wall", "cpu", "workWall", "workCpu", "fileWall", "fileCpu", "peakMiB")
                if other != "curl"
                else ("wall", "cpu", "fileWall")
            )
        } | {"transferWall to limit": round(ours["transferWall"] / found["limit"]["workWall"], 2)}
        found["goesOn"] = {
            f"{share:.0%}": {
                name: contest.goes_on(name, share, size * MB) for name in ("tuf", "primum")
            }
            for share in SHARES
        }
        server.stdin.close()
    return found


def main() -> None:
    """Measure, print one JSON object, and keep it where it is asked for."""
    parser = arguments(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 200], help="megabytes")
    parser.add_argument("--rounds", type=int, default=7, help="at least 5 for a median")
    parser.add_argument("--folder", type=Path, help="on which disk; a temporary folder without it")
    parser.add_argument(
        "--rauc", type=Path, metavar="FOLDER", help="a root with RAUC, such as .cache/rauc/root"
    )
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--as", dest="contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        Server(options.serve).run()
        return
    if options.contestant is not None:
        url, place, digest = options.words
        CONTESTANTS[options.contestant](url, Path(place), digest)
        return
    if options.words:
        parser.error(f"unrecognized arguments: {' '.join(options.words)}")
    figures: dict[str, Any] = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": options.rounds,
    }
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="primum-download-", dir=options.folder) as name:
            figures[f"{size} MB"] = measure(
                size, rounds=options.rounds, folder=Path(name), rauc=options.rauc
            )
    print(keep(figures, options.json))


if __name__ == "__main__":
    main()
