"""How what lies beside the log is written: one statement for all records of a kind in a batch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from mintage.application.records import CodeIssued, PasswordSet, Receipt, Record, TokenEnded
from mintage.projections.sql import Statement, Value

_SET_PASSWORD: Final = """
insert into credentials (user_id, password_hash) select * from unnest(%s::uuid[], %s::text[])
on conflict (user_id) do update set password_hash = excluded.password_hash"""

_ISSUE_CODE: Final = """
with issued as (
    select * from unnest(
        %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[]
    ) as code (id, user_id, email, code, type, expires_at, created_at)
), ended as (
    update verification_codes old set used = true from issued
    where old.email = issued.email and old.type = issued.type and not old.used and old.id <> issued.id
)
insert into verification_codes (id, user_id, email, code, type, expires_at, created_at) select * from issued
on conflict (id) do nothing"""

_KEEP_RECEIPT: Final = """
insert into receipts (user_id, path, key, digest, body, task_id, created_at)
select * from unnest(%s::uuid[], %s::text[], %s::text[], %s::bytea[], %s::bytea[], %s::uuid[], %s::timestamptz[])
on conflict (user_id, path, key) do update set
    digest = excluded.digest, body = excluded.body, task_id = excluded.task_id, created_at = excluded.created_at"""

_END_TOKEN: Final = """
insert into ended_tokens (token_id, user_id, created_at) select * from unnest(%s::uuid[], %s::uuid[], %s::timestamptz[])
on conflict (token_id) do nothing"""

_WRITERS: Final[dict[type[Any], tuple[str, Callable[[Any], tuple[Value, ...]]]]] = {
    PasswordSet: (_SET_PASSWORD, lambda new: (new.user_id, new.password_hash)),
    CodeIssued: (
        _ISSUE_CODE,
        lambda new: (new.code_id, new.user_id, new.email, new.code_hash, new.purpose, new.expires_at, new.issued_at),
    ),
    TokenEnded: (_END_TOKEN, lambda new: (new.token_id, new.user_id, new.ended_at)),
    Receipt: (
        _KEEP_RECEIPT,
        lambda new: (new.user_id, new.path, new.key, new.digest, new.body, new.task_id, new.created_at),
    ),
}


def statements(records: Sequence[Record]) -> Iterator[Statement]:
    """The writes for a batch's records; of several with one identity the last counts."""
    for kind, (sql, row) in _WRITERS.items():
        rows = {_identity(record): row(record) for record in records if type(record) is kind}
        if rows:
            yield Statement(sql, tuple(zip(*rows.values(), strict=True)))


def _identity(record: Record) -> tuple[str, ...]:
    match record:
        case PasswordSet(user_id=user_id):
            return (user_id,)
        case CodeIssued(email=email, purpose=purpose):
            return (email, purpose)
        case TokenEnded(token_id=token_id):
            return (token_id,)
        case Receipt():
            return (record.user_id, record.path, record.key)
