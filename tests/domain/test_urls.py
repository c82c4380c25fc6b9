"""Addresses of pictures are taken as they stand or not at all."""

import pytest

from mintage.domain.urls import URL_MAX, public_https_url_of, url_of


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


@pytest.mark.parametrize(
    "url",
    [
        *("https://hooks.example/", "https://hooks.example./", "HTTPS://Hooks.Example:8443/x", "https://例子.中国/"),
        *("https://8.8.8.8/", "https://[2606:4700::1111]/", "https://1.example/", "https://0x7f.example/"),
        *("https://bücher.example/", "https://my_hooks.example/", f"https://{'a' * 63}.example/"),
    ],
)
def test_a_server_of_somebodys_own(url: str) -> None:
    assert public_https_url_of(url) == url


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x", "017700000001", "127.1", "0x7f.0.0.1", "0177.0.0.1"),
        *("1.2.3.4.5", "8.8.8.8."),
        *("①②⑦.⓪.⓪.①", "１２７.0.0.1", "hooks.1", "hooks.0x7F", "8.8.8"),
        *("a..example", "hooks.example..", f"{'a' * 64}.example", f"{'ü' * 60}.example", ".".join(["a" * 49] * 6)),
        *("hooks.example:0", "8.8.8.8:0", "localhost", "me.LOCALHOST.", "ｌocalhost", "10.0.0.1", "[::1]"),
    ],
)
def test_what_is_no_public_server_whatever_the_notation(host: str) -> None:
    assert public_https_url_of(f"https://{host}/x") is None
