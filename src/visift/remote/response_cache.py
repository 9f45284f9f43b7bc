"""Replies kept in SQLite by the hash of their request, and the books of what was paid. Safe to kill at any moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from visift.core.errors import VisiftError
from visift.core.files import canonical_json
from visift.remote.request import Reply, Request

VERSION = 1
TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    request_sha256 TEXT PRIMARY KEY, request TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, reply_tokens INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, request_sha256 TEXT NOT NULL, outcome TEXT NOT NULL, cost REAL NOT NULL
);
"""
Result = TypeVar("Result")


class ResponseCache:
    """One file, in WAL mode; several processes may share it. Without a path it lives in memory.

    `request` holds the canonical request, so that a reply can be audited. No key and no address is ever written.
    """

    def __init__(self, path: Path | None) -> None:
        """Raises VisiftError when the file is no cache or cannot be written."""
        self.path = path
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            # used from the client's loop thread only, opened and closed elsewhere
            self._db = sqlite3.connect(path or ":memory:", timeout=60, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")  # a kill loses nothing; a power cut may lose the last calls
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError(f"version {version}, expected {VERSION}")
            self._db.executescript(TABLES)
            self._db.execute(f"PRAGMA user_version={VERSION}")
        except (sqlite3.Error, OSError) as e:
            raise VisiftError(
                f"is no usable reply cache ({e})", where=path, remedy="name another file, or move this one away"
            ) from e

    def get(self, key: str) -> Reply | None:
        row = self._run(
            lambda: self._db.execute(
                "SELECT text, finish, prompt_tokens, reply_tokens FROM replies WHERE request_sha256 = ?", (key,)
            ).fetchone()
        )
        return None if row is None else Reply(row[0], row[1], key, row[2], row[3], cached=True)

    def book(self, key: str, bound: float) -> int:
        """Note a call that is about to be sent; returns the entry's number."""
        sql = "INSERT INTO calls (request_sha256, outcome, cost) VALUES (?, 'open', ?)"
        return int(self._run(lambda: self._db.execute(sql, (key, bound))).lastrowid or 0)

    def settle(self, entry: int, cost: float, outcome: str, keep: tuple[Request, Reply] | None = None) -> None:
        """Close an entry; a reply to keep is kept in the same transaction, so that no kill parts what was paid from what came."""

        def both() -> None:
            with self._transaction():
                if keep is not None:
                    self.put(*keep)
                sql = "UPDATE calls SET cost = ?, outcome = ? WHERE id = ?"
                self._db.execute(sql, (cost, outcome, entry))

        self._run(both)

    def put(self, request: Request, reply: Reply) -> None:
        """Keep a reply; a later one to the same request takes its place."""
        row = (
            reply.request_sha256, canonical_json(request.canonical()), reply.text, reply.finish, reply.prompt_tokens, reply.reply_tokens,
        )  # fmt: skip
        self._run(lambda: self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?)", row))

    def spent(self) -> float:
        """Dollars booked so far, calls of unknown fate at their bound."""
        return float(self._run(lambda: self._db.execute("SELECT TOTAL(cost) FROM calls").fetchone()[0]))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _run(self, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except sqlite3.Error as e:
            raise VisiftError(
                f"the reply cache failed ({e})", where=self.path, remedy="is the disk full? finished calls are kept"
            ) from e
