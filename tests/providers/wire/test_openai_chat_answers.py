import json

import pytest
from hypothesis import given, settings

from providers import errors
from providers.types import (
    AudioPart,
    ChatResponse,
    Choice,
    FilePart,
    ImagePart,
    OpaquePart,
    Passthrough,
    ReasoningPart,
    RefusalPart,
    Signature,
    TextPart,
    ToolCallPart,
    Usage,
)
from providers.wire.openai_chat import (
    ChatStreamDecoder,
    decode_error,
    decode_reply,
    encode_reply,
)
from tests.providers.backends.mutations import mutated
from tests.providers.wire.chat_answers import (
    ANTHROPIC,
    CHAT,
    CUSTOM_CALL,
    GOOGLE,
    HEAD,
    MALFORMED,
    SERVED_USAGE,
    USAGE,
    USAGE_OBJECT,
    frame,
    own,
    responses,
    streamed,
)
from tests.wire import sample


def reply(message=None, **choice):
    return decode_reply({"choices": [{"message": message or {"content": "Hi"}, "finish_reason": "stop", **choice}]})


def parts(**message):
    return reply(message).choices[0].parts


def test_a_reply_keeps_every_choice_and_all_that_is_not_known():
    response = decode_reply(sample("openai", "reply"))

    first, second = response.choices
    assert (first.index, first.parts, first.finish_reason) == (0, (TextPart("Red."),), "stop")
    assert first.extra.fields["logprobs"]["content"][0]["token"] == "Red"
    assert first.extra.fields["annotations"] == [{"type": "url_citation"}]
    assert (second.index, second.parts) == (1, (RefusalPart("No."),))
    assert second.finish_reason == "content_filter"
    assert second.extra.fields["content_filter_results"] == {"hate": {"filtered": False}}
    assert (response.model_name, response.upstream_id) == ("gpt-6-luna-2026-09-01", "chatcmpl-1")
    assert response.usage == USAGE
    assert response.extra == own(service_tier="flex", system_fingerprint="fp_1")


def test_parallel_tool_calls_stay_apart():
    choice = decode_reply(sample("openai", "reply_tool_calls")).choices[0]

    assert choice.finish_reason == "tool_calls"
    assert choice.parts == (
        ToolCallPart("call_1", "look", '{"q":"x"}'),
        ToolCallPart("call_2", "look", '{"q":"y"}'),
        OpaquePart(CHAT, CUSTOM_CALL, "tool_calls"),
    )


def test_a_reply_with_nothing_but_the_answer_is_enough():
    response = decode_reply(sample("custom", "reply_bare"))

    choice = response.choices[0]
    assert (choice.index, choice.finish_reason) == (0, "tool_calls")
    assert choice.parts == (
        ReasoningPart("Hm."),
        TextPart("Red."),
        ToolCallPart("call_0", "look", '{"q":"x"}'),
        ToolCallPart("call_1", "now", "{}"),
    )
    assert (response.usage, response.upstream_id, response.model_name, response.extra) == (None, None, "", None)


def test_calls_without_ids_have_others_in_another_answer():
    def ids(upstream_id):
        call = {"function": {"name": "f", "arguments": "{}"}}
        body = {"id": upstream_id, "choices": [{"message": {"tool_calls": [call, call]}}]}
        return [part.id for part in decode_reply(body).choices[0].parts]

    made = [*ids("chatcmpl-1" * 9), *ids("chatcmpl-2" * 9)]
    assert len(set(made)) == 4
    assert all(len(id_) <= 40 for id_ in made)


@pytest.mark.parametrize(
    "odd",
    [
        {"id": 12345},
        {"id": None},
        {"model": 5},
        {"created": "yesterday"},
        {"object": None},
        {"usage": "none"},
        {"usage": {"prompt_tokens": "9"}},
        {"system_fingerprint": {}},
    ],
)
def test_a_good_answer_is_not_lost_over_what_is_not_needed(odd):
    body = {"choices": [{"message": {"role": "assistant", "content": "Red."}, "finish_reason": "stop"}], **odd}

    assert decode_reply(body).choices[0].parts == (TextPart("Red."),)
    assert streamed({**frame({"content": "Red."}, "stop"), **odd})[1].choices[0].parts == (TextPart("Red."),)


