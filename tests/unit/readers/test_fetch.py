"""What may be read: folders, public addresses, sizes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pgsim.errors import UnavailableAssetError, UnreadableAssetError
from pgsim.readers import fetch as module
from pgsim.readers.fetch import fetch
from pgsim.readers.policy import Policy


class Handler(BaseHTTPRequestHandler):
    """Answers as its path says."""

    dripped = 0

    def do_GET(self) -> None:
        word, _, rest = self.path.lstrip("/").partition("/")
        if word == "to":
            self.send_response(302)
            self.send_header("Location", rest)
            self.end_headers()
            return
        if word == "drip":
            self.drip()
            return
        if word == "short":
            self.send_response(200)
            self.send_header("Content-Length", "9000")
            self.end_headers()
            self.wfile.write(b"x" * 5000)
            return
        self.send_response(int(word))
        if rest:
            self.send_header("Content-Encoding", rest)
        self.end_headers()
        self.wfile.write(b"x" * 5000)

    def drip(self) -> None:
        """Answer a byte at a time, for five seconds unless the other side goes."""
        Handler.dripped = 0
        with suppress(OSError):
            for byte in b"HTTP/1.0 200 OK\r\nX: " + b"x" * 80:
                self.wfile.write(bytes([byte]))
                Handler.dripped += 1
                time.sleep(0.05)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_files_under_the_roots_alone(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for place in (inside, outside):
        place.mkdir()
        (place / "a b").write_bytes(b"x")
    (inside / "link").symlink_to(outside / "a b")
    policy = Policy(roots=(inside.resolve(),))
    assert fetch(str(inside / "a b"), policy) == b"x"
    assert fetch(f"file://{inside}/a%20b", policy) == b"x"
    for uri in (outside / "a b", inside / "link", f"{inside}/../out/a b", f"file://{outside}/a%20b", "", "a\0b"):
        with pytest.raises(UnreadableAssetError, match=r"PGSIM_FILE_ROOTS|NUL"):
            fetch(str(uri), policy)
    with pytest.raises(UnreadableAssetError, match="none is set"):
        fetch(str(inside / "a b"), Policy())
    for uri, reason in ((inside / "no", "no such file"), (inside, "not a file")):
        with pytest.raises(UnreadableAssetError, match=reason):
            fetch(str(uri), policy)
    with pytest.raises(UnreadableAssetError, match="larger"):
        fetch(str(inside / "a b"), Policy(roots=policy.roots, max_bytes=0))


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:1/",
        "http://localhost:1/",
        "http://[::1]:1/",
        "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest",
        "http://10.1.2.3/",
        "http://2130706433/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:a01:203::1]/",
    ],
)
def test_private_addresses_are_refused(uri: str) -> None:
    with pytest.raises(UnreadableAssetError, match="not a public address"):
        fetch(uri, Policy())


def test_a_redirect_is_checked_like_the_address(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The server stands for a public one: only its own address passes as such.
    port = int(server.rpartition(":")[2])
    allowed = Policy(private_addresses=True)

    def connect(parts: Any, policy: Policy, until: float) -> Any:
        return original(parts, allowed if parts.port == port else policy, until)

    original = module._connect
    monkeypatch.setattr(module, "_connect", connect)
    assert len(fetch(f"{server}/to//200", Policy())) == 5000
    with pytest.raises(UnreadableAssetError, match="not a public address"):
        fetch(f"{server}/to/http://10.0.0.1/", Policy())
    with pytest.raises(UnreadableAssetError, match="not of the web"):
        fetch(f"{server}/to/file:///etc/passwd", Policy())


def test_what_a_server_may_answer(server: str) -> None:
    policy = Policy(private_addresses=True)
    assert fetch(f"{server}/200", policy) == b"x" * 5000
    for path, reason in (("404", "404"), ("200/gzip", "compressed"), ("to//" * 9 + "200", "redirects more than 5")):
        with pytest.raises(UnreadableAssetError, match=reason) as raised:
            fetch(f"{server}/{path}", policy)
        assert not raised.value.retryable
    for path in ("429", "503"):
        with pytest.raises(UnavailableAssetError, match=path) as passing:
            fetch(f"{server}/{path}", policy)
        assert passing.value.retryable
    with pytest.raises(UnreadableAssetError, match="larger"):
        fetch(f"{server}/200", Policy(private_addresses=True, max_bytes=4999))


def test_an_answer_that_drips_in_is_ended_in_time(server: str) -> None:
    with pytest.raises(UnavailableAssetError, match=r"longer than 0\.5 seconds"):
        fetch(f"{server}/drip", Policy(private_addresses=True, seconds=0.5))
    assert Handler.dripped < 80


def test_an_answer_that_is_cut_off_is_no_answer(server: str) -> None:
    with pytest.raises(UnavailableAssetError, match="4,000 bytes before"):
        fetch(f"{server}/short", Policy(private_addresses=True))


def test_addresses_as_people_write_them(server: str) -> None:
    policy = Policy(private_addresses=True)
    with pytest.raises(UnreadableAssetError, match="404"):
        fetch(f"{server}/404/a b/\u00e4.png", policy)
    # One that nobody listens at comes first.
    port = int(server.rpartition(":")[2])
    found = module._reach("any", [("127.0.0.2", 1), ("127.0.0.1", port)], time.monotonic() + 5)
    found.close()
    with pytest.raises(UnavailableAssetError, match="any cannot be reached"):
        module._reach("any", [("127.0.0.2", 1)], time.monotonic() + 5)


def test_other_schemes_and_data() -> None:
    assert fetch("data:text/plain,a%20b", Policy()) == b"a b"
    for uri in ("ftp://example.org/a", "s3://bucket/a", "data:image/png;base64,!!", "data:nothing", "file://other/a"):
        with pytest.raises(UnreadableAssetError):
            fetch(uri, Policy())


def test_the_environment() -> None:
    policy = Policy.load({"PGSIM_FILE_ROOTS": "/a:/b", "PGSIM_PRIVATE_ADDRESSES": "1"})
    assert policy.roots == (Path("/a"), Path("/b"))
    assert policy.private_addresses
    assert Policy.load({}).roots == ()
