import pytest
from pydantic import ValidationError

from providers import errors
from providers.backends.openai import OpenAIProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ModelInfo, Sampling, ToolChoice
from tests import fakes
from tests.providers.wire.assembling import assembled
from tests.wire import sample

ASK = (ChatMessage(role="user", content="Hi"),)


def make_openai(**settings):
    return OpenAIProvider(
        Endpoint(name="oai", base_url="https://x.example", api_key="k-1", settings=settings), client=None
    )


def test_chats_go_to_one_path_and_name_the_length_as_openai_does():
    call = make_openai().chat_call(ChatRequest(messages=ASK, sampling=Sampling(max_tokens=5)), stream=True)

    assert (call.path, call.json["max_completion_tokens"]) == ("/chat/completions", 5)
    assert (call.json["stream"], call.json["stream_options"]) == (True, {"include_usage": True})


def test_headers_carry_key_organization_and_project():
    headers = make_openai(organization="org-1", project="proj-1").auth_headers()

    assert headers == {"authorization": "Bearer k-1", "openai-organization": "org-1", "openai-project": "proj-1"}


async def streamed(backend):
    deltas = [delta async for delta in backend.stream_chat(ChatRequest(messages=ASK, model_name="m"))]
    return assembled(deltas)


@pytest.mark.parametrize("settings", [{"organisation": "x"}, {"project": "a\r\nb"}, {"organization": ""}])
def test_settings_that_are_none_are_refused(settings):
    with pytest.raises(ValidationError):
        make_openai(**settings)


def test_models_are_listed_by_id():
    models, cursor = make_openai().read_models(sample("openai", "models"))

    assert models == [ModelInfo(name="gpt-6-luna"), ModelInfo(name="text-embedding-4")]
    assert cursor is None


async def test_the_wire_carries_key_and_accepts_a_stream(make_fake, make_backend):
    fake = make_fake("openai", api_key="k-7")
    backend = make_backend(fake, "openai", api_key="k-7", organization="org-1")

    await streamed(backend)

    headers = fake.chats[0].headers
    assert (headers["accept"], headers["content-type"]) == ("text/event-stream", "application/json")
    assert (headers["authorization"], headers["openai-organization"]) == ("Bearer k-7", "org-1")


async def test_dropped_parameters_come_with_the_answer_and_the_stream(make_fake, make_backend):
    backend = make_backend(make_fake("openai"), "openai")
    request = ChatRequest(messages=ASK, model_name="m", tool_choice=ToolChoice("required"))

    response = await backend.chat(request)
    async with await backend.open_stream(request) as stream:
        assert (response.dropped_params, stream.dropped_params) == (("tool_choice",), ("tool_choice",))


async def test_an_answer_whose_usage_is_cut_off_is_whole(make_fake, make_backend):
    fake = make_fake("openai")
    fake.fail(fakes.cut_after(len(fake.script.words) + 2))

    answer = await streamed(make_backend(fake, "openai"))

    assert (answer.content, answer.finish_reason, answer.usage) == (fake.script.text, "stop", None)


async def test_a_done_without_a_finish_reason_ends_the_answer(make_fake, make_backend):
    fake = make_fake("openai")
    fake.fail(fakes.pieces(b'data: {"choices": [{"delta": {"content": "Red."}}]}\n\n', b"data: [DONE]\n\n"))

    answer = await streamed(make_backend(fake, "openai"))

    assert (answer.content, answer.finish_reason) == ("Red.", "stop")


async def test_a_done_before_any_content_is_a_truncated_answer(make_fake, make_backend):
    fake = make_fake("openai")
    fake.fail(fakes.pieces(b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n', b"data: [DONE]\n\n"))

    with pytest.raises(errors.TruncatedReplyError):
        await streamed(make_backend(fake, "openai"))