@pytest.mark.parametrize(
    "odd",
    [
        {"index": "0"},
        {"index": 0.0},
        {"finish_reason": 7},
        {"logprobs": []},
        {"logprobs": "none"},
        {"message": {"role": 5, "content": "Hi", "refusal": False, "images": {}, "reasoning": {}}},
        {"message": {"content": "Hi", "tool_calls": None, "extra_content": []}},
    ],
)
def test_a_good_choice_is_not_lost_over_what_is_not_needed(odd):
    choice = reply(**odd).choices[0]

    assert (choice.index, choice.parts, choice.finish_reason) == (0, (TextPart("Hi"),), "stop")


def test_a_number_as_id_is_kept():
    assert decode_reply({"id": 12345, "choices": [{"message": {"content": "Hi"}}]}).upstream_id == "12345"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": None},
        {"choices": [{}]},
        {"choices": 5},
        {"choices": [{"message": {"content": 5}}]},
        {"choices": [{"message": {"content": [5]}}]},
        {"choices": [{"message": {"tool_calls": [{"function": {"name": ""}}]}}]},
        {"choices": [{"message": {"tool_calls": {}}}]},
    ],
)
def test_a_reply_without_an_answer_is_malformed(body):
    with pytest.raises(errors.MalformedReplyError):
        decode_reply(body)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param({"content": None}, (), id="null"),
        pytest.param({"content": ""}, (), id="empty"),
        pytest.param({"reasoning_content": "Hm.", "reasoning": "Hm."}, (ReasoningPart("Hm."),), id="both-names"),
        pytest.param(
            {"content": [{"type": "text", "text": "Re"}, {"type": "text", "text": "d."}, "!"]},
            (TextPart("Red.!"),),
            id="list-of-texts",
        ),
        pytest.param(
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Fur. "}], "closed": True}]},
            (ReasoningPart("Fur. "),),
            id="thinking",
        ),
        pytest.param(
            {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Fur."}]}, "Red."]},
            (ReasoningPart("Fur."), TextPart("Red.")),
            id="summary",
        ),
        pytest.param(
            {"content": [{"type": "reference", "reference_ids": [1]}]},
            (OpaquePart(CHAT, {"type": "reference", "reference_ids": [1]}),),
            id="unknown-kind",
        ),
        pytest.param(
            {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
            (ImagePart("data:image/png;base64,AA=="),),
            id="image-in-the-list",
        ),
        pytest.param(
            {"content": None, "images": [{"type": "image_url", "index": 0, "image_url": {"url": "u"}}]},
            (ImagePart("u"),),
            id="images",
        ),
    ],
)
def test_each_kind_of_content_is_read_whole_and_streamed(message, expected):
    assert parts(**message) == expected
    assert streamed(frame(message), frame({}, "stop"))[1].choices[0].parts == expected


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("function_call", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("content_filter", "content_filter"),
        ("sensitive", "content_filter"),
        ("SAFETY", "content_filter"),
        ("a_reason_of_tomorrow", "stop"),
    ],
)
def test_each_finish_reason_has_its_canonical_one(native, reason):
    choice = reply(finish_reason=native).choices[0]
    streamed_choice = streamed(frame({"content": "Hi"}, native))[1].choices[0]

    assert (choice.finish_reason, choice.native_finish_reason) == (reason, native)
    assert streamed_choice == choice


@pytest.mark.parametrize(
    "native", ["error", "insufficient_system_resource", "network_error", "abort", "cancelled", "timeout"]
)
def test_a_reason_that_is_a_fault_of_the_provider_fails(native):
    with pytest.raises(errors.UpstreamError, match=native):
        reply(finish_reason=native)
    with pytest.raises(errors.UpstreamError, match=native):
        streamed(frame({"content": "Re"}), frame({}, native))


