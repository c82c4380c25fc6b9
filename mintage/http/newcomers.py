"""Who registers, in canonical form: both documents ask different things, but check the same thing alike."""

from collections.abc import Callable

from mintage.application.people import PASSWORD_MAX, Newcomer
from mintage.application.services import Services
from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.registration.events import Document
from mintage.domain.registration.names import email_of, phone_of, username_of
from mintage.http.languages import Language
from mintage.projections.people import Person


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
    """Without a username the e-mail address is it. Raises ``InvalidFields`` with everything that is wrong."""
    wrong: dict[str, Reason] = {}

    def canonical(field: str, given: str | None, form: Callable[[str], str | None]) -> str | None:
        value = None if given is None else form(given)
        if value is None and given is not None:
            wrong[field] = Reason("pattern")
        return value

    username = canonical("username", username, username_of)
    email = canonical("email", email, email_of)
    phone = canonical("phone", phone, phone_of)
    name = canonical("name", name, lambda text: text.strip() or None)
    if not password_min <= len(password) <= PASSWORD_MAX:
        wrong["password"] = Reason("length", low=password_min, high=PASSWORD_MAX)
    if wrong:
        raise InvalidFields(wrong)
    login = username or email
    assert login is not None
    return Newcomer(
        document=document,
        username=login,
        password=password,
        email=email,
        phone=phone,
        name=name,
        referral_code=referral_code,
        language=language,
    )


def token_of(services: Services, person: Person) -> str:
    return services.tokens.issue(user_id=person.user_id, email=person.email, session_version=person.session_version)
