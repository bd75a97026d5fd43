"""The hub's promises, each with the change to the code that would break it and the tests that notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One broken promise. Shape: `sound` stands once in the file at `path`; `tests` are pytest's node ids."""

    promise: str
    path: str
    sound: str
    broken: str
    tests: tuple[str, ...]


CHATS = "tests/chat/gateway/test_chat_completions.py"

MUTANTS = (
    Mutant(
        promise="No provider hears of a chat before the record of it is committed",
        path="chat/gateway/pipeline.py",
        sound="            await self._record(intent.entry())\n",
        broken="            self._begun = asyncio.create_task(self._record(intent.entry()))\n",
        tests=(f"{CHATS}::test_no_provider_is_asked_while_the_record_cannot_be_written",),
    ),
    Mutant(
        promise="Nobody has the whole of an answer before its outcome is committed",
        path="chat/gateway/pipeline.py",
        sound="""\
        await self._close(call, ChatStatus.SUCCEEDED, response=response, answer=lambda: answer_json)
        if held:
            yield held
""",
        broken="""\
        if held:
            yield held
        await self._close(call, ChatStatus.SUCCEEDED, response=response, answer=lambda: answer_json)
""",
        tests=(f"{CHATS}::test_a_stream_does_not_end_as_whole_when_its_outcome_cannot_be_recorded",),
    ),
    Mutant(
        promise="Once an answer has begun, no other provider is asked",
        path="providers/manager.py",
        sound="                if has_begun:\n                    raise\n",
        broken="",
        tests=("tests/providers/test_manager_streams.py",),
    ),
    Mutant(
        promise="Events of one process are numbered without a gap",
        path="chat/ledger/migrations/sql/functions.sql",
        sound="DO UPDATE SET last_seq = seat.last_seq + v_count,",
        broken="DO UPDATE SET last_seq = seat.last_seq + v_count + 1,",
        tests=(
            "tests/chat/ledger/test_writer.py::test_each_writer_counts_for_itself_without_a_gap",
            "tests/chat/ledger/test_append.py::test_numbers_go_on_without_a_gap_after_a_rollback",
        ),
    ),
    Mutant(
        promise="A revoked key opens nothing",
        path="llmhub/access/principals.py",
        sound="    if entry.revoked_at is not None:\n",
        broken="    if entry.revoked_at is not None and entry.revoked_at > now:\n",
        tests=(
            "tests/llmhub/access/test_principals.py",
            f"{CHATS}::test_a_revoked_key_is_refused_within_a_second_and_the_refusal_recorded",
        ),
    ),
    Mutant(
        promise="A provider's key is taken out of what providers say",
        path="providers/backends/base.py",
        sound="""            text = text.replace(self.endpoint.api_key, "[key]")\n""",
        broken="""            text = text.strip()\n""",
        tests=("tests/secrets_kept/test_chats.py::test_a_provider_that_repeats_what_it_got_tells_no_key",),
    ),
    Mutant(
        promise="A name is connected to only where the address it stands for may be reached",
        path="providers/http.py",
        sound="        permitted = [result for result, fault in zip(found, faults, strict=True) if not fault]\n",
        broken="        permitted = found\n",
        tests=(
            "tests/providers/test_http.py::test_a_name_for_this_machine_is_not_connected_to_unless_that_is_allowed",
        ),
    ),
    Mutant(
        promise="A redirect is not followed, and takes no key anywhere",
        path="providers/http.py",
        sound="""\
            return await self._transport.handle_async_request(request)
        except httpx.TransportError as exc:
""",
        broken="""\
            client = httpx.AsyncClient(transport=self._transport, follow_redirects=True)
            return await client.send(request, stream=True)
        except httpx.TransportError as exc:
""",
        tests=("tests/providers/test_http.py::test_a_redirect_takes_no_key_anywhere",),
    ),
)