def usage(prompt=90, completion=30, **more):
    return Usage(prompt_tokens=prompt, completion_tokens=completion, **more)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param({"prompt_tokens": 90, "completion_tokens": 30}, usage(), id="plain"),
        pytest.param({"prompt_tokens": 90.0, "completion_tokens": 30.0}, usage(), id="floats"),
        pytest.param({"input_tokens": 90, "output_tokens": 30}, usage(), id="other-names"),
        pytest.param({"prompt_tokens": 90, "total_tokens": 120}, usage(), id="total"),
        pytest.param(
            {"prompt_tokens": 90, "completion_tokens": 30, "prompt_cache_hit_tokens": 80},
            usage(cached_tokens=80),
            id="cache-hits",
        ),
        pytest.param(
            {"prompt_tokens": 90, "completion_tokens": 30, "cached_tokens": 80}, usage(cached_tokens=80), id="cached"
        ),
        pytest.param(
            {
                "prompt_tokens": 90,
                "completion_tokens": 10,
                "total_tokens": 120,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            usage(reasoning_tokens=20),
            id="thoughts-apart",
        ),
        pytest.param(
            {"prompt_tokens": 90, "completion_tokens": 30, "total_tokens": 120, "reasoning_tokens": 20},
            usage(reasoning_tokens=20),
            id="thoughts-on-top",
        ),
        pytest.param({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None, id="zeros"),
        pytest.param({"prompt_tokens": 0, "completion_tokens": 30}, None, id="no-prompt"),
        pytest.param({"completion_tokens": 30}, None, id="prompt-absent"),
        pytest.param({"prompt_tokens": 90}, None, id="completion-absent"),
        pytest.param({"prompt_tokens": -1, "completion_tokens": True}, None, id="no-counts"),
    ],
)
def test_usage_is_read_in_every_convention_wherever_it_is_told(told, expected):
    bodies = [
        {"choices": [{"message": {"content": "Hi"}}], "usage": told},
        {"choices": [{"message": {"content": "Hi"}, "usage": told}]},
        {"choices": [{"message": {"content": "Hi"}}], "x_groq": {"usage": told}},
    ]

    responses = [decode_reply(body) for body in bodies]

    assert [response.usage for response in responses] == [expected] * 3
    assert responses[1].choices[0].extra is None


def test_usage_of_a_choice_does_not_leak_into_a_served_delta():
    last = frame({}, "stop")
    last["choices"][0]["usage"] = {"prompt_tokens": 9, "completion_tokens": 2}

    response = streamed(frame({"content": "Hi"}), last)[1]

    assert response.usage == usage(9, 2)
    assert response.choices[0].extra is None


def test_a_later_total_does_not_erase_what_an_earlier_one_told():
    first = {"prompt_tokens": 90, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 64}}
    last = {"prompt_tokens": 90, "completion_tokens": 30, "prompt_tokens_details": None}

    response = streamed(frame({"content": "Hi"}, usage=first), frame({}, "stop", usage=last))[1]

    assert response.usage == usage(cached_tokens=64)


@pytest.mark.parametrize("case", sample("openai", "errors") + sample("custom", "errors"), ids=lambda case: case["id"])
def test_each_refusal_has_its_error(case):
    error = decode_error(case["status"], case["body"])

    assert type(error) is getattr(errors, case["error"])
    assert error.upstream_status == case["status"]


@pytest.mark.parametrize("case", sample("openai", "errors"), ids=lambda case: case["id"])
def test_a_refusal_of_openai_says_its_own_words(case):
    error = decode_error(case["status"], case["body"])

    assert error.message == case["body"]["error"]["message"]
    assert (error.code, error.param) == (case.get("code"), case.get("param"))


def test_a_validators_complaint_names_the_field_without_its_value():
    [case] = [case for case in sample("custom", "errors") if case["id"] == "fastapi-details"]

    assert decode_error(422, case["body"]).message == "body.stream_options: Extra inputs are not permitted"


@pytest.mark.parametrize("body", [{"error": {"message": "Slow.", "code": "slow_down"}}, {"error": "Slow."}])
def test_an_error_in_place_of_an_answer_is_raised(body):
    for read in (decode_reply, ChatStreamDecoder().decode):
        with pytest.raises(errors.ProviderError, match=r"Slow\."):
            read(body)


@settings(max_examples=100, deadline=None)
@given(mutated(sample("openai", "reply") | {"usage": None}) | mutated(sample("openai", "reply_tool_calls")))
def test_a_broken_reply_is_read_or_an_error_that_is_expected(body):
    try:
        response = decode_reply(body)
    except MALFORMED:
        return
    json.dumps(encode_reply(response, HEAD))


def served(*choices, **fields):
    return encode_reply(ChatResponse(choices=choices, **{"model_name": "large-2026", **fields}), HEAD)


