"""HTML as a tree, so that no text can become markup: the standard library's serializer escapes all of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from xml.etree.ElementTree import Element, tostring

#: What stands between an element's tags.
Content = Element | str | None | Iterable["Content"]

#: Control characters are shown, by the signs that Unicode has for them; line breaks and tabs are white space.
_CONTROLS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
    0x7F: 0x2421,
}


def tag(name: str, /, *content: Content, **attributes: str | int | float | None) -> Element:
    """Make an element.

    Parameters
    ----------
    name : str
        Such as ``"p"``.
    *content : Element, str or iterable of these
        What is in it; None is nothing.
    **attributes : str or number
        ``class_`` is ``class``, and other underscores are hyphens; None leaves the attribute out.
    """
    found = {
        key.rstrip("_").replace("_", "-"): _number(value) if isinstance(value, float) else _shown(str(value))
        for key, value in attributes.items()
        if value is not None
    }
    element = Element(name, found)
    _fill(element, content)
    return element


def value(text: object, /, **attributes: str | None) -> Element:
    """Show something that was stored: its direction of writing cannot turn what stands around it."""
    return tag("bdi", str(text), **attributes)


def document(root: Element) -> bytes:
    """Print a page."""
    printed: bytes = tostring(root, encoding="utf-8", method="html")
    return b"<!doctype html>\n" + printed + b"\n"


def _fill(element: Element, content: Iterable[Content]) -> None:
    for part in content:
        if part is None:
            continue
        if isinstance(part, Element):
            element.append(part)
        elif isinstance(part, str):
            text = _shown(part)
            if len(element):
                element[-1].tail = (element[-1].tail or "") + text
            else:
                element.text = (element.text or "") + text
        else:
            _fill(element, part)


def _shown(text: str) -> str:
    return text.translate(_CONTROLS)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
