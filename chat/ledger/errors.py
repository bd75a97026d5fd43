"""What can go wrong with an entry."""


class LedgerUnavailableError(Exception):
    """The record cannot be written now, so what it is about must not happen."""


class UnsureError(LedgerUnavailableError):
    """The database was given the entry and did not say whether it stored it."""


class EntryRefusedError(LedgerUnavailableError):
    """The database does not take this entry, now or later; others are not affected."""