def message_of(*answer, **fields):
    return served(Choice(parts=answer, **fields))["choices"][0]["message"]


def test_a_whole_answer_is_a_chat_completion():
    choice = Choice(parts=(TextPart("Hi"),), finish_reason="length", native_finish_reason="max_tokens")

    assert served(choice, usage=SERVED_USAGE) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "large-2026",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "refusal": None},
                "finish_reason": "length",
                "logprobs": None,
            }
        ],
        "usage": USAGE_OBJECT,
    }


def test_the_fields_of_an_answer_that_the_hub_does_not_know_are_kept():
    choice = Choice(parts=(TextPart("Hi"),), extra=own(annotations=[], logprobs={"content": []}))

    body = served(choice, extra=own(system_fingerprint="fp_1"))

    assert body["system_fingerprint"] == "fp_1"
    assert body["choices"][0]["message"]["annotations"] == []
    assert body["choices"][0]["logprobs"] == {"content": []}


def test_fields_of_another_format_are_not_told():
    choice = Choice(parts=(TextPart("Hi"),), extra=Passthrough(ANTHROPIC, {"stop_sequence": "END"}))

    body = served(choice, extra=Passthrough(ANTHROPIC, {"container": 1}))

    assert "container" not in body
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hi", "refusal": None}


def test_an_answer_without_a_model_has_the_one_that_was_asked():
    assert served(model_name="")["model"] == "asked"


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param([ReasoningPart("Hm.")], "", id="thoughts"),
        pytest.param([TextPart("Re"), TextPart("d.")], "Red.", id="texts"),
        pytest.param([RefusalPart("No.")], None, id="refusal"),
        pytest.param([ToolCallPart("a", "f", "{}")], None, id="call"),
        pytest.param([ImagePart("data:image/png;base64,AA==")], None, id="image"),
        pytest.param([TextPart("I look."), ToolCallPart("a", "f", "{}")], "I look.", id="text-and-call"),
    ],
)
def test_the_content_is_text_or_null_where_something_else_is_said(answer, content):
    assert message_of(*answer)["content"] == content


def test_everything_that_is_no_text_stands_beside_the_content():
    reference = {"type": "reference", "reference_ids": [1]}

    message = message_of(
        ReasoningPart("Hm."),
        RefusalPart("No."),
        ImagePart("data:image/png;base64,AA=="),
        OpaquePart(CHAT, reference),
        AudioPart("AA==", "wav"),
        FilePart("https://files.example/a.pdf"),
        ToolCallPart("call_1", "look", '{"q":1}', Signature(GOOGLE, "Cr8="), own(x=1)),
        OpaquePart(CHAT, CUSTOM_CALL, "tool_calls"),
        OpaquePart(ANTHROPIC, {"type": "server_tool_use"}),
    )

    assert message == {
        "role": "assistant",
        "content": None,
        "refusal": "No.",
        "reasoning_content": "Hm.",
        "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
        "content_parts": [
            reference,
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "file", "file": {"file_url": "https://files.example/a.pdf"}},
        ],
        "tool_calls": [
            {
                "x": 1,
                "id": "call_1",
                "type": "function",
                "function": {"name": "look", "arguments": '{"q":1}'},
                "extra_content": {"google": {"thought_signature": "Cr8="}},
            },
            CUSTOM_CALL,
        ],
    }


def test_thoughts_that_anthropic_signed_are_told_with_their_signature():
    message = message_of(
        ReasoningPart("Hm.", Signature(ANTHROPIC, "Eq8=")),
        ReasoningPart("", Signature(ANTHROPIC, "Em=="), is_redacted=True),
        ReasoningPart("Ah.", Signature(GOOGLE, "Cr8=")),
    )

    assert message["reasoning_content"] == "Hm.Ah."
    assert message["extra_content"]["anthropic"]["thinking_blocks"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "Eq8="},
        {"type": "redacted_thinking", "data": "Em=="},
    ]


def test_several_choices_keep_their_index():
    body = served(Choice(index=0, parts=(TextPart("A"),)), Choice(index=1, parts=(TextPart("B"),)))

    assert [(c["index"], c["message"]["content"]) for c in body["choices"]] == [(0, "A"), (1, "B")]


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(responses())
def test_an_answer_written_and_read_again_is_the_same(response):
    assert decode_reply(encode_reply(response, HEAD)) == response
