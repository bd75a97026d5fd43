"""Failures of an append to the ledger."""


class LedgerUnavailableError(Exception):
    """The ledger cannot be written now, so the recorded action must not happen."""


class UnsureError(LedgerUnavailableError):
    """The database received the entry and did not confirm whether it stored it."""


class EntryRefusedError(LedgerUnavailableError):
    """The database refuses this entry for good; other entries are not affected."""
