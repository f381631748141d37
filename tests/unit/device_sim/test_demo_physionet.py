"""The download itself, against a real server on this machine."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from primum_device_sim.demo.fetch_data import PhysioNet, fetch
from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.core.reasons import Reason


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.endswith("missing"):
            self.send_error(404)
            return
        long = self.path.endswith("endless")
        self.send_response(200)
        self.send_header("Content-Length", "5000000" if long else "100")
        self.end_headers()
        self.wfile.write(b"x" * (5_000_000 if long else 5 if self.path.endswith("cut") else 100))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def over_plain_http(address: str) -> PhysioNet:
    """Only for these tests: the class itself takes no such address."""
    download = PhysioNet()
    download._base_url = address
    return download


def test_plain_http_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        PhysioNet("http://physionet.org/files/mitdb/1.0.0/")
    assert refused.value.reason is Reason.TRANSPORT_INSECURE


def test_a_file_comes_whole(server: str) -> None:
    assert over_plain_http(server)("100.hea") == b"x" * 100


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", Reason.TRANSPORT_STATUS),
        ("endless", Reason.TRUST_LIMIT),
        ("cut", Reason.TRANSPORT_UNREACHABLE),
    ],
)
def test_a_wrong_answer_is_a_failure_with_its_code(server: str, name: str, reason: Reason) -> None:
    with pytest.raises(FailedError) as failed:
        over_plain_http(server)(name)
    assert failed.value.reason is reason
    assert failed.value.where == server + name


def test_no_server_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FailedError) as failed:
        fetch(tmp_path, download=PhysioNet("https://127.0.0.1:9/"))
    assert failed.value.reason is Reason.TRANSPORT_UNREACHABLE
    assert "run it again" in failed.value.remedy
    assert list(tmp_path.iterdir()) == []
