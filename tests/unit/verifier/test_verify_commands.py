"""`primum-verify` as a person types it, against a repository served over real http."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args


@pytest.fixture
def web(repository: Any, tmp_path: Path) -> Iterator[str]:
    """The repository as plain files behind a real server; ``write`` publishes what it holds."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    write(repository, folder)
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def write(repository: Any, folder: Path) -> None:
    for url, data in repository.fetcher.files.items():
        path = folder / unquote(urlsplit(url).path).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def fetch(tmp_path: Path, repository: Any, web: str, *more: str) -> tuple[int, dict[str, Any]]:
    root = tmp_path / "1.root.json"
    root.write_bytes(repository.root_bytes)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "primum_verifier.shell.cli", "fetch", "--json"),
            *("--trusted-root", str(root), "--metadata-dir", str(tmp_path / "trusted")),
            *("--metadata-url", f"{web}metadata/", "--allow-http"),
            *("--at", "2026-06-01T12:00:00Z"),
            *more,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def targets(tmp_path: Path, web: str, *names: str) -> list[str]:
    words = ["--targets-url", f"{web}targets/", "--output", str(tmp_path / "got")]
    return [*words, *(word for name in names for word in ("--target", name))]


def test_refresh_and_targets_land_whole(tmp_path: Path, repository: Any, web: str) -> None:
    repository.add_target("a/b c.json", b"one")
    repository.add_target("..", b"two")
    repository.publish()
    write(repository, tmp_path / "web")
    code, told = fetch(tmp_path, repository, web, *targets(tmp_path, web, "a/b c.json"))
    assert (code, told["outcome"]) == (0, "trusted")
    assert {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()} == {
        "a%2Fb%20c.json": b"one"
    }
    names = {path.name for path in (tmp_path / "trusted").iterdir()}
    assert {"root.json", "timestamp.json", "snapshot.json", "targets.json"} <= names


def test_a_target_that_is_there_already_is_not_fetched_again(
    tmp_path: Path, repository: Any, web: str
) -> None:
    repository.add_target("plan.json", b"right")
    repository.publish()
    write(repository, tmp_path / "web")
    words = targets(tmp_path, web, "plan.json")
    assert fetch(tmp_path, repository, web, *words)[0] == 0
    for path in (tmp_path / "web" / "targets").iterdir():
        path.unlink()
    assert fetch(tmp_path, repository, web, *words)[0] == 0
    (tmp_path / "got" / "plan.json").write_bytes(b"other")
    code, told = fetch(tmp_path, repository, web, *words)
    assert (code, told["reason"]) == (1, "trust.not-found")


def test_metadata_that_is_missing_is_a_refusal(tmp_path: Path, repository: Any, web: str) -> None:
    (tmp_path / "web" / "metadata" / "timestamp.json").unlink()
    code, told = fetch(tmp_path, repository, web)
    assert (code, told["reason"]) == (1, "trust.not-found")


def test_unknown_target_is_refused_by_name(tmp_path: Path, repository: Any, web: str) -> None:
    code, told = fetch(tmp_path, repository, web, *targets(tmp_path, web, "nothing"))
    assert (code, told["reason"]) == (1, "trust.not-found")
    assert not (tmp_path / "got").exists()


def test_tampered_target_is_refused_and_not_left(tmp_path: Path, repository: Any, web: str) -> None:
    repository.add_target("plan.json", b"right")
    repository.publish()
    write(repository, tmp_path / "web")
    (path,) = (tmp_path / "web" / "targets").glob("*.plan.json")
    path.write_bytes(b"wrong")
    code, told = fetch(tmp_path, repository, web, *targets(tmp_path, web, "plan.json"))
    assert (code, told["reason"]) == (1, "artifact.digest")
    assert list((tmp_path / "got").iterdir()) == []


def test_expired_at_the_time_asked_about(tmp_path: Path, repository: Any, web: str) -> None:
    code, told = fetch(tmp_path, repository, web, "--at", "2036-06-01T12:00:00Z")
    assert (code, told["reason"]) == (1, "trust.expired")


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["--trusted-root", "/nonexistent"], 2, "usage"),
        (["--target", "x"], 2, "usage"),
        (["--metadata-url", "http://127.0.0.1:9/"], 3, "transport.unreachable"),
        (["--metadata-url", "https://[/"], 3, "transport.insecure"),
        (["--metadata-dir", "/proc/nowhere"], 3, "resource.storage"),
    ],
)
def test_each_fault_has_its_exit_code_and_remedy(
    tmp_path: Path, repository: Any, web: str, words: list[str], code: int, reason: str
) -> None:
    found, told = fetch(tmp_path, repository, web, *words)
    assert (found, told["reason"]) == (code, reason)


def test_plain_http_needs_to_be_allowed(tmp_path: Path, repository: Any, web: str) -> None:
    root = tmp_path / "root"
    root.write_bytes(repository.root_bytes)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "primum_verifier.shell.cli", "fetch"),
            *("--trusted-root", str(root), "--metadata-dir", str(tmp_path / "t")),
            *("--metadata-url", f"{web}metadata/"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("transport.insecure")
    assert "--allow-http" in done.stderr


def test_the_list_of_commands_says_what_each_file_says() -> None:
    from importlib import import_module

    from primum_verifier.shell.cli import COMMANDS

    for name, summary in COMMANDS.items():
        module = import_module(f"primum_verifier.shell.commands.{name}")
        assert (module.__doc__ or "").splitlines()[0] == summary


@pytest.mark.parametrize("words", [["--help"], ["fetch", "--help"], ["history", "--help"]])
def test_help_is_given_with_an_example(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "primum_verifier.shell.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert "Example" in done.stdout
