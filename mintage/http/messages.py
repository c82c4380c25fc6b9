"""Every sentence that a client may read, the documents' own words where they have them."""

from typing import Final

from mintage.domain.fields import Reason
from mintage.http.languages import Language, Text

# -- what went well

SUCCESS: Final = Text("success", "success")
REGISTERED: Final = Text("注册成功", "Registered")
SIGNED_IN: Final = Text("登录成功", "Signed in")
CODE_SENT: Final = Text("验证邮件发送成功", "Verification mail sent")
EMAIL_PROVED: Final = Text("邮箱验证成功", "E-mail verified")
PASSWORD_CHANGED: Final = Text("密码修改成功", "Password changed")
PASSWORD_RESET: Final = Text("密码重置成功", "Password reset")
GOOGLE_SIGNED_IN: Final = Text("Google登录成功", "Signed in with Google")
SIGNED_OUT: Final = Text("已退出登录", "Signed out")
PROFILE_CHANGED: Final = Text("用户信息更新成功", "Profile changed")
ROLE_GRANTED: Final = Text("角色授予成功", "Role granted")
RECHARGED: Final = Text("充值成功", "Credits added")
CONSUMED: Final = Text("积分消费成功", "Credits spent")
ADJUSTMENT_APPLIED: Final = Text("积分调整已生效", "The adjustment took effect")
ADJUSTMENT_PENDING: Final = Text("积分调整待他人批准", "The adjustment waits for a second person to approve it")
ADJUSTMENT_REJECTED: Final = Text("积分调整已拒绝", "The adjustment was rejected")
REVERSED: Final = Text("消费已退回", "The credits were given back")
REFUND_RECORDED: Final = Text("退款已登记", "The refund was recorded")
IMAGES_MADE: Final = Text("图片生成成功", "Images generated")
TASK_ACCEPTED: Final = Text("任务已创建，正在后台处理中...", "Task created, working on it...")
CREATED: Final = Text("创建成功", "Created")
CHANGED: Final = Text("更新成功", "Changed")
DELETED: Final = Text("删除成功", "Deleted")
TASK_CANCELLED: Final = Text("任务已取消", "Task cancelled")
SECRET_ROTATED: Final = Text(
    "密钥已更换，旧密钥 24 小时内仍有效", "The secret was replaced; the old one counts for 24 hours"
)
PING_SENT: Final = Text("测试消息即将发送", "A test message is on its way")
RESENT: Final = Text("消息即将重新发送", "The message is on its way again")

# -- what did not; the v1 ones are that document's own list of codes

VALIDATION: Final = Text("参数验证错误", "Some of the request is not valid")
UNAUTHORIZED: Final = Text("未授权", "Sign in first")
INVALID_CREDENTIALS: Final = Text("登录凭据无效", "The login or the password is wrong")
EMAIL_NOT_VERIFIED: Final = Text("邮箱未验证", "The e-mail address is not verified")
FORBIDDEN: Final = Text("无权限", "This is not allowed")
USER_NOT_FOUND: Final = Text("用户不存在", "There is no such user")
NOT_FOUND: Final = Text("资源不存在", "There is no such thing")
METHOD_NOT_ALLOWED: Final = Text("不支持的请求方法", "This method is not allowed here")
EMAIL_EXISTS: Final = Text("邮箱已存在", "The e-mail address is registered already")
USERNAME_EXISTS: Final = Text("用户名已存在", "The username is taken")
PHONE_EXISTS: Final = Text("手机号已存在", "The phone number is registered already")
INVALID_CODE: Final = Text("验证码无效", "The code is not valid")
WRONG_OLD_PASSWORD: Final = Text("旧密码错误", "The old password is wrong")
NOT_LINKED: Final = Text(
    "该邮箱已注册，无法通过 Google 登录该账户，请使用密码登录",
    "The e-mail address is registered and cannot be opened by Google; sign in with the password",
)
GOOGLE_TAKEN: Final = Text("该 Google 账号已关联其他账户", "The Google account belongs to another account")
INSUFFICIENT: Final = Text("积分不足", "Not enough credits")
CONTENT_REFUSED: Final = Text("提示词含有不允许的内容", "The prompt asks for what is not made here")
KEY_REUSED: Final = Text(
    "该 Idempotency-Key 已用于另一个请求", "This Idempotency-Key was used for a different request before"
)
TASK_OVER: Final = Text("任务已结束", "The task is over already")
OWN_ACCOUNT: Final = Text("不能处理自己的账户", "This cannot be done to one's own account")
SECOND_PERSON: Final = Text("须由申请人以外的人批准", "Somebody else than who asked has to approve it")
ADJUSTMENT_DECIDED: Final = Text("该调整已有结果", "The adjustment was decided before")
ALREADY_REVERSED: Final = Text("该交易已退回", "The transaction was given back before")
NOT_REVERSIBLE: Final = Text("只有消费可以退回", "Only what was spent can be given back")
NOT_PAID: Final = Text("该充值未支付", "The recharge was never paid")
REFUND_DIFFERS: Final = Text("该退款已按不同内容登记", "The refund was recorded before, and otherwise")
REFUND_EXCEEDS: Final = Text("退款总额超过支付金额", "The refunds together exceed what was paid")
REFUND_USED: Final = Text("该退款已登记在另一笔充值", "The refund was recorded for another recharge")
WORK_IN_THE_MAKING: Final = Text("作品正在生成，请先取消任务", "The work is still being made, cancel its task first")
WEBHOOKS_FULL: Final = Text("Webhook 数量已达上限", "There may be no more webhooks; delete one first")
SECRETS_STILL_COUNT: Final = Text(
    "24 小时内更换密钥次数过多，请待旧密钥失效后再试",
    "The secret was replaced too often within 24 hours; try again when an old one is over",
)
WEBHOOK_OFF: Final = Text("Webhook 已停用，请先启用", "The webhook is disabled; enable it first")
CONFLICT: Final = Text("与当前状态冲突", "This conflicts with how things are")
GENERATION_FAILED: Final = Text("图片生成失败，未扣除积分", "The images could not be generated; nothing was charged")
TOO_LARGE: Final = Text("请求体过大", "The request is too large")
RATE_LIMITED: Final = Text("请求过于频繁，请稍后再试", "Too many requests, try again later")
UNAVAILABLE: Final = Text("服务暂时不可用，请稍后重试", "Not available at the moment, try again later")
OUTCOME_UNKNOWN: Final = Text(
    "请求结果未知，请使用相同的 Idempotency-Key 重试以确认",
    "The outcome is not known; repeat the request with the same Idempotency-Key to find out",
)
INTERNAL: Final = Text("服务器内部错误", "Internal error")
V1_VALIDATION: Final = Text("请求参数错误", VALIDATION.en)
V1_UNAUTHORIZED: Final = Text("未认证", UNAUTHORIZED.en)
V1_INTERNAL: Final = Text("服务器错误", INTERNAL.en)

