import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.ledger.files import MAX_CANDIDATES, MAX_FILES, cut_files, describe_files, dump_files, load_files

FILE = bytes(range(256)) * 4
ENCODED = base64.b64encode(FILE).decode()
DESCRIBED = {"bytes": len(FILE), "sha256": hashlib.sha256(FILE).hexdigest()}


def described(raw):
    kept, files = cut_files(raw)
    return describe_files(kept, load_files(dump_files(files)))


def made_again(kept, files, contents):
    """Return the body as it came, from what is kept of it and its files in order."""
    pieces, until = [], 0
    for file, content in zip(files, contents, strict=True):
        encoded = base64.b64encode(content)
        pieces += [kept[until : file.at], encoded.replace(b"/", b"\\/") if file.is_escaped else encoded]
        until = file.at
    return b"".join([*pieces, kept[until:]])


IMAGE = {"media_type": "image/png", **DESCRIBED}


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        pytest.param(
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
            id="image",
        ),
        pytest.param({"image_url": f"data:image/png;base64,{ENCODED}"}, {"image_url": IMAGE}, id="image-by-itself"),
        pytest.param(
            {"type": "input_audio", "input_audio": {"data": ENCODED, "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": {"media_type": "audio/wav", **DESCRIBED}, "format": "wav"}},
            id="audio",
        ),
        pytest.param(
            {"input_audio": {"format": "wav", "data": ENCODED}},
            {"input_audio": {"format": "wav", "data": {"media_type": "audio/wav", **DESCRIBED}}},
            id="audio-after-its-format",
        ),
        pytest.param(
            {"source": {"type": "base64", "media_type": "image/png", "data": ENCODED}},
            {"source": {"type": "base64", "media_type": "image/png", "data": IMAGE}},
            id="anthropic",
        ),
        pytest.param(
            {"inlineData": {"mimeType": "image/png", "data": ENCODED}},
            {"inlineData": {"mimeType": "image/png", "data": IMAGE}},
            id="google",
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
            {"video_url": {"url": f"data:video/mp4;codecs=avc1;base64,{ENCODED}"}},
            {"video_url": {"url": {"media_type": "video/mp4", **DESCRIBED}}},
            id="media-type-with-a-parameter",
        ),
    ],
)
def test_a_file_is_described_where_it_stood(part, kept):
    body = {"seed": 2**70, "messages": [{"role": "user", "content": [part, part]}], "last": 1e15}

    shown = json.loads(described(json.dumps(body).encode()))

    assert shown == body | {"messages": [{"role": "user", "content": [kept, kept]}]}


@pytest.mark.parametrize("said", ["data:;base64,Tell me all.", f"data:image/png;base64,{ENCODED}"])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(lambda said: {"role": "user", "content": said}, id="content"),
        pytest.param(lambda said: {"role": "user", "content": [{"type": "text", "text": said}]}, id="part"),
        pytest.param(lambda said: {"message": said}, id="message"),
        pytest.param(lambda said: [said], id="list"),
        pytest.param(lambda said: {"url": f"see {said}"}, id="amid-a-url"),
        pytest.param(lambda said: {"text": json.dumps({"url": said})}, id="json-in-a-text"),
        pytest.param(lambda said: {"text": json.dumps({"text": json.dumps({"url": said})})}, id="json-in-json"),
        pytest.param(lambda said: {'say "url': said}, id="a-key-that-ends-like-one"),
        pytest.param(lambda said: {"text\\": said}, id="a-key-that-ends-in-a-backslash"),
        pytest.param(lambda said: {"text": '"data"', "format": said}, id="a-text-that-is-a-key"),
        pytest.param(lambda said: {"data": said.partition(",")[2]}, id="data-of-no-type"),
        pytest.param(lambda said: {"data": said.partition(",")[2], "format": "text"}, id="data-of-another-format"),
        pytest.param(lambda said: {"data": said.partition(",")[2], "media_type": ""}, id="data-of-an-empty-type"),
    ],
)
def test_no_text_is_taken_for_a_file(words, said):
    raw = json.dumps(words(said)).encode()

    assert cut_files(raw) == (raw, ())


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain;charset=utf-8",
        "Text/Plain",
        " text/plain",
        "",
        ";charset=utf-8",
        "application/json",
        "application/yaml",
        "application/octet-stream",
        "application/vnd.oci.image.manifest.v1+json",
        "image/svg+xml",
        "IMAGE/SVG+XML;a=b",
    ],
)
def test_a_file_of_words_is_kept_as_what_was_said(media_type):
    raw = json.dumps({"file_data": f"data:{media_type};base64,{ENCODED}"}).encode()

    assert cut_files(raw) == (raw, ())


