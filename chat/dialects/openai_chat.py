"""OpenAI's chat completions, as served."""

from __future__ import annotations

from chat.dialects.base import Dialect, Facts, ParsedRequest
from providers.error_table import ServedError
from providers.types import ChatRequest, ChatResponse, JSONObject
from providers.wire import openai_chat
from providers.wire.codec import ReplyHead, StreamEncoder
from providers.wire.rendering import event_frame


class OpenAIDialect(Dialect):
    name = "openai"

    def read(self, body: JSONObject) -> ParsedRequest:
        return ParsedRequest(request=openai_chat.decode_request(body), wants_usage=openai_chat.wants_usage(body))

    def answer(self, response: ChatResponse, facts: Facts, request: ChatRequest) -> JSONObject:
        return openai_chat.encode_reply(response, _head(facts, request))

    def encoder(self, facts: Facts, request: ChatRequest) -> StreamEncoder:
        return openai_chat.ChatStreamEncoder(_head(facts, request), wants_usage=facts.wants_usage)

    def error(self, problem: ServedError) -> JSONObject:
        return problem.body

    def error_frame(self, problem: ServedError) -> bytes:
        return event_frame(problem.body)


def _head(facts: Facts, request: ChatRequest) -> ReplyHead:
    return ReplyHead(
        id=f"chatcmpl-{facts.chat_id.hex}", created_s=facts.created_s, model_name=facts.model_name, request=request
    )
