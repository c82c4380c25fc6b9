"""Every sentence that a mail says."""

from typing import Final, Literal, TypeAlias

import msgspec

Language: TypeAlias = Literal["zh", "en"]
Kind: TypeAlias = Literal["verification", "password_reset", "password_changed", "email_changed", "google_linked"]


class Wording(msgspec.Struct, frozen=True):
    """``{product}``, ``{minutes}`` (how long a code is good) and ``{at}`` (when it happened) stand for values.

    ``glance`` is what a mail program shows beside the subject; ``advice`` comes after the code.
    """

    subject: str
    glance: str
    opening: str
    advice: tuple[str, ...]


class Frame(msgspec.Struct, frozen=True):
    """What all mails of a language begin and end with."""

    greeting: str
    greeting_by_name: str
    wish: str
    signature: str
    automatic: str


FRAMES: Final[dict[Language, Frame]] = {
    "zh": Frame(
        greeting="您好：",
        greeting_by_name="{name}，您好：",
        wish="祝您创作愉快！",
        signature="{product} 团队",
        automatic="这是一封自动发送的邮件，请不要直接回复。",
    ),
    "en": Frame(
        greeting="Hello,",
        greeting_by_name="Hello {name},",
        wish="Enjoy creating!",
        signature="The {product} team",
        automatic="This mail was sent automatically; nobody reads replies to it.",
    ),
}

_ZH_GOOD_FOR: Final = "验证码 {minutes} 分钟内有效，只能使用一次。请勿告诉任何人，我们也不会向您索要。"
_EN_GOOD_FOR: Final = "It works once, within {minutes} minutes. Share it with nobody: we will never ask you for it."

WORDINGS: Final[dict[tuple[Language, Kind], Wording]] = {
    ("zh", "verification"): Wording(
        subject="【{product}】请验证您的邮箱",
        glance="您的验证码在邮件里，{minutes} 分钟内有效。",
        opening="感谢您使用 {product}！请输入验证码，确认这个邮箱属于您：",
        advice=(_ZH_GOOD_FOR, "如果不是您本人操作，请忽略这封邮件：没有验证码，谁也无法用您的邮箱完成验证。"),
    ),
    ("zh", "password_reset"): Wording(
        subject="【{product}】重置您的密码",
        glance="您的验证码在邮件里，{minutes} 分钟内有效。",
        opening="我们收到了重置您 {product} 密码的请求。请输入下面的验证码，然后设置新密码：",
        advice=(_ZH_GOOD_FOR, "如果不是您本人操作，请忽略这封邮件：您的密码不会改变。"),
    ),
    ("zh", "password_changed"): Wording(
        subject="【{product}】您的密码已更改",
        glance="如果是您本人操作，无需理会。",
        opening="您的 {product} 密码已于 {at} 更改，此前的登录均已失效。",
        advice=(
            "如果是您本人操作，无需理会这封邮件。",
            "如果不是您本人操作，请立即用这个邮箱重置密码，并检查邮箱本身是否安全。",
        ),
    ),
    ("zh", "email_changed"): Wording(
        subject="【{product}】您的邮箱已更换",
        glance="如果是您本人操作，无需理会。",
        opening="您的 {product} 账号已于 {at} 更换邮箱，今后的邮件不再发到这里。",
        advice=(
            "如果是您本人操作，无需理会这封邮件。",
            "如果不是您本人操作，请立即登录，修改密码，并把邮箱改回来。",
        ),
    ),
    ("zh", "google_linked"): Wording(
        subject="【{product}】您的账号已关联 Google",
        glance="今后您可以用 Google 登录。",
        opening="您的 {product} 账号已于 {at} 关联使用此邮箱的 Google 账号，今后您可以用 Google 登录。",
        advice=(
            "如果此前没有人验证过这个邮箱，账号原来的密码也已失效；需要密码时，请用这个邮箱重置。",
            "如果不是您本人操作，请立即检查您的 Google 账号是否安全，并用这个邮箱重置密码。",
        ),
    ),
    ("en", "verification"): Wording(
        subject="Verify your e-mail address for {product}",
        glance="Your code is inside. It is good for {minutes} minutes.",
        opening="Thank you for using {product}! Enter this code to confirm that the e-mail address is yours:",
        advice=(
            _EN_GOOD_FOR,
            "If this was not you, ignore this mail: without the code nobody can verify your address.",
        ),
    ),
    ("en", "password_reset"): Wording(
        subject="Reset your {product} password",
        glance="Your code is inside. It is good for {minutes} minutes.",
        opening="We were asked to reset your {product} password. Enter this code, then choose a new one:",
        advice=(_EN_GOOD_FOR, "If this was not you, ignore this mail: your password stays as it is."),
    ),
    ("en", "password_changed"): Wording(
        subject="Your {product} password was changed",
        glance="If this was you, there is nothing to do.",
        opening="Your {product} password was changed on {at}. Whoever was signed in before has been signed out.",
        advice=(
            "If this was you, there is nothing to do.",
            "If this was not you, reset the password with this e-mail address at once, "
            "and check that your mailbox is safe.",
        ),
    ),
    ("en", "email_changed"): Wording(
        subject="The e-mail address of your {product} account was changed",
        glance="If this was you, there is nothing to do.",
        opening="Your {product} account has another e-mail address since {at}. Mail will not come here any more.",
        advice=(
            "If this was you, there is nothing to do.",
            "If this was not you, sign in at once, change the password, and set the address back.",
        ),
    ),
    ("en", "google_linked"): Wording(
        subject="Your {product} account was linked to Google",
        glance="You can sign in with Google from now on.",
        opening="Your {product} account was linked on {at} to the Google account of this e-mail address. "
        "You can sign in with Google from now on.",
        advice=(
            "If nobody had verified this address before, the old password has ended too; "
            "reset it with this address whenever you want one.",
            "If this was not you, check at once that your Google account is safe, "
            "and reset the password with this e-mail address.",
        ),
    ),
}
