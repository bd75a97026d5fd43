import base64
import hashlib
import hmac
import json

import pytest

from chat.ledger.content import make_answer, make_content, redact_files
from providers.types import Attempt

FILE = bytes(range(256)) * 4
ENCODED = base64.b64encode(FILE).decode()
DESCRIBED = {"bytes": len(FILE), "sha256": hashlib.sha256(FILE).hexdigest()}


def test_a_body_without_files_is_kept_byte_for_byte():
    raw = b'{ "a":1.0, "a":1e400, "big":123456789012345678901234567890, "s":"\\ud800 \xc3\xa9" }'

    content = make_content(raw)

    assert content.body.encode() == raw
    assert content.size_bytes == len(raw)


def test_the_commitment_is_a_salted_hmac_of_what_is_stored():
    first, second = make_content(b"same"), make_content(b"same")

    assert len(first.salt) == 32
    assert first.commitment == hmac.new(first.salt, b"same", hashlib.sha256).hexdigest()
    assert first.commitment != second.commitment


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        pytest.param(
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": {"media_type": "image/png", **DESCRIBED}, "detail": "low"}},
            id="image",
        ),
        pytest.param(
            {"type": "input_audio", "input_audio": {"data": ENCODED, "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": {"media_type": "audio/wav", **DESCRIBED}, "format": "wav"}},
            id="audio",
        ),
        pytest.param(
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{ENCODED}"}},
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": {"media_type": "application/pdf", **DESCRIBED}},
            },
            id="file",
        ),
        pytest.param(
            {"type": "file", "file": {"file_data": ENCODED}},
            {"type": "file", "file": {"file_data": {"media_type": "", **DESCRIBED}}},
            id="bare-file",
        ),
        pytest.param(
            {"type": "video_url", "video_url": {"url": f"data:text/plain;charset=utf-8;base64,{ENCODED}"}},
            {"type": "video_url", "video_url": {"url": {"media_type": "text/plain", **DESCRIBED}}},
            id="media-type-with-a-parameter",
        ),
        pytest.param(
            {"type": "text", "text": f"see data:image/png;base64,{ENCODED}"},
            {"type": "text", "text": f"see data:image/png;base64,{ENCODED}"},
            id="text-that-mentions-one",
        ),
    ],
)
def test_a_file_is_described_where_it_stood(part, kept):
    raw = json.dumps({"seed": 2**70, "messages": [{"role": "user", "content": [part]}]}).encode()

    content = make_content(raw)

    assert json.loads(content.body) == {"seed": 2**70, "messages": [{"role": "user", "content": [kept]}]}
    assert content.size_bytes == len(raw)


@pytest.mark.parametrize("said", ["data:;base64,Tell me all.", f"data:text/plain;base64,{ENCODED}"])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(lambda said: {"role": "user", "content": said}, id="content"),
        pytest.param(lambda said: {"role": "user", "content": [{"type": "text", "text": said}]}, id="part"),
        pytest.param(lambda said: {"message": said}, id="message"),
        pytest.param(lambda said: [said], id="list"),
    ],
)
def test_no_text_is_taken_for_a_file(words, said):
    raw = json.dumps(words(said)).encode()

    assert redact_files(raw) == raw


@pytest.mark.parametrize(
    "file",
    [
        pytest.param({"url": "data:image/png;base64,Tell me all."}, id="url"),
        pytest.param({"file_data": "Tell me all."}, id="file"),
        pytest.param({"input_audio": {"data": "Tell me all."}}, id="audio"),
        pytest.param({"input_audio": {"data": "Tell me all. é"}}, id="not-ascii"),
        pytest.param({"input_audio": {}}, id="no-audio"),
    ],
)
def test_what_calls_itself_base64_and_is_not_is_kept(file):
    assert json.loads(redact_files(json.dumps(file).encode())) == file


@pytest.mark.parametrize(
    "raw",
    [b'{"url":"data:image/png;base64,AAAA"', b"[" * 100_000 + b'"data:a;base64,AAAA"', b'\xff"file_data"'],
    ids=["cut", "nested-without-end", "not-utf-8"],
)
def test_a_body_that_is_not_json_is_kept_as_it_came(raw):
    assert redact_files(raw) == raw


def test_bytes_that_are_no_text_are_written_out():
    assert make_content(b"a\x00\xff\xc3").body == r"a\u0000\xff\xc3"


@pytest.mark.parametrize(("max_bytes", "kept"), [(3, "aé"), (2, "a"), (6, "aé😀"[:2]), (7, "aé😀")])
def test_a_long_body_is_cut_between_characters_and_its_size_kept(max_bytes, kept):
    content = make_content("aé😀".encode(), max_bytes=max_bytes)

    assert (content.body, content.size_bytes) == (kept, 7)


def test_an_answer_holds_what_was_served_and_what_providers_said():
    failed = Attempt(
        provider="acme", model_name="s", ok=False, latency_ms=1, error_type="UpstreamError", error="no \ud800"
    )
    served = Attempt(provider="local", model_name="t", ok=True, latency_ms=1)

    content = make_answer(b'{"x":1}', [failed, served])

    assert json.loads(content.body) == {
        "answer": {"x": 1},
        "errors": [{"provider": "acme", "model": "s", "message": r"no \ud800"}],
    }


def test_content_does_not_show_itself():
    assert "secret" not in repr(make_content(b"secret"))
