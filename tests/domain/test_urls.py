"""Addresses of pictures are taken as they stand or not at all."""

import pytest

from mintage.domain.urls import URL_MAX, url_of


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/avatar.jpg",
        "http://localhost:3001/files/avatars/a/b.webp?x=1#y",
        "HTTPS://EXAMPLE.COM",
        "https://例子.中国/头像.png",
        "http://192.0.2.1/",
        "http://[2001:db8::1]:8080/x",
        "https://example.com/" + "x" * (URL_MAX - 20),
    ],
)
def test_what_a_browser_can_show(url: str) -> None:
    assert url_of(url) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "example.com/a.jpg", "//example.com/a.jpg", "http:", "http://", "http:///a", "http://?a", "http:a"),
        *("javascript:alert(1)", "data:image/png;base64,AA", "ftp://example.com/a", "file:///a", "avatars/a/b.webp"),
        *("http://ann@example.com/", "http://ann:secret@example.com/", "http://example.com\\@evil.example/"),
        *("http://exa mple.com/", "http://example.com/a b", "http://example.com/\n", "http://example.com/\u202e", "\t"),
        *("http://example.com:99999/", "http://example.com:x/", "http://[::1/", "http://-/", "http://a%20b/"),
        " http://example.com/",
        "https://example.com/" + "x" * (URL_MAX - 19),
    ],
)
def test_what_is_no_picture_or_pretends_to_be_elsewhere(text: str) -> None:
    assert url_of(text) is None
