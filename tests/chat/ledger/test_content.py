import hashlib
import hmac
import json

import pytest

from chat.ledger.content import make_answer, make_content, unread_content
from providers.types import Attempt

PROMPT = b'{"messages":[{"role":"user","content":"hello"}]}'
IMAGE = b'{"url":"data:image/png;base64,iVBORw0KGgo="}'


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            b'{ "a":1.0, "a":1e400, "big":123456789012345678901234567890, "s":"\\ud800 \xc3\xa9" }', id="json"
        ),
        pytest.param(b'{"pad":[1e15,1e15],"messages":[]}', id="numbers"),
        pytest.param(b"a\x00\xff\xc3", id="no-text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_body_without_files_is_kept_byte_for_byte(raw):
    content = make_content(raw)

    assert (content.body, content.files, content.size_bytes) == (raw, "[]", len(raw))
    assert content.kept_commitment is None


def test_the_commitment_is_a_salted_hmac_of_the_body_as_it_came():
    first, second = make_content(IMAGE), make_content(IMAGE)

    assert len(first.salt) == 32
    assert first.commitment == hmac.new(first.salt, IMAGE, hashlib.sha256).hexdigest()
    assert first.commitment != second.commitment


def test_what_is_kept_of_a_body_with_files_has_a_commitment_of_its_own():
    content = make_content(IMAGE)

    kept = content.files.encode() + b"\n" + content.body
    assert content.body == IMAGE.replace(b"iVBORw0KGgo=", b"")
    assert content.kept_commitment == hmac.new(content.salt, kept, hashlib.sha256).hexdigest()


def test_of_a_body_that_was_not_read_the_size_alone_is_kept():
    content = unread_content(50_000_000)

    assert (content.body, content.files, content.commitment) == (None, None, None)
    assert content.size_bytes == 50_000_000


def test_a_long_answer_is_kept_whole():
    answer = b'{"x":"%b"}' % (b"y" * 33 * 2**20)

    assert answer in make_answer(answer).body


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
