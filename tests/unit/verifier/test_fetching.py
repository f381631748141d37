"""The http fetcher against real servers that cut, lie, redirect and never stop."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.core.errors import PrimumError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.fetching import (
    MOST_PATIENCE,
    AskedToWaitError,
    FolderFetcher,
    NotThereError,
)
from primum_verifier.shell.http_fetching import HttpFetcher, Patience, Wire, _where

Answer = Callable[[BaseHTTPRequestHandler], None]
HTTP = Wire(allow_http=True)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Start a server on loopback whose every answer is the given function."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/file"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def body(data: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True

    return answer


def got(url: str, *, max_bytes: int = 1000, offset: int = 0) -> bytes:
    return b"".join(HttpFetcher(HTTP).fetch(url, max_bytes=max_bytes, offset=offset))


def refusal(url: str, *, max_bytes: int = 1000, offset: int = 0) -> PrimumError:
    with pytest.raises(PrimumError) as caught:
        got(url, max_bytes=max_bytes, offset=offset)
    return caught.value


def test_whole_body_arrives(serve: Callable[[Answer], str]) -> None:
    assert got(serve(body(b"x" * 1000))) == b"x" * 1000


def test_plain_http_is_refused_before_a_byte_is_sent() -> None:
    with pytest.raises(PrimumError) as caught:
        list(HttpFetcher().fetch("http://127.0.0.1:9/x", max_bytes=1))
    assert caught.value.reason == Reason.TRANSPORT_INSECURE


def test_body_cut_short_is_told_in_our_words(serve: Callable[[Answer], str]) -> None:
    assert refusal(serve(body(b"x", length=500))).reason == Reason.TRANSPORT_INTERRUPTED


def test_body_larger_than_signed_is_cut(serve: Callable[[Answer], str]) -> None:
    assert refusal(serve(body(b"x" * 2000))).reason == Reason.TRUST_LIMIT


@pytest.mark.parametrize("status", [403, 404])
def test_missing_file_is_told_apart(serve: Callable[[Answer], str], status: int) -> None:
    assert isinstance(refusal(serve(body(b"", status=status))), NotThereError)


@pytest.mark.parametrize("status", [301, 302, 307, 429, 500, 503])
def test_redirects_and_faults_are_not_followed(serve: Callable[[Answer], str], status: int) -> None:
    url = serve(body(b"", status=status, Location="http://127.0.0.1:9/other"))
    assert refusal(url).reason == Reason.TRANSPORT_STATUS


def test_compressed_answer_is_not_unpacked(serve: Callable[[Answer], str]) -> None:
    assert got(serve(body(b"\x1f\x8b raw", Content_Encoding="gzip"))) == b"\x1f\x8b raw"


def test_proxy_of_the_environment_is_not_obeyed(
    serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert got(serve(body(b"direct"))) == b"direct"


def test_continuing_at_an_offset_is_never_spliced(serve: Callable[[Answer], str]) -> None:
    right = serve(body(b"56789", status=206, Content_Range="bytes 5-9/10"))
    assert got(right, offset=5) == b"56789"
    whole = serve(body(b"0123456789"))
    assert refusal(whole, offset=5).reason == Reason.TRANSPORT_STATUS
    other = serve(body(b"456789", status=206, Content_Range="bytes 4-9/10"))
    assert refusal(other, offset=5).reason == Reason.TRANSPORT_STATUS


@dataclass
class Headed:
    """As much of an answer as its head."""

    status: int
    headers: dict[str, str]


TEXTS = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"bytes \d{1,3}-\d{1,3}/(\d{1,3}|\*)", fullmatch=True),
    st.integers(-5, 10**25).map(str),
)


@given(
    status=st.sampled_from([200, 204, 206, 301, 304, 403, 404, 416, 429, 500, 503]),
    headers=st.dictionaries(
        st.sampled_from(["Content-Range", "Content-Length", "Retry-After", "Transfer-Encoding"]),
        TEXTS,
    ),
    offset=st.integers(0, 99),
)
def test_any_head_is_a_place_to_go_on_at_or_an_error_of_ours(
    status: int, headers: dict[str, str], offset: int
) -> None:
    """What a server writes into a head never leads to another offset, nor to an endless wait."""
    answer: Any = Headed(status, headers)
    refused: PrimumError | None = None
    try:
        start, length = _where("http://x/", answer, offset)
    except PrimumError as error:
        refused = error
    if refused is not None:
        assert str(refused.reason).startswith("transport.")
        if isinstance(refused, AskedToWaitError):
            assert 0 <= refused.seconds <= MOST_PATIENCE
        return
    assert start in {0, offset}
    assert start == 0 or status == 206
    assert length is None or length >= 0


@pytest.mark.parametrize("drip", [b"X: ", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_head_that_drips_for_ever_is_left(drip: bytes) -> None:
    """A byte now and then keeps every read alive; a gateway must not hold a device so."""
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        speaking, _ = server.accept()
        with speaking, suppress(OSError):
            speaking.recv(65536)
            speaking.sendall(drip)
            while not over.wait(0.05):
                speaking.sendall(b"x")

    threading.Thread(target=speak, daemon=True).start()
    fetcher = HttpFetcher(HTTP, patience=Patience(head_seconds=0.3))
    begun = time.monotonic()
    with pytest.raises(PrimumError) as caught:
        list(fetcher.fetch(f"http://127.0.0.1:{server.getsockname()[1]}/x", max_bytes=9))
    assert time.monotonic() - begun < 10
    assert str(caught.value.reason).startswith("transport.")
    over.set()
    server.close()


def test_unreachable_server_names_the_remedy() -> None:
    error = refusal("http://127.0.0.1:9/x")
    assert error.reason == Reason.TRANSPORT_UNREACHABLE
    assert error.remedy


def test_a_folder_serves_only_what_lies_below_it(tmp_path: Path) -> None:
    root = tmp_path / "web"
    root.mkdir()
    (root / "a").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    (root / "link").symlink_to(tmp_path / "secret")
    fetcher = FolderFetcher(root)
    assert b"".join(fetcher.fetch((root / "a").as_uri(), max_bytes=10)) == b"inside"
    for bad in (f"{root.as_uri()}/../secret", f"{root.as_uri()}/link", "http://x/a"):
        with pytest.raises(PrimumError) as caught:
            list(fetcher.fetch(bad, max_bytes=10))
        assert caught.value.reason == Reason.TRANSPORT_INSECURE
    with pytest.raises(NotThereError):
        list(fetcher.fetch(f"{root.as_uri()}/none", max_bytes=10))
