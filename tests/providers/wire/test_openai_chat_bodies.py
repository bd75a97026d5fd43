import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.wire.openai_chat import decode_request, encode_request

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = WORDS.filter(bool)
NUMBERS = st.integers(-5, 5) | st.floats(-2, 2)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)


def objects(required, optional=None, *, values=VALUES):
    """Objects with these fields, and with some that nobody knows."""
    known = st.fixed_dictionaries(required, optional=optional or {})
    unknown = st.dictionaries(WORDS.map("x_{}".format), values, max_size=2)
    return st.builds(lambda one, other: {**other, **one}, known, unknown)


TEXTS = objects({"type": st.just("text"), "text": WORDS})
IMAGES = objects({"url": WORDS}, {"detail": st.sampled_from(["low", "high"])})
PARTS = (
    TEXTS
    | objects({"type": st.just("image_url"), "image_url": IMAGES})
    | objects({"type": st.sampled_from(["input_audio", "file", "video_url"])})
)


def contents(parts):
    """Texts, and lists that are no other way to write a text."""
    return WORDS | st.lists(parts, min_size=2, max_size=3)


# Helpers of clients add a null to the function of a call that they replay.
FUNCTIONS = objects({"name": WORDS, "arguments": NAMES}, values=VALUES.filter(lambda value: value is not None))
CALLS = objects({"id": NAMES, "type": st.just("function"), "function": FUNCTIONS}) | objects(
    {"id": WORDS, "type": st.just("custom"), "custom": objects({"name": WORDS, "input": WORDS})}
)
ASKING = objects(
    {"role": st.sampled_from(["system", "developer", "user"]), "content": contents(PARTS)}, {"name": WORDS}
)
CALLING = objects(
    {
        "role": st.just("assistant"),
        "content": st.none() | contents(TEXTS),
        "tool_calls": st.lists(CALLS, min_size=1, max_size=2),
    }
)
RESULTS = objects({"role": st.just("tool"), "content": contents(TEXTS), "tool_call_id": NAMES})
SCHEMAS = st.dictionaries(WORDS, VALUES, max_size=2)
TOOLS = objects({"type": st.just("function"), "function": objects({"name": WORDS}, {"parameters": SCHEMAS})}) | objects(
    {"type": st.just("custom")}
)
PARAMS = {
    "temperature": NUMBERS,
    "top_p": NUMBERS,
    "top_k": st.integers(0, 9),
    "seed": st.integers(),
    "presence_penalty": NUMBERS,
    "frequency_penalty": NUMBERS,
    "n": st.integers(1, 3),
    "max_tokens": st.integers(1, 9),
    "stop": st.lists(WORDS, min_size=1, max_size=2),
    "response_format": objects({"type": WORDS}),
    "reasoning_effort": WORDS,
    "user": WORDS,
}
OF_TOOLS = {
    "tool_choice": WORDS.filter(lambda choice: choice != "any") | objects({"type": WORDS}),
    "parallel_tool_calls": st.booleans(),
}
ALWAYS = {"messages": st.lists(ASKING | CALLING | RESULTS, min_size=1, max_size=3), "model": WORDS}
BODIES = objects(ALWAYS, PARAMS) | objects(
    {**ALWAYS, "tools": st.lists(TOOLS, min_size=1, max_size=2)}, {**PARAMS, **OF_TOOLS}
)


@pytest.mark.slow
@settings(deadline=None)
@given(BODIES)
def test_a_body_goes_out_as_it_came_in_with_all_that_nobody_knows(body):
    encoded = encode_request(decode_request(body), stream=False, length_param="max_tokens")

    assert encoded.body == body
