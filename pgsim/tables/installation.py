"""What this database was set up with."""

from __future__ import annotations

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from pgsim.tables.base import Base


class Installation(Base):
    """A fact about the installation, such as the digest of the SQL functions it holds."""

    __tablename__ = "installation"
    __table_args__ = {"comment": "What this database was set up with; kept by pgsim db upgrade."}  # noqa: RUF012

    name: Mapped[str] = mapped_column(Text, primary_key=True, comment="Name of the fact, such as functions.")
    value: Mapped[str] = mapped_column(Text, comment="Its value, such as the sha256 of the function files.")
