"""One spelling, one owner: names, numbers and addresses in their canonical form."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mintage.domain.registration.names import Login, email_of, login_of, name_key, phone_of, username_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann", "ANN"),
        ("Straße", "STRASSE"),
        ("ａｎｎ", "ann"),
        ("ﬁsh", "FISH"),
        ("é", "e\u0301"),
        ("Ⅷ", "viii"),
        ("ΣΑΣ", "σας"),
        ("王小明", "王小明"),
    ],
)
def test_two_spellings_of_one_name_are_one(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("ann", "anna"), ("e", "é"), ("o", "0"), ("王", "玉")])
def test_different_names_stay_apart(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


def test_the_key_of_a_key_is_the_key_itself_for_every_character() -> None:
    characters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)
    assert [hex(ord(c)) for c in characters if name_key(name_key(c)) != name_key(c)] == []


@settings(deadline=None)
@given(st.text())
def test_case_never_makes_a_second_name(name: str) -> None:
    assert name_key(name.upper().lower()) == name_key(name.upper())


@pytest.mark.parametrize("text", ["13800138000", "+8613800138000", "+86 138 0013 8000", " 13800138000 "])
def test_a_mainland_number_is_its_eleven_digits(text: str) -> None:
    assert phone_of(text) == "13800138000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1380013800",
        "138001380000",
        "12800138000",
        "23800138000",
        "8613800138000",
        "+85213800138000",
        "+86+8613800138000",
        "１３８００１３８０００",
        "13800138000\n",
        "1380013800a",
    ],
)
def test_what_is_no_mainland_number_is_none(text: str) -> None:
    assert phone_of(text) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ann@example.com", "ann@example.com"),
        ("  Ann@Example.COM\n", "ann@example.com"),
        ("a+b.c@x.y.z", "a+b.c@x.y.z"),
        ("王@例子.中国", "王@例子.中国"),
        ("a" * 242 + "@example.com", "a" * 242 + "@example.com"),
    ],
)
def test_an_address_is_trimmed_and_in_lower_case(text: str, address: str) -> None:
    assert email_of(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@.com",
        "ann@com.",
        "ann@bob@example.com",
        "an n@example.com",
        "ann@exam\x00ple.com",
        "ann@exam\u200bple.com",
        # Look-alikes of somebody else's address, and what no mail header carries whole.
        "ｓｑｕａｔ@example.com",
        "a@b..c",
        "a@.b.c",
        "a@b.c.",
        "a,b@c.de",
        "a;b@c.de",
        "<x>@b.cd",
        ".a@b.cd",
        "a..b@c.de",
        "a" * 243 + "@example.com",
    ],
)
def test_what_cannot_be_an_address_is_none(text: str) -> None:
    assert email_of(text) is None


@pytest.mark.parametrize(
    ("text", "login"),
    [
        (" Ann@Example.com ", Login(email="ann@example.com")),
        ("+86 138 0013 8000", Login(phone="13800138000")),
        ("ＡＮＮ", Login(username_key="ann")),
        ("straße@example.com", Login(email="straße@example.com")),
    ],
)
def test_a_login_is_one_kind_of_name_in_canonical_form(text: str, login: Login) -> None:
    assert login_of(text) == login


@pytest.mark.parametrize("text", ["no@address", "x" * 255, "a" + "\u0301\u0323" * 500_000, "@" * 1_000_000])
def test_what_cannot_be_anybodys_is_no_login_however_long_it_is(text: str) -> None:
    assert login_of(text) is None


MARKS = "a" + "\u0301\u0323" * 500_000


def test_what_is_too_long_is_never_normalised() -> None:
    """A million combining marks would take minutes: this ends because their length is looked at first."""
    assert email_of(f"{MARKS}@example.com") is None
    assert username_of(MARKS) is None
    assert phone_of(MARKS) is None


@pytest.mark.parametrize("domain", ["straße.de", "βόλος.com", "x\u200d.com", "ⓔxample.com"])
def test_mail_that_would_go_to_another_domain_is_for_no_address(domain: str) -> None:
    assert email_of(f"bob@{domain}") is None


@pytest.mark.parametrize("domain", ["例子.中国", "bücher.de", "xn--bcher-kva.de"])
def test_a_domain_of_any_alphabet_is_fine(domain: str) -> None:
    assert email_of(f"bob@{domain}") == f"bob@{domain}"
