"""Connections: a handful of psycopg connections for pgsim itself, and a SQLAlchemy engine for the ORM."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import TransactionStatus

from pgsim.db import address, schema
from pgsim.db._connection import Connection
from pgsim.db._server_facts import ServerFacts, adapters_for, read_facts, set_session
from pgsim.db.translate import in_our_words, translate
from pgsim.errors import ConnectionFailedError, DatabaseError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pgsim.config import Config

#: Idle connections kept; more are opened when needed, and closed after use.
_KEPT: Final = 4


class Database:
    """A database with pgsim's connections to it.

    Connections are opened when they are first needed and know pgvector's types; the search path finds its operators.

    Parameters
    ----------
    conninfo : str
        libpq connection string.
    embedded : bool
        Whether it is the embedded server's, which is pgsim's own.
    """

    def __init__(self, conninfo: str, *, embedded: bool = False) -> None:
        self.embedded = embedded
        self._conninfo = conninfo
        self._facts: ServerFacts | None = None
        self._adapters: psycopg.adapt.AdaptersMap | None = None
        self._engine: Engine | None = None
        self._idle: list[Connection] = []
        self._lock = Lock()
        self._settings: WeakKeyDictionary[psycopg.Connection[Any], dict[str, str]] = WeakKeyDictionary()
        self._process = os.getpid()

    @classmethod
    def open(cls, config: Config, *, check_schema: bool = True, progress: Callable[[str], None] | None = None) -> Self:
        """Open the configured database; the embedded server is started, and an empty one is set up.

        Parameters
        ----------
        config : Config
            Which database.
        check_schema : bool
            False leaves out the check that the schema is the one that this pgsim needs.
        progress : callable, optional
            Called with a line for people while the embedded server takes long to start.

        Raises
        ------
        ConnectionFailedError
            It cannot be reached.
        UnsupportedServerError
            It is not PostgreSQL 16 to 18 with pgvector 0.8 or later.
        SchemaError
            Its schema is missing, older or newer.
        """
        from pgsim.db import embedded

        if config.database_url is None:
            db = cls(address.conninfo(embedded.ensure_running(config.home, progress)), embedded=True)
        else:
            db = cls(address.conninfo(config.database_url))
        try:
            try:
                with db.autocommit():
                    pass
            except ConnectionFailedError:
                if config.database_url is not None:
                    raise
                # Somebody stopped the embedded server between our look and our call.
                db._conninfo = address.conninfo(embedded.ensure_running(config.home, progress))
            with db.autocommit() as conn:
                missing = check_schema and db.embedded and schema.installed_revision(conn) is None
            if missing:
                schema.upgrade(db)
            if check_schema:
                with db.autocommit() as conn:
                    schema.require_current(conn)
                db.facts.require_vector()
        except BaseException:
            db.close()
            raise
        return db

    @property
    def facts(self) -> ServerFacts:
        """Versions of the server and of pgvector, and where its types are."""
        if self._facts is None:
            with self.autocommit():
                pass
        if self._facts is None:  # pragma: no cover - every new connection sets it
            raise DatabaseError
        return self._facts

    def transaction(self) -> AbstractContextManager[Connection]:
        """One transaction: committed at the end, undone by any exception; nested calls are separate transactions.

        Raises
        ------
        PgsimError
            In place of psycopg's errors.
        """
        return _Lent(self, autocommit=False)

    def autocommit(self) -> AbstractContextManager[Connection]:
        """For statements that must stand outside a transaction, each of which is its own.

        Raises
        ------
        PgsimError
            In place of psycopg's errors.
        """
        return _Lent(self, autocommit=True)

    def set_session(self, conn: psycopg.Connection[Any], settings: Mapping[str, str]) -> None:
        """Set settings of a connection's session, where they are not so already; spares round trips mostly."""
        known = self._settings.setdefault(conn, {})
        for name, value in settings.items():
            if known.get(name) != value:
                conn.execute("select pg_catalog.set_config(%s, %s, false)", (name, value))
                known[name] = value

    @property
    def engine(self) -> Engine:
        """SQLAlchemy engine on the same database, made when it is first asked for."""
        if self._engine is None:
            import sqlalchemy

            # hstore costs a query for each connection, and nothing here uses it.
            self._engine = sqlalchemy.create_engine(
                "postgresql+psycopg://", creator=self._connect_transactional, pool_size=_KEPT, use_native_hstore=False
            )
        return self._engine

    def reset(self) -> None:
        """Close idle connections and forget what is known about the server, after an upgrade or a restart."""
        with self._lock:
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()
        if self._engine is not None:
            self._engine.dispose()
        self._facts = self._adapters = None

    def close(self) -> None:
        """Close the connections; the embedded server goes on running."""
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _connect(self) -> Connection:
        """Open a connection in autocommit mode: one round trip beside libpq's own.

        None for pgvector's types once they are known.
        """
        try:
            conn = Connection.connect(self._conninfo, autocommit=True, context=self._adapters)
        except psycopg.Error as error:
            raise translate(error) from None  # the chain would show libpq's attempts, one for each address
        try:
            if self._facts is None or self._adapters is None:
                facts = read_facts(conn)
                facts.require_server()
                adapters = adapters_for(facts)
                # The connection that asked was opened without them.
                conn._adapters = psycopg.adapt.AdaptersMap(adapters)
                self._facts, self._adapters = facts, adapters
            else:
                set_session(conn, self._facts)
            # Whatever the server's default: statements after a lock must see what it waited for.
            conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        except BaseException:
            conn.close()
            raise
        return conn

    def _connect_transactional(self) -> Connection:
        """Open a connection as SQLAlchemy takes it."""
        conn = self._connect()
        conn.autocommit = False
        return conn

    def _take(self) -> Connection:
        with self._lock:
            if self._process != os.getpid():  # a fork must not talk on its parent's sockets
                self._process, self._idle, self._engine = os.getpid(), [], None
            while self._idle:
                conn = self._idle.pop()
                # An idle connection has nothing to say, except that the server has gone.
                if not conn.closed and not select.select([conn.fileno()], [], [], 0)[0]:
                    return conn
                conn.close()
        return self._connect()

    def _give_back(self, conn: Connection) -> None:
        if conn.closed:
            return
        try:
            if conn.info.transaction_status is not TransactionStatus.IDLE:
                conn.rollback()
        except psycopg.Error:
            conn.close()
            return
        with self._lock:
            if len(self._idle) < _KEPT and self._process == os.getpid():
                self._idle.append(conn)
                return
        conn.close()


