"""Texts, and the visible text of HTML pages."""

from __future__ import annotations

import codecs
import re
from typing import Any, Final

from pgsim.errors import MissingExtraError, UnreadableAssetError

#: Elements that no reader of a page sees.
_UNSEEN = (
    "script, style, noscript, template, head, svg, iframe, object, [hidden], [aria-hidden=true],"
    " [style*='display:none'], [style*='display: none']"
)

_DECLARED: Final = re.compile(rb"<meta[^>]{0,200}charset\s*=[\s\"']{0,9}([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
#: Elements within each other, above which a page is refused: for each tag a parser goes through all that are open,
#: so that 100,000 of them take half a minute.
_DEPTH: Final = 1_000
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][^\s/<>]*)[^<>]*?(/?)>")
#: Elements whose end may be left out, or that have none: they close each other.
_OPEN: Final = (
    "area base body br caption col colgroup dd dt embed head hr html img input li link meta optgroup option p param rp"
    " rt source tbody td tfoot th thead tr track wbr"
)
_OPEN_ENDED: Final = frozenset(_OPEN.split())
_DRAWINGS: Final = frozenset({"svg", "math"})


def read_text(data: bytes | str) -> tuple[str, dict[str, Any]]:
    """Read plain text: UTF-8, or UTF-16 where it says so itself."""
    return _some(to_text(data)), {"mimeType": "text/plain"}


def read_html(data: bytes | str) -> tuple[str, dict[str, Any]]:
    """Extract the visible text of a page, with its title.

    Raises
    ------
    UnreadableAssetError
        There is no text in it, or its elements are nested too deep.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        raise MissingExtraError("HTML pages need selectolax; install: pip install 'pgsim[text]'") from None
    source = to_text(data, _charset(data))
    _check_depth(source)
    page = LexborHTMLParser(source)
    heading = page.css_first("title")
    title = "" if heading is None else heading.text()
    for node in page.css(_UNSEEN):
        node.decompose()
    body = page.body
    text = "" if body is None else body.text(separator=" ")
    return _some(" ".join(f"{title} {text}".split())), {"mimeType": "text/html"}


def _check_depth(source: str) -> None:
    depth = drawing = 0
    for closing, name, closed in (found.groups() for found in _TAG.finditer(source)):
        if name.lower() in _DRAWINGS and not closed:
            drawing = max(0, drawing + (-1 if closing else 1))
        # Only within drawings and formulas is `<g/>` an element that ends at once.
        if (closed and drawing) or name.lower() in _OPEN_ENDED:
            continue
        depth = max(0, depth + (-1 if closing else 1))
        if depth > _DEPTH:
            raise UnreadableAssetError(f"its elements are nested more than {_DEPTH:,} deep")


def to_text(data: bytes | str, charset: str | None = None) -> str:
    """Decode bytes as text, by the charset that they tell of themselves."""
    if isinstance(data, str):
        return data
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        charset = "utf-16"
    elif charset is None or data.startswith(codecs.BOM_UTF8):
        charset = "utf-8-sig"
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        raise UnreadableAssetError(f"it is not {charset.removesuffix('-sig').upper()} text") from None


def _charset(data: bytes | str) -> str | None:
    """Find the charset that a page declares where the HTML standard looks for it: in its first 1,024 bytes."""
    if isinstance(data, str) or (found := _DECLARED.search(data[:1024])) is None:
        return None
    name = found[1].decode("ascii")
    try:
        # What spells its name in ASCII is not UTF-16; and Python calls compressions codecs, too.
        if b"a".decode(name) != "a":
            return None
    except (LookupError, UnicodeError):
        return None
    # As browsers do: these are read as their superset.
    return "cp1252" if codecs.lookup(name).name in ("iso8859-1", "ascii") else name


def _some(text: str) -> str:
    if not text.strip():
        raise UnreadableAssetError("there is no text in it")
    return text
