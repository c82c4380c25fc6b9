"""Which addresses are public; whatever leads inside, in whichever notation, is not."""

import pytest

from mintage.domain.addresses import is_public, plain
from mintage.domain.urls import public_https_url_of


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_these_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("192.0.0.192", "168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.88.99.1"),
        *("::1", "::", "::127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "5f00::1"),
        *("64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::"),
    ],
)
def test_these_are_not(address: str) -> None:
    assert not is_public(address)


def test_what_is_no_address_is_said_to_be_none() -> None:
    for text in ("example.com", "127.1", "2130706433", ""):
        with pytest.raises(ValueError):
            is_public(text)
    assert plain("::ffff:127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize(
    "url", ["https://example.com/x", "HTTPS://EXAMPLE.COM:8443", "https://1.1.1.1/", "https://例子.中国/"]
)
def test_a_public_https_url_stands_as_it_is(url: str) -> None:
    assert public_https_url_of(url) == url


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://localhost./", ""]
)
def test_any_other_is_none(url: str) -> None:
    assert public_https_url_of(url) is None
