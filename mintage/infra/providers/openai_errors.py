"""What a refusal says in OpenAI's protocol, which gateways speak too."""

from typing import Any, Final

import msgspec

from mintage.infra.providers.wire import Reply, Said, hinted, is_policy, word

_UNPAID: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_UNTOUCHED: Final = frozenset({"rate_limit_exceeded", "rate_limit_error", "slow_down"})


class _Error(msgspec.Struct, frozen=True):
    code: Any = None
    type: Any = None


class _Body(msgspec.Struct, frozen=True):
    error: _Error = _Error()


def said(reply: Reply) -> Said:
    error = hinted(reply, _Body, _Body()).error
    words = {word(error.code), word(error.type)}
    code = word(error.code) or word(error.type)
    if unpaid := words & _UNPAID:
        return Said(code=min(unpaid), blame="provider")
    if is_policy(error.code, error.type):
        return Said(code=code, blame="policy")
    return Said(code=code, untouched=bool(words & _UNTOUCHED))
