"""Errors that a user can act on: what went wrong, where, and what to do about it."""

from __future__ import annotations


class VisiftError(Exception):
    """The work failed. One line on stderr, exit code 1.

    `where` names the file, row or setting; `remedy` says what to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, str(where), remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[object, ...]:  # keyword-only arguments must survive a process pool
        return _rebuild, (type(self), self.what, self.where, self.remedy)


def _rebuild(kind: type[VisiftError], what: str, where: str, remedy: str) -> VisiftError:
    return kind(what, where=where, remedy=remedy)


class UsageError(VisiftError):
    """The command, recipe or argument is wrong. Exit code 2."""

    exit_code = 2


class DataError(VisiftError):
    """A file or row is not what it should be."""
