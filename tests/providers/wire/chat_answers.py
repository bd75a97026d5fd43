"""Answers of OpenAI's chat completions, for the tests of the codec."""

from hypothesis import strategies as st

from providers import errors
from providers.types import (
    ChatRequest,
    ChatResponse,
    Choice,
    ImagePart,
    OpaquePart,
    Passthrough,
    ReasoningPart,
    RefusalPart,
    Signature,
    TextPart,
    ToolCallPart,
    Usage,
    WireFormat,
)
from providers.wire.accumulator import Accumulator
from providers.wire.codec import ReplyHead
from providers.wire.openai_chat import (
    ChatStreamDecoder,
)

CHAT, GOOGLE, ANTHROPIC = WireFormat.OPENAI_CHAT, WireFormat.GOOGLE, WireFormat.ANTHROPIC_MESSAGES
HEAD = ReplyHead(id="chatcmpl-1", created_s=1790000000, model_name="asked", request=ChatRequest(messages=()))
USAGE = Usage(prompt_tokens=90, completion_tokens=30, cached_tokens=64, cache_write_tokens=5, reasoning_tokens=12)
CUSTOM_CALL = {"id": "call_3", "type": "custom", "custom": {"name": "run", "input": "ls"}}


MALFORMED = (errors.ProviderError, LookupError, TypeError, ValueError, AttributeError)
USAGE_OBJECT = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
SERVED_USAGE = Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=4, reasoning_tokens=2)


def own(**fields):
    return Passthrough(CHAT, fields)


def frame(delta=None, reason=None, *, index=0, **more):
    return {"choices": [{"index": index, "delta": delta or {}, "finish_reason": reason}], **more}


def calls_frame(*calls, reason=None):
    return frame({"tool_calls": list(calls)}, reason)


def piece(index=None, id_=None, name=None, arguments=None, **more):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    wire = {key: value for key, value in (("index", index), ("id", id_)) if value is not None}
    return {**wire, **({"function": function} if function else {}), **more}


def streamed(*frames, is_over=False):
    decoder, accumulator = ChatStreamDecoder(), Accumulator()
    for one in frames:
        accumulator.take(decoder.decode(one))
    if is_over:
        accumulator.take(decoder.end_mark())
    accumulator.check()
    return decoder, accumulator.response()


def streamed_parts(*frames):
    return streamed(*frames)[1].choices[0].parts


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
anthropic = st.builds(Signature, st.just(ANTHROPIC), names)
thoughts = st.lists(st.builds(ReasoningPart, words), max_size=1) | st.lists(
    st.builds(ReasoningPart, words, anthropic)
    | st.builds(lambda data: ReasoningPart("", data, is_redacted=True), anthropic),
    max_size=2,
)
call_parts = st.builds(
    ToolCallPart, names, names, words, st.none() | st.builds(Signature, st.just(GOOGLE), names)
) | st.builds(OpaquePart, st.just(CHAT), st.builds(lambda x: CUSTOM_CALL | {"id": x}, names), st.just("tool_calls"))
answers = st.builds(
    lambda *some: tuple(part for few in some for part in few),
    thoughts,
    st.lists(st.builds(TextPart, words), max_size=1),
    st.lists(st.builds(RefusalPart, words), max_size=1),
    st.lists(st.builds(ImagePart, names), max_size=2),
    st.lists(st.builds(OpaquePart, st.just(CHAT), st.builds(lambda x: {"type": "x_new", "x": x}, words)), max_size=1),
    st.lists(
        call_parts, max_size=3, unique_by=lambda part: part.wire["id"] if isinstance(part, OpaquePart) else part.id
    ),
)


@st.composite
def responses(draw):
    reasons = ["stop", "length", "tool_calls", "content_filter"]
    choices = [
        Choice(
            index=index,
            parts=draw(answers.filter(bool)),
            finish_reason=(reason := draw(st.sampled_from(reasons))),
            native_finish_reason=reason,
            extra=draw(st.none() | st.builds(own, logprobs=st.just({"content": [{"token": "a"}]}))),
        )
        for index in range(draw(st.integers(1, 2)))
    ]
    count = st.integers(1, 9)
    usage = draw(
        st.none()
        | st.builds(Usage, prompt_tokens=count, completion_tokens=count, cached_tokens=count, reasoning_tokens=count)
    )
    return ChatResponse(choices=tuple(choices), model_name=draw(names), usage=usage, upstream_id=HEAD.id)
