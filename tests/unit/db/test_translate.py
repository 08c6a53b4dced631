from __future__ import annotations

from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy.exc

from pgsim import errors
from pgsim.db.translate import one_line, translate, translated


def raised(state: str | None, message: str, **diag: str) -> psycopg.Error:
    """An error as the server sends it."""
    kind = psycopg.errors.lookup(state) if state and not state.startswith("PS") else psycopg.OperationalError
    fields = {"message_primary": message, "message_hint": None, "message_detail": None, "constraint_name": None} | diag

    class Raised(kind):  # type: ignore[valid-type, misc]
        diag = SimpleNamespace(**fields)
        sqlstate = state

    return Raised(message)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("PS001", errors.LimitError),
        ("PS002", errors.RefusedError),
        ("PS003", errors.NotFoundError),
        ("PS004", errors.InvalidInputError),
        ("PS005", errors.NotSearchableError),
        ("PS006", errors.AlreadyExistsError),
    ],
)
def test_own_states(state: str, kind: type[errors.PgsimError]) -> None:
    error = translate(raised(state, "written for people", message_hint="do this"))
    assert type(error) is kind
    assert str(error) == "written for people; do this"


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("23505", errors.AlreadyExistsError),
        ("23502", errors.InvalidInputError),
        ("23514", errors.InvalidInputError),
        ("22P02", errors.InvalidInputError),
        ("22003", errors.InvalidInputError),
        ("55P03", errors.BusyError),
        ("40001", errors.BusyError),
        ("40P01", errors.BusyError),
        ("57014", errors.BusyError),
        ("57P01", errors.ConnectionFailedError),
        ("08006", errors.ConnectionFailedError),
        ("28P01", errors.ConnectionFailedError),
        ("42501", errors.DatabaseError),
    ],
)
def test_states(state: str, kind: type[errors.PgsimError]) -> None:
    assert type(translate(raised(state, "what the server says"))) is kind


def test_a_foreign_key_by_its_side() -> None:
    absent = translate(raised("23503", 'insert or update on table "a" violates foreign key constraint "x"'))
    needed = translate(
        raised("23503", 'update or delete on table "b" violates foreign key constraint "x" on table "a"')
    )
    assert (type(absent), type(needed)) == (errors.NotFoundError, errors.RefusedError)


def test_a_constraint_has_its_own_words() -> None:
    error = translate(raised("23505", "duplicate key", constraint_name="workspace_name_key"))
    assert str(error) == "a workspace of that name exists already"


def test_what_depends_is_named_and_to_be_dropped_first() -> None:
    error = translate(
        raised(
            "2BP01",
            "cannot drop view ws_default.near because other objects depend on it",
            message_detail='view mine depends on view ws_default.near\nview public."a b" depends on view mine\n'
            "and 3 other objects (see server log for list)",
            message_hint="Use DROP ... CASCADE to drop the dependent objects too.",
        )
    )
    assert isinstance(error, errors.RefusedError)
    assert error.dependants == ("view mine", 'view public."a b"', "and 3 other objects (see server log for list)")
    assert str(error) == (
        'cannot drop view ws_default.near because other objects depend on it: view mine, view public."a b",'
        " and 3 other objects (see server log for list); drop those first"
    )
    assert str(translate(raised("2BP01", "still in use"))) == "still in use"


def test_dependants_come_in_the_detail() -> None:
    error = translate(raised("PS002", "two slices use it", message_detail='["a", "b"]'))
    assert isinstance(error, errors.RefusedError)
    assert error.dependants == ("a", "b")


def test_messages_are_one_line_without_password() -> None:
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("host=h password=hush port=1") == "host=h password=*** port=1"
    assert one_line("host=h password='hu sh' port=1") == "host=h password=*** port=1"
    assert one_line("no postgresql://u:hush@h/d") == "no postgresql://u:***@h/d"


def test_sqlalchemy_is_unwrapped() -> None:
    wrapped = sqlalchemy.exc.DBAPIError("select 1", None, raised("55P03", "locked"))
    with pytest.raises(errors.BusyError), translated():
        raise wrapped


def test_client_side_errors() -> None:
    assert type(translate(psycopg.OperationalError("gone"))) is errors.ConnectionFailedError
    assert type(translate(psycopg.DataError("NUL"))) is errors.InvalidInputError
    assert type(translate(psycopg.InterfaceError("closed"))) is errors.DatabaseError


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("x")
