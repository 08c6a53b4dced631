"""Texts, and the visible text of HTML pages."""

from __future__ import annotations

from typing import Any

from pgsim.errors import MissingExtraError, UnreadableAssetError

#: Elements that no reader of a page sees.
_UNSEEN = (
    "script, style, noscript, template, head, svg, iframe, object, [hidden], [aria-hidden=true],"
    " [style*='display:none'], [style*='display: none']"
)


def read_text(data: bytes | str) -> tuple[str, dict[str, Any]]:
    """Read plain text: UTF-8, or UTF-16 where it says so itself."""
    return _some(to_text(data)), {"mimeType": "text/plain"}


def read_html(data: bytes | str) -> tuple[str, dict[str, Any]]:
    """Extract the visible text of a page, with its title.

    Raises
    ------
    UnreadableAssetError
        There is no text in it.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        raise MissingExtraError("HTML pages need selectolax; install: pip install 'pgsim[text]'") from None
    page = LexborHTMLParser(to_text(data))
    heading = page.css_first("title")
    title = "" if heading is None else heading.text()
    for node in page.css(_UNSEEN):
        node.decompose()
    body = page.body
    text = "" if body is None else body.text(separator=" ")
    return _some(" ".join(f"{title} {text}".split())), {"mimeType": "text/html"}


def to_text(data: bytes | str) -> str:
    """Decode bytes as text."""
    if isinstance(data, str):
        return data
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise UnreadableAssetError("it is not UTF-8 text") from None


def _some(text: str) -> str:
    if not text.strip():
        raise UnreadableAssetError("there is no text in it")
    return text