class _Lent:
    """A connection lent for a ``with`` block; a class, since a generator takes three times as long to go through."""

    __slots__ = ("_autocommit", "_conn", "_db")

    def __init__(self, db: Database, *, autocommit: bool) -> None:
        self._db = db
        self._autocommit = autocommit
        self._conn: Connection | None = None

    def __enter__(self) -> Connection:
        try:
            conn = self._conn = self._db._take()
            # An idle connection stays as it was used last: most are used alike again.
            if conn.autocommit is not self._autocommit:
                conn.autocommit = self._autocommit
        except BaseException as error:
            if self._conn is not None:
                self._db._give_back(self._conn)
            ours = in_our_words(error)
            if ours is None:
                raise
            raise ours from error
        return conn

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        conn = self._conn
        assert conn is not None  # noqa: S101 - entered
        try:
            if error is not None:
                _leave(conn)
            elif not self._autocommit:
                conn.commit()
        except psycopg.Error as failed:
            raise translate(failed) from failed
        finally:
            self._db._give_back(conn)
        ours = None if error is None else in_our_words(error)
        if ours is not None:
            raise ours from error


def _leave(conn: Connection) -> None:
    """Undo the transaction; end a statement that still runs, so that it holds no locks after us."""
    with suppress(psycopg.Error):
        if conn.info.transaction_status is TransactionStatus.ACTIVE:
            conn.cancel_safe(timeout=5)
            conn.close()
        elif not conn.closed:
            conn.rollback()
