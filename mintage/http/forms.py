"""What people say of themselves, in canonical form: both documents ask for different things, but check them alike."""

from collections.abc import Callable
from typing import TypeVar, cast

from msgspec import UNSET, UnsetType

from mintage.application.people import PASSWORD_MAX, Newcomer
from mintage.application.profiles import Changes
from mintage.application.services import Services
from mintage.domain.fields import InvalidFields, Reason, Rule, is_blank
from mintage.domain.recorded import ERASED
from mintage.domain.registration.events import Document
from mintage.domain.registration.names import email_of, phone_of, username_of
from mintage.domain.urls import url_of
from mintage.http.languages import Language
from mintage.projections.people import Person

GivenT = TypeVar("GivenT", bound=str | UnsetType | None)


class Form:
    """Collects what is wrong, so that all of it is said at once."""

    def __init__(self) -> None:
        self._wrong: dict[str, Reason] = {}

    def canonical(self, field: str, given: GivenT, form: Callable[[str], str | None], rule: Rule = "pattern") -> GivenT:
        """What ``form`` makes of the field, if it was given; what it makes None of breaks the rule."""
        if not isinstance(given, str):
            return given
        value = form(given)
        if value is None:
            self._wrong[field] = Reason(rule)
            return given
        return cast(GivenT, value)

    def password(self, field: str, given: str, shortest: int) -> str:
        if not shortest <= len(given) <= PASSWORD_MAX:
            self._wrong[field] = Reason("length", low=shortest, high=PASSWORD_MAX)
        return given

    def done(self) -> None:
        """Raises ``InvalidFields`` with everything that is wrong."""
        if self._wrong:
            raise InvalidFields(self._wrong)


def newcomer(
    document: Document,
    *,
    language: Language,
    password: str,
    password_min: int,
    username: str | None = None,
    email: str | None = None,
    phone: str | None = None,
    name: str | None = None,
    referral_code: str | None = None,
) -> Newcomer:
    """Who registers; without a username the e-mail is it. Raises ``InvalidFields``."""
    form = Form()
    username = form.canonical("username", username, username_of)
    email = form.canonical("email", email, email_of)
    asked = Newcomer(
        document=document,
        username=username or email or "",
        password=form.password("password", password, password_min),
        email=email,
        phone=form.canonical("phone", phone, phone_of),
        name=form.canonical("name", name, name_of),
        referral_code=referral_code,
        language=language,
    )
    form.done()
    return asked


def changes(
    *,
    name: tuple[str, str | UnsetType | None] = ("", UNSET),
    avatar: tuple[str, str | UnsetType | None] = ("", UNSET),
    email: str | UnsetType | None = UNSET,
    phone: str | UnsetType | None = UNSET,
) -> Changes:
    """What somebody changes about themselves; ``name`` and ``avatar`` come with what the document calls them.

    Raises ``InvalidFields``.
    """
    form = Form()
    asked = Changes(
        name=form.canonical(*name, name_of),
        avatar=form.canonical(*avatar, url_of),
        email=form.canonical("email", email, email_of),
        phone=form.canonical("phone", phone, phone_of),
    )
    form.done()
    return asked


def new_password(field: str, given: str, shortest: int) -> str:
    """A password that is to be set. Raises ``InvalidFields``."""
    form = Form()
    form.password(field, given, shortest)
    form.done()
    return given


def email(given: str) -> str:
    """The field ``email``. Raises ``InvalidFields``."""
    form = Form()
    canonical = form.canonical("email", given, email_of)
    form.done()
    return canonical


def name_of(text: str) -> str | None:
    """A name to be called by: anything that is not blank, and not what an erased one reads as."""
    name = text.strip()
    return None if is_blank(name) or name == ERASED else name


def token_of(services: Services, person: Person) -> str:
    return services.tokens.issue(user_id=person.user_id, email=person.email, session_version=person.session_version)
