"""The one rule by which the end of a streamed answer is held back until its outcome is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from providers.errors import MalformedReplyError
from providers.types import ChoiceFinished, Delta, PartDelta, PartStarted

MAX_HELD_DELTAS = 4096


class HoldBack:
    """Lets deltas pass as long as some choice goes on; what follows the end of the last one is held.

    A choice that begins afterwards lets all of it pass: the answer was not at its end after all.
    """

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._unfinished: set[int] = set()
        self._held: list[Delta] = []

    def take(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Return the deltas that may be handed on.

        Errors: MalformedReplyError for an answer that goes on and on after its end.
        """
        if not self._held and len(deltas) == 1 and type(deltas[0]) is PartDelta:
            return deltas
        free: list[Delta] = []
        for delta in deltas:
            self._held.append(delta)
            if isinstance(delta, PartStarted):
                self._begun.add(delta.choice)
                self._unfinished.add(delta.choice)
            elif isinstance(delta, ChoiceFinished):
                self._begun.add(delta.choice)
                self._unfinished.discard(delta.choice)
            if self._unfinished or not self._begun:
                free += self._held
                self._held.clear()
        if len(self._held) > MAX_HELD_DELTAS:
            raise MalformedReplyError("The provider's stream goes on after its answer has ended.")
        return free

    def release(self) -> Sequence[Delta]:
        """Return what was held."""
        held, self._held = self._held, []
        return held
