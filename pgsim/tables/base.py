"""The declarative base: one schema, one naming convention, so that errors can be told by constraint name."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

SCHEMA: Final = "pgsim"


class Base(DeclarativeBase):
    """Base of every mapped table of pgsim."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(referred_table_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        },
    )
