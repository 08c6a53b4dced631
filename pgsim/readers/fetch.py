"""Bytes of a URI: files under allowed folders, public web addresses, and data URIs, each within limits."""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, unquote_to_bytes, urljoin, urlsplit

from pgsim.errors import UnavailableAssetError, UnreadableAssetError

if TYPE_CHECKING:
    from pgsim.readers.policy import Policy

_BLOCK: Final = 2**16
_REDIRECTS: Final = (301, 302, 303, 307, 308)
#: Answers that another try may better: too many requests, and a server's own troubles.
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)


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
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept-Encoding": "identity", "User-Agent": "pgsim"})
        with connection.getresponse() as answer:
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
    except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException, socket.gaierror) as error:
        raise UnavailableAssetError(f"the server cannot be reached: {error or type(error).__name__}") from None
    except (ValueError, OSError) as error:
        raise UnreadableAssetError(f"the address cannot be read: {error}") from None
    finally:
        if connection is not None:
            connection.close()


def _receive(answer: http.client.HTTPResponse, policy: Policy, until: float) -> bytes:
    data = bytearray()
    while block := answer.read(_BLOCK):
        data += block
        _within(bytes(data) if len(data) > policy.max_bytes else b"", policy)
        if time.monotonic() > until:
            raise UnavailableAssetError(f"it takes longer than {policy.seconds:g} seconds")
    return bytes(data)


def _connect(parts: SplitResult, policy: Policy, until: float) -> http.client.HTTPConnection:
    """Connect to the very address that was checked: asked again, the name could stand for another."""
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found:
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        inner = getattr(address, "ipv4_mapped", None) or address
        if not policy.private_addresses and (not inner.is_global or inner.is_multicast):
            raise UnreadableAssetError(
                f"{host} is at {address}, which is not a public address; PGSIM_PRIVATE_ADDRESSES=1 allows it"
            )
    left = max(0.1, until - time.monotonic())
    connection = http.client.HTTPConnection(host, port, timeout=left)
    plain = socket.create_connection(found[0][4][:2], timeout=left)
    try:
        context = ssl.create_default_context() if secure else None
        connection.sock = plain if context is None else context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
    return connection