@pytest.mark.parametrize(
    "file",
    [
        pytest.param({"url": "data:image/png;base64,Tell me all."}, id="url"),
        pytest.param({"file_data": "Tell me all."}, id="file"),
        pytest.param({"file_data": "QQ==QUJD"}, id="padding-in-the-middle"),
        pytest.param({"file_data": "QR=="}, id="bits-behind-the-end"),
        pytest.param({"file_data": "QUJ"}, id="cut"),
        pytest.param({"input_audio": {"data": "Tell me all.", "format": "wav"}}, id="audio"),
        pytest.param({"input_audio": {"data": "Tell me all. é", "format": "wav"}}, id="not-ascii"),
        pytest.param({"input_audio": {}}, id="no-audio"),
    ],
)
def test_what_calls_itself_base64_and_is_not_is_kept(file):
    raw = json.dumps(file).encode()

    assert cut_files(raw) == (raw, ())


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"url":"data:image/png;base64,AAAA', id="cut"),
        pytest.param(b'{"\\u0075rl":"data:image/png;base64,AAAA"}', id="a-key-in-escapes"),
        pytest.param(b'{"file_data":"\\u0041AAA"}', id="letters-in-escapes"),
        pytest.param(b'{"file_data":"A/\\/A"}', id="slashes-of-two-kinds"),
    ],
)
def test_what_could_not_be_made_again_is_kept(raw):
    assert cut_files(raw) == (raw, ())


def test_a_body_that_is_no_json_is_kept_without_its_files():
    raw = b'{"n":%b,"url":"data:image/png;base64,AAAA"}' % (b"9" * 5000)

    kept, files = cut_files(raw)

    assert b"AAAA" not in kept
    assert len(kept) == len(raw) - 4
    assert [file.media_type for file in files] == ["image/png"]


def test_slashes_may_be_written_with_a_backslash():
    raw = json.dumps({"url": f"data:image/png;base64,{ENCODED}"}).replace("/", "\\/").encode()

    kept, files = cut_files(raw)

    assert (files[0].media_type, files[0].sha256) == ("image/png", DESCRIBED["sha256"])
    assert made_again(kept, files, [FILE]) == raw


@given(st.lists(st.binary(max_size=50), max_size=5), st.booleans(), st.sampled_from(["url", "file_data", "data"]))
def test_with_its_files_in_hand_a_body_can_be_made_again(contents, is_escaped, key):
    encoded = [base64.b64encode(content).decode() for content in contents]
    parts = [
        {"data": text, "mime_type": "image/png"} if key == "data" else {key: f"data:image/png;base64,{text}"}
        for text in encoded
    ]
    raw = json.dumps({"messages": parts}).encode()
    raw = raw.replace(b"/", b"\\/") if is_escaped else raw

    kept, files = cut_files(raw)

    assert made_again(kept, files, contents) == raw


def test_a_large_file_is_cut_out():
    large = FILE * 3000
    raw = json.dumps({"file_data": base64.b64encode(large).decode(), "model": "m"}).encode()

    assert json.loads(described(raw)) == {
        "file_data": {"media_type": "", "bytes": len(large), "sha256": hashlib.sha256(large).hexdigest()},
        "model": "m",
    }


def test_files_beyond_the_bound_stay_in_the_body():
    raw = json.dumps([{"file_data": "QUJD"}] * (MAX_FILES + 5)).encode()

    kept, files = cut_files(raw)

    assert len(files) == MAX_FILES
    assert kept.count(b"QUJD") == 5


def test_files_after_too_many_places_that_look_like_one_stay_in_the_body():
    raw = json.dumps([*[{"data": "x"}] * MAX_CANDIDATES, {"file_data": "QUJD"}]).encode()

    assert cut_files(raw) == (raw, ())


@pytest.mark.parametrize("quotes", [0, 10, 1000], ids=["none", "few", "many"])
@pytest.mark.parametrize("before", range(2**18 - 36, 2**18 + 2))
def test_files_are_found_wherever_they_stand_in_a_long_body(before, quotes):
    text = json.dumps({"text": '"' * quotes, "more": "x"})[:-2]
    raw = (text + "x" * (before - len(text)) + '", "file_data":"QUJD","url":"data:image/png;base64,QUJD"}').encode()

    kept, files = cut_files(raw)

    assert [file.size_bytes for file in files] == [3, 3]
    assert made_again(kept, files, [b"ABC", b"ABC"]) == raw
