"""Database addresses: URLs and libpq connection strings, checked, and shown without their password."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgsim.errors import InvalidInputError

_SCHEMES = ("postgresql://", "postgres://")
#: A dead host otherwise holds a command for the kernel's two minutes.
CONNECT_SECONDS = 10


def parse(address: str) -> dict[str, Any]:
    """Take an address apart: ``postgresql[+psycopg]://``, ``postgres://`` or ``key=value`` text.

    Raises
    ------
    InvalidInputError
        It is none of these. The message never repeats the address, which may hold a password.
    """
    text = address.strip()
    scheme, mark, rest = text.partition("://")
    if mark and scheme in ("postgresql+psycopg", "postgres+psycopg"):
        text = f"postgresql://{rest}"
    try:
        if mark and "=" not in scheme and not text.startswith(_SCHEMES):
            raise ValueError
        found = dict(conninfo_to_dict(text))
        # libpq looks at these only while it connects, one host after the other.
        if not all(port.isdigit() or not port for port in str(found.get("port", "")).split(",")):
            raise ValueError
        return found
    except (psycopg.ProgrammingError, ValueError):
        raise InvalidInputError(
            "the database address is neither a URL (postgresql://user@host:5432/name) "
            "nor a libpq connection string (host=... dbname=...)"
        ) from None


def conninfo(address: str) -> str:
    """Text for ``psycopg.connect``, with a connect timeout and an application name where none is given."""
    given: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "application_name": "pgsim"} | parse(address)
    # Texts are sent as UTF-8, also where they pass psycopg by in a COPY.
    given["client_encoding"] = "UTF8"
    return make_conninfo("", **given)


def uri(address: str, *, password: bool = True) -> str:
    """Write an address as a libpq URI, the form that psql and other clients take.

    Parameters
    ----------
    address : str
        Whatever `parse` accepts.
    password : bool
        False leaves the password out.
    """
    given = parse(address)
    secret = given.pop("password", None)
    user = quote(str(given.pop("user", "")), safe="")
    if secret and password:
        user += ":" + quote(str(secret), safe="")
    host, port, name = (str(given.pop(key, "")) for key in ("host", "port", "dbname"))
    if host.startswith(("/", "@")) or "," in host or "," in port:
        # A socket's folder, and a list of hosts, are written as parameters.
        given = {"host": host} | ({"port": port} if port else {}) | given
        host = port = ""
    where = f"[{host}]" if ":" in host else quote(host, safe="")
    where += f":{port}" if port else ""
    tail = "?" + urlencode(given, quote_via=quote, safe="/") if given else ""
    return f"postgresql://{user}{'@' if user else ''}{where}/{quote(name, safe='')}{tail}"
