import pytest

from providers.errors import RequestRejectedError
from providers.wire.data_urls import InlineData, find_inline_data, find_media_type, normalized_url


@pytest.mark.parametrize(
    ("url", "media_type"),
    [
        pytest.param("data:image/png;base64,iVBO", "image/png", id="plain"),
        pytest.param("data:image/svg+xml;charset=utf-8;base64,iVBO", "image/svg+xml", id="with-parameters"),
        pytest.param("data:IMAGE/JPG;base64,iVBO", "image/jpeg", id="as-providers-spell-it"),
    ],
)
def test_a_data_url_is_a_file_inside_the_request(url, media_type):
    assert find_inline_data(url, what="image") == InlineData(media_type, "iVBO")


def test_an_http_url_lies_elsewhere():
    assert find_inline_data("HTTPS://h/i.png", what="image") is None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "data:image/png,raw", "data:;base64,iVBO", "i.png", ""])
def test_another_address_of_a_file_is_refused(url):
    with pytest.raises(RequestRejectedError, match=r"Each image .*data:") as caught:
        find_inline_data(url, what="image")

    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("url", "media_type"),
    [("https://h/a.JPG?x=1.png", "image/jpeg"), ("https://h/a.pdf#2", "application/pdf"), ("https://h/cat?v=1", None)],
)
def test_the_path_of_an_address_may_tell_the_type(url, media_type):
    assert find_media_type(url) == media_type


def test_an_image_goes_on_with_its_type_as_providers_spell_it():
    assert normalized_url("data:image/jpg;base64,iVBO") == "data:image/jpeg;base64,iVBO"
    assert normalized_url("https://h/data:image/jpg") == "https://h/data:image/jpg"
