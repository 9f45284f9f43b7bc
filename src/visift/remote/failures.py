"""What can go wrong with a question to a remote model, by what may be done about it."""

from __future__ import annotations

from visift.core.errors import DataError, VisiftError


class RemoteError(VisiftError):
    """The server refuses, or cannot be reached: no other question fares better, the work stops. Finished calls are kept."""


class BudgetError(RemoteError):
    """The next call could cost more than what is left under the cap."""


class UnusableReply(DataError):
    """This one question got no usable reply (empty, cut off, withheld, refused, not in the form asked for); others may."""


class Failure(Exception):
    """One sending failed and may be tried again; stays inside the room.

    kind         overload | server | nonsense | connection | timeout
    retry_after  seconds the server asks to wait, or None
    billed       whether the server may have charged for it
    """

    def __init__(self, kind: str, what: str, *, retry_after: float | None = None, billed: bool = False) -> None:
        super().__init__(what)
        self.kind, self.what, self.retry_after, self.billed = kind, what, retry_after, billed

    @property
    def is_crowded(self) -> bool:
        """Whether fewer calls at a time may help."""
        return self.kind in ("overload", "server", "timeout")
