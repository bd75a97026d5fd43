"""The hub's promises, each with the function whose broken version breaks it and the tests that notice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from typing import Any

VARIABLE = "MUTANT"
"""The variable of the environment that names a mutant to the processes which shall run with it."""

BROKEN = "tests.mutation.broken"
"""Imported late: it imports the hub, which needs Django to be set up."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One broken promise.

    Shape: `name` is that of a function in `broken.py`; `replaces` is `module:function` or `module:Class.function`;
    `tests` are pytest's node ids.
    """

    name: str
    promise: str
    replaces: str
    tests: tuple[str, ...]

    @property
    def broken(self) -> Any:
        return getattr(import_module(BROKEN), self.name)

    @property
    def sound(self) -> Any:
        """Errors: ImportError, AttributeError where the hub has no such function."""
        return getattr(*self._place)

    def install(self) -> None:
        """Replace the function in this process, but for those who have imported it by its name.

        Errors: as `sound`.
        """
        _ = self.sound
        setattr(*self._place, self.broken)

    @property
    def _place(self) -> tuple[Any, str]:
        module, _, path = self.replaces.partition(":")
        *owners, name = path.split(".")
        return reduce(getattr, owners, import_module(module)), name


def get_mutant(name: str) -> Mutant:
    """Errors: KeyError."""
    return {mutant.name: mutant for mutant in MUTANTS}[name]


CHATS = "tests/chat/gateway/test_chat_completions.py"

MUTANTS = (
    Mutant(
        name="ask_before_recording",
        promise="No provider hears of a chat before the record of it is committed",
        replaces="chat.gateway.exchange:Exchange._run",
        tests=(f"{CHATS}::test_no_provider_is_asked_while_the_record_cannot_be_written",),
    ),
    Mutant(
        name="end_before_recording",
        promise="Nobody has the whole of an answer before its outcome is committed",
        replaces="chat.gateway.exchange:Exchange._answer_streamed",
        tests=(f"{CHATS}::test_a_stream_does_not_end_as_whole_when_its_outcome_cannot_be_recorded",),
    ),
    Mutant(
        name="ask_another_in_mid_answer",
        promise="Once an answer has begun, no other provider is asked",
        replaces="providers.manager:ProviderManager.open_stream",
        tests=("tests/providers/test_manager_streams.py",),
    ),
    Mutant(
        name="skip_a_number",
        promise="Events of one process are numbered without a gap",
        replaces="chat.ledger.migrations.0001_initial:Migration.apply",
        tests=(
            "tests/chat/ledger/test_writer.py::test_each_writer_counts_for_itself_without_a_gap",
            "tests/chat/ledger/test_append.py::test_numbers_go_on_without_a_gap_after_a_rollback",
        ),
    ),
    Mutant(
        name="admit_revoked_keys",
        promise="A revoked key opens nothing",
        replaces="llmhub.access.principals:_refusal",
        tests=(
            "tests/llmhub/access/test_principals.py",
            f"{CHATS}::test_a_revoked_key_is_refused_within_a_second_and_the_refusal_recorded",
        ),
    ),
    Mutant(
        name="repeat_the_key",
        promise="A provider's key is taken out of what providers say",
        replaces="providers.backends.base:BaseProvider._presentable",
        tests=("tests/secrets_kept/test_chats.py::test_a_provider_that_repeats_what_it_got_tells_no_key",),
    ),
    Mutant(
        name="connect_to_any_address",
        promise="A name is connected to only where the address it stands for may be reached",
        replaces="providers.http:_GuardedResolver.resolve",
        tests=(
            "tests/providers/test_http.py::test_a_name_for_this_machine_is_not_connected_to_unless_that_is_allowed",
        ),
    ),
    Mutant(
        name="follow_redirects",
        promise="A redirect is not followed, and takes no key anywhere",
        replaces="providers.http:HttpClient._send",
        tests=("tests/providers/test_http.py::test_a_redirect_takes_no_key_anywhere",),
    ),
)
