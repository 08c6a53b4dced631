"""Bytes of a URI: files under allowed folders, public web addresses, and data URIs, each within limits."""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urljoin, urlsplit

from pgsim.errors import UnavailableAssetError, UnreadableAssetError

if TYPE_CHECKING:
    from pgsim.readers.policy import Policy

_BLOCK: Final = 2**16
_REDIRECTS: Final = (301, 302, 303, 307, 308)
#: Answers that another try may better: too many requests, and a server's own troubles.
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)

#: What stays as it is in a path; spaces and letters beyond ASCII are escaped as browsers do.
_PLAIN: Final = "%/:=&?~#+!$,;'@()*[]|"
#: IPv6 addresses that stand for those of IPv4 behind a gateway (NAT64, RFC 6052).
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")


def fetch(uri: str, policy: Policy) -> bytes:
    """Read what a URI stands for.

    Parameters
    ----------
    uri : str
        A path, ``file:``, ``http:``, ``https:`` or ``data:``.
    policy : Policy
        What may be read.

    Raises
    ------
    UnreadableAssetError
        It may not or cannot be read.
    UnavailableAssetError
        Not now; a later try may succeed.
    """
    scheme = uri.partition(":")[0].lower() if ":" in uri[:10] else ""
    match scheme:
        case "http" | "https":
            return _from_web(uri, policy)
        case "data":
            return _from_data(uri, policy)
        case "file":
            parts = urlsplit(uri)
            if parts.netloc not in ("", "localhost"):
                raise UnreadableAssetError(f"a file on another machine, {parts.netloc}, is not read")
            return _from_file(unquote(parts.path), policy)
        case _ if "://" in uri:
            raise UnreadableAssetError(f"addresses of {uri.partition('://')[0]}:// are not read: files, http and https")
    return _from_file(uri, policy)


def _from_file(name: str, policy: Policy) -> bytes:
    if "\0" in name:
        raise UnreadableAssetError("the path holds a NUL character")
    try:
        # Links are followed first: what counts is where the file is.
        path = Path(name).resolve()
        if not policy.allows(path):
            allowed = ", ".join(map(str, policy.roots)) or "none is set"
            raise UnreadableAssetError(f"the file is outside the folders in PGSIM_FILE_ROOTS ({allowed})")
        if not path.is_file():
            raise UnreadableAssetError("there is no such file" if not path.exists() else "it is not a file")
        with path.open("rb") as file:
            data = file.read(policy.max_bytes + 1)
    except (OSError, RuntimeError) as error:
        raise UnreadableAssetError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return _within(data, policy)


def _from_data(uri: str, policy: Policy) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma:
        raise UnreadableAssetError("a data URI without a comma holds nothing")
    try:
        data = base64.b64decode(unquote(body), validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
    except (ValueError, binascii.Error):
        raise UnreadableAssetError("the data URI is not valid base64") from None
    return _within(data, policy)


def _within(data: bytes, policy: Policy) -> bytes:
    if len(data) > policy.max_bytes:
        raise UnreadableAssetError(f"it is larger than {policy.max_bytes / 2**20:g} MB")
    return data


def _from_web(uri: str, policy: Policy) -> bytes:
    until = time.monotonic() + policy.seconds
    for _ in range(policy.max_redirects + 1):
        answer = _ask(uri, policy, until)
        if isinstance(answer, bytes):
            return answer
        uri = urljoin(uri, answer)
        if urlsplit(uri).scheme not in ("http", "https"):
            raise UnreadableAssetError("it redirects to an address that is not of the web")
    raise UnreadableAssetError(f"it redirects more than {policy.max_redirects} times")


def _ask(uri: str, policy: Policy, until: float) -> bytes | str:
    """Ask one address: the bytes, or where it redirects to."""
    connection = None
    try:
        parts = urlsplit(uri)
        connection = _connect(parts, policy, until)
        path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_PLAIN)
        with _cut_off_at(until, connection.sock):
            if isinstance(connection.sock, ssl.SSLSocket):
                connection.sock.do_handshake()
            connection.request("GET", path, headers={"Accept-Encoding": "identity", "User-Agent": "pgsim"})
            with connection.getresponse() as answer:
                return _answered(answer, policy, until)
    except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException, socket.gaierror) as error:
        _check_time(policy, until)
        raise UnavailableAssetError(f"the server cannot be reached: {error or type(error).__name__}") from None
    except (ValueError, OSError) as error:
        raise UnreadableAssetError(f"the address cannot be read: {error}") from None
    finally:
        if connection is not None:
            connection.close()


def _answered(answer: http.client.HTTPResponse, policy: Policy, until: float) -> bytes | str:
    if answer.status in _REDIRECTS and (place := answer.getheader("Location")):
        return place
    if answer.status in _PASSING:
        raise UnavailableAssetError(f"the server answers {answer.status} {answer.reason}")
    if answer.status != http.client.OK:
        raise UnreadableAssetError(f"the server answers {answer.status} {answer.reason}")
    if answer.getheader("Content-Encoding", "identity") != "identity":
        # Unpacked, it could be of any size.
        raise UnreadableAssetError("the server sends it compressed, though it was asked not to")
    return _receive(answer, policy, until)


def _receive(answer: http.client.HTTPResponse, policy: Policy, until: float) -> bytes:
    data = bytearray()
    while block := answer.read(_BLOCK):
        data += block
        _within(bytes(data) if len(data) > policy.max_bytes else b"", policy)
    _check_time(policy, until)
    if answer.length:
        # The library tells of it where all is read at once, and not where it is read by blocks.
        raise UnavailableAssetError(f"the server ends {answer.length:,} bytes before all has come")
    return bytes(data)


def _check_time(policy: Policy, until: float) -> None:
    if time.monotonic() >= until:
        raise UnavailableAssetError(f"it takes longer than {policy.seconds:g} seconds")


@contextmanager
def _cut_off_at(until: float, sock: socket.socket) -> Iterator[None]:
    """End a connection when its time is over: a socket's own timeout begins anew with every byte that drips in."""

    def cut_off() -> None:
        with suppress(OSError):
            # Not by the method of an SSL socket, which another thread is reading.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = Timer(max(0.0, until - time.monotonic()), cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _connect(parts: SplitResult, policy: Policy, until: float) -> http.client.HTTPConnection:
    """Connect to the very address that was checked: asked again, the name could stand for another."""
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found:
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        if not policy.private_addresses and not _is_public(address):
            raise UnreadableAssetError(
                f"{host} is at {address}, which is not a public address; PGSIM_PRIVATE_ADDRESSES=1 allows it"
            )
    connection = http.client.HTTPConnection(host, port)
    plain = _reach(host, [place for *_, place in found], until)
    try:
        context = ssl.create_default_context() if secure else None
        connection.sock = (
            plain
            if context is None
            else context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        )
    except BaseException:
        plain.close()
        raise
    return connection


def _reach(host: str, places: list[Any], until: float) -> socket.socket:
    """Connect to the first address that answers: a machine may have no route to those of one family."""
    failed = None
    for place in places:
        try:
            return socket.create_connection(place[:2], timeout=max(0.1, until - time.monotonic()))
        except OSError as error:
            failed = error
    raise UnavailableAssetError(f"the server {host} cannot be reached: {failed}")


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is of the public internet, also where it stands for another that a gateway turns it into."""
    meant: list[ipaddress.IPv4Address | ipaddress.IPv6Address | None] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            meant = [address.ipv4_mapped]
        elif address in _TRANSLATED:
            meant.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        meant.append(address.sixtofour)
    return all(each is None or (each.is_global and not each.is_multicast) for each in meant)