WORK_EXPIRED: Final = Text("作品已过期，文件已删除", "The work has expired; its files were removed")

# -- what tasks and works say of themselves, in the words they were stored with

_STORED: Final = {
    text.zh: text
    for text in (
        Text("生成失败，未扣除积分", "The generation failed; nothing was charged"),
        Text("无法获取源图片，未扣除积分", "The source image could not be fetched; nothing was charged"),
        Text("源图片地址或内容不被接受，未扣除积分", "The source image is not accepted; nothing was charged"),
        Text("任务超时，未扣除积分", "The task took too long; nothing was charged"),
        Text("多次尝试后仍未完成", "Not done after several attempts; nothing was charged"),
        Text("内容不符合服务商的使用规定，未扣除积分", "The provider does not allow this; nothing was charged"),
        Text("服务商不接受这些参数，未扣除积分", "The provider does not take this request; nothing was charged"),
        Text("结果未能保存，未扣除积分", "What was made could not be stored; nothing was charged"),
        Text("服务商暂时不可用，未扣除积分", "The provider is not available at the moment; nothing was charged"),
        Text(
            "无法确认服务商是否已收到请求，未扣除积分",
            "Whether the provider has the request cannot be known; nothing was charged",
        ),
        Text("此作品未生成", "This work did not come out"),
        TASK_CANCELLED,
    )
}


def stored(words: str | None, language: Language) -> str | None:
    """A stored sentence in the reader's language, if it is one of ours."""
    return _STORED[words].to(language) if words in _STORED else words


# -- what is wrong with a field

_KINDS: Final = {
    "integer": Text("必须是整数", "must be an integer"),
    "number": Text("必须是数字", "must be a number"),
    "string": Text("必须是字符串", "must be a string"),
    "boolean": Text("必须是布尔值", "must be true or false"),
    "object": Text("必须是对象", "must be an object"),
    "array": Text("必须是数组", "must be an array"),
    "JSON": Text("必须是有效的 JSON", "must be valid JSON"),
}
_RULES: Final = {
    "required": Text("必填", "is required"),
    "one_of": Text("必须是以下之一：{choices}", "must be one of: {choices}"),
    "pattern": Text("格式不正确", "is not well formed"),
    "moment": Text(
        "必须是带时区的时刻，如 2026-01-31T00:00:00+08:00", "must be a moment like 2026-01-31T00:00:00+08:00"
    ),
    "recorded": Text("此前登记为 {choices}", "was recorded as {choices}"),
    "unknown": Text("不存在", "does not exist"),
    "unasked": Text("此处没有该参数", "is no parameter here"),
    "taken": Text("已被使用", "is taken"),
    "mismatch": Text("与所请求的接口不符", "does not fit this endpoint"),
    "login": Text("是登录名，不能清空", "is what you sign in by, and cannot be cleared"),
    "refused": Text("含有不允许的内容", "asks for what is not made here"),
    "wrong": Text("不正确", "is not right"),
    "control_characters": Text("不能包含控制字符", "must not contain control characters"),
    "future": Text("不能晚于现在", "must not lie in the future"),
    "after_as_of": Text("不能晚于 as_of", "must not be later than as_of"),
    "zero": Text("不能为 0", "must not be 0"),
    "ahead": Text("必须是将来一百年内的时刻", "must be a moment within the next hundred years"),
    "https": Text("必须是公网 https 地址", "must be an https url of a public address"),
    "for_grants": Text("仅适用于增加积分", "is for adding credits only"),
}
_BOUNDS: Final = {
    ("between", True, True): Text("必须在 {low} 到 {high} 之间", "must be from {low} to {high}"),
    ("between", True, False): Text("不能小于 {low}", "must be at least {low}"),
    ("between", False, True): Text("不能大于 {high}", "must be at most {high}"),
    ("length", True, True): Text("长度必须在 {low} 到 {high} 之间", "must have {low} to {high} characters"),
    ("length", True, False): Text("长度不能小于 {low}", "must have at least {low} characters"),
    ("length", False, True): Text("长度不能大于 {high}", "must have at most {high} characters"),
}


def sentence(reason: Reason, language: Language) -> str:
    """What a broken rule is called in front of a person."""
    if reason.rule == "type":
        return _KINDS.get(reason.expected or "", _RULES["pattern"]).to(language)
    if reason.rule in {"between", "length"}:
        text = _BOUNDS[(reason.rule, reason.low is not None, reason.high is not None)]
        return text.to(language, low=reason.low, high=reason.high)
    return _RULES[reason.rule].to(language, choices=", ".join(reason.choices))
