import pytest

from chat.ledger.canonical import canonical_json, storable_text

# RFC 8785, section 3.2.2.2
SHORT_ESCAPES = {0x08: r"\b", 0x09: r"\t", 0x0A: r"\n", 0x0C: r"\f", 0x0D: r"\r", 0x22: r"\"", 0x5C: r"\\"}


def rfc8785_escape(code: int) -> str:
    if code in SHORT_ESCAPES:
        return SHORT_ESCAPES[code]
    return f"\\u{code:04x}" if code < 0x20 else chr(code)


@pytest.mark.parametrize("codes", [range(0xD800), range(0xE000, 0x10FFFF, 257)], ids=["low", "high"])
def test_every_character_is_escaped_as_rfc_8785_says(codes):
    text = "".join(map(chr, codes))

    assert canonical_json(text) == f'"{"".join(map(rfc8785_escape, codes))}"'


def test_keys_are_sorted_at_every_depth_and_nothing_is_spaced():
    value = {"b": [True, None, {"z": 1, "a": "x"}], "a": -(2**53) + 1}

    assert canonical_json(value) == '{"a":-9007199254740991,"b":[true,null,{"a":"x","z":1}]}'


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), {"é": 1}, {1: 1}, (1,), {"a": [b"x"]}, "\ud800"],
    ids=["float", "nan", "2^53", "-2^53", "non-ascii-key", "integer-key", "tuple", "bytes", "lone-surrogate"],
)
def test_what_two_readers_could_read_differently_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        canonical_json(value)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("a\x00b", r"a\u0000b"),
        ("a\ud800b", r"a\ud800b"),
        ("\x00é\udfff", r"\u0000é\udfff"),
        ("é 😀 e\u0301", "é 😀 e\u0301"),
    ],
)
def test_text_that_postgresql_cannot_store_is_written_out(text, stored):
    assert storable_text(text) == stored


def test_long_text_is_cut_where_asked():
    assert storable_text("a\x00bcd", max_chars=8) == r"a\u0000b"
