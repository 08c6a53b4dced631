from __future__ import annotations

import pytest

from pgsim.db import address
from pgsim.errors import InvalidInputError


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://u:p%40ss@h:5433/d",
        "postgres://u:p%40ss@h:5433/d",
        "postgresql+psycopg://u:p%40ss@h:5433/d",
        "host=h port=5433 user=u password=p@ss dbname=d",
        "host=h port=5433 user=u password='p@ss' dbname=d",
    ],
)
def test_every_form_becomes_one_uri(given: str) -> None:
    assert address.uri(given) == "postgresql://u:p%40ss@h:5433/d"
    assert address.uri(given, password=False) == "postgresql://u@h:5433/d"


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://pgsim@/pgsim?host=/run/x&port=5432",
        "postgresql://u@[::1]:5432/d",
        "postgresql://u@/d?host=a,b&port=1,2",
        "postgresql:///d?sslmode=require",
        "dbname=d host=h options='-c search_path=a'",
    ],
)
def test_a_uri_means_the_same(given: str) -> None:
    assert address.parse(address.uri(given)) == address.parse(given)


@pytest.mark.parametrize("given", ["mysql://u:secret@h/d", "u:secret@h", "postgresql://u:secret@h:port/d", "secret"])
def test_nonsense_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(InvalidInputError, match="neither a URL") as caught:
        address.conninfo(given)
    assert "secret" not in str(caught.value)


def test_defaults_give_way() -> None:
    assert "connect_timeout=10" in address.conninfo("postgresql://h/d")
    assert "connect_timeout=3" in address.conninfo("postgresql://h/d?connect_timeout=3")
