"""pydantic's findings as one line of plain words that names the node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from pgsim.errors import InvalidInputError, LimitError, NotFoundError, NotSearchableError
from pgsim.filters.values import shown

T = TypeVar("T")


def problem(message: str, *at: str | int) -> PydanticCustomError:
    """Make the error that a validator raises; ``at`` leads from the validated object to the offender."""
    return PydanticCustomError("filter", "{message}", {"message": message, "at": at})


def validator(function: Callable[[object], T]) -> Callable[[object], T]:
    """Let a check that raises InvalidInputError serve as a pydantic validator."""

    def checked(value: object) -> T:
        try:
            return function(value)
        except InvalidInputError as error:
            raise problem(str(error)) from error

    return checked


def describe(error: ValidationError) -> tuple[str, str]:
    """Return the path of the first offender, such as ``where.and[1].value``, and what is wrong with it."""
    details = error.errors(include_url=False)[0]
    return path(*details["loc"], *details.get("ctx", {}).get("at", ())), _words(details)


def path(*steps: str | int) -> str:
    """Spell a path; the union tags that pydantic puts in (``<and>``) are left out."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not (step.startswith("<") and step.endswith(">")):
            name = step if step.isidentifier() else shown(step)
            text += f".{name}" if text else name
    return text


@contextmanager
def placed(place: str | None) -> Iterator[None]:
    """Let what the database knows against a condition name the condition's place, such as ``where.and[1]``."""
    try:
        yield
    except (InvalidInputError, LimitError, NotFoundError, NotSearchableError) as error:
        if place is None:
            raise
        raise type(error)(f"{place}: {error}") from error


def _words(details: ErrorDetails) -> str:
    context: dict[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known here"
        case "literal_error":
            return f"must be {context['expected']}, not {shown(str(details['input']))}"
        case "too_short":
            return "must not be empty"
        case "too_long" | "string_too_long":
            unit = "characters" if isinstance(details["input"], str) else "members"
            return f"has more than {context['max_length']} {unit}"
        case "tuple_type":
            return "must be a list"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be an object"
        case "bool_type":
            return "must be true or false"
        case "greater_than_equal" | "less_than_equal":
            return f"{details['input']} is not within 0 and 1"
    return details["msg"]
