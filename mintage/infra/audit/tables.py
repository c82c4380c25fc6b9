"""Every read model made anew from the log on a server of our own, and compared with what the database serves."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from secrets import token_bytes
from typing import Any, Final, LiteralString

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from mintage.domain.catalogue import TAGS
from mintage.domain.recorded import Recorded
from mintage.infra.audit.findings import Differences
from mintage.infra.codec import UPCASTERS
from mintage.infra.database import connect_sync
from mintage.infra.follower import apply
from mintage.infra.log_reader import Damaged, portions
from mintage.infra.migrate import migrate
from mintage.infra.vault import SealBroken, Vault
from mintage.projections import FOLLOWED, READ_MODELS
from mintage.projections.sql import ReadModel

PORTION: Final = 4_000
BLOCKS: Final = 4_096
BLOCKS_AT_ONCE: Final = 64


class Origin(msgspec.Struct, frozen=True):
    """The aggregate whose events make the rows of a table, and the columns with its id, the event, and no secrets."""

    category: str
    key: str
    position: str | None = None
    shown: bool = False


ORIGINS: Final = {
    "credit_accounts": Origin("credits", "user_id", shown=True),
    "transactions": Origin("credits", "user_id", "position", shown=True),
    "lots": Origin("credits", "user_id", "position", shown=True),
    "holds": Origin("credits", "user_id", shown=True),
    "postings": Origin("credits", "user_id", "position", shown=True),
    "recharges": Origin("recharge", "recharge_id", shown=True),
    "refunds": Origin("recharge", "recharge_id", shown=True),
    "adjustments": Origin("adjustment", "adjustment_id", shown=True),
    "people": Origin("registration", "user_id"),
    "tasks": Origin("generation", "task_id"),
    "queue": Origin("generation", "task_id"),
    "queue_users": Origin("registration", "user_id"),
    "queue_lines": Origin("registration", "user_id"),
    "works": Origin("work", "work_id"),
    "characters": Origin("character", "character_id"),
    "webhooks": Origin("webhook", "user_id"),
    "webhook_subscriptions": Origin("webhook", "user_id"),
    "webhook_tasks": Origin("generation", "task_id"),
}
"""Of tables that are not here, rows are named by their own keys."""

# Without "offset 0" a row is written and hashed once for each time that it is mentioned.
_ROWS: Final = """
with lines as (
    select row({key})::text as key, row({columns})::text as line, to_jsonb({table}) - {volatile}::text[] as content
    from {table} offset 0),
hashed as (
    select key, content, sha256(convert_to(key, 'UTF8'::name)) as place,
        sha256({salt} || convert_to(line, 'UTF8'::name)) as digest
    from lines offset 0),
t as (
    select key, get_byte(place, 0) * 16 + get_byte(place, 1) / 16 as block, encode(digest, 'hex') as digest, content
    from hashed offset 0)
"""
# The digests of a block are added up, as its rows come in no order. They are salted, or somebody could look for other
# rows that come to the same sums (Wagner, A Generalized Birthday Problem, 2002).
_DIGESTS: Final = """
select block, count(*), sum(('x' || left(digest, 14))::bit(56)::bigint),
    sum(('x' || substr(digest, 15, 14))::bit(56)::bigint) from t group by 1"""

_PROGRESS: Final = """
create schema if not exists audit;
create table audit.made (model text primary key, position bigint not null)"""


class NotMade(Exception):
    """A read model that does not come out of the log; the message says why."""

    def __init__(self, stream: str, version: int, message: str) -> None:
        super().__init__(message)
        self.stream = stream
        self.version = version


def clear(conninfo: str) -> None:
    """Throw away whatever is in a database of our own."""
    with connect_sync(conninfo) as scratch:
        scratch.execute("drop schema if exists audit cascade")
        scratch.execute("drop schema public cascade")
        scratch.execute("create schema public")


def prepare(conninfo: str, vault: Vault) -> None:
    """Make a database of our own as an empty one of this program is; what was made before a crash of ours is kept."""
    migrate(conninfo, vault)
    with connect_sync(conninfo) as scratch:
        row = scratch.execute("select to_regclass('audit.made') is not null").fetchone()
        if row is not None and row[0]:
            return
        with scratch.transaction():
            scratch.execute(_PROGRESS)
            scratch.execute("insert into audit.made select unnest(%s::text[]), 0", (list(READ_MODELS),))


def make(
    source: psycopg.Connection[Any],
    scratch: psycopg.Connection[Any],
    vault: Vault,
    model: ReadModel,
    upto: int,
    told: Callable[[int], None] = lambda _: None,
) -> None:
    """Bring our own tables of a read model to a position of the log; raises ``NotMade``. Goes on where it stopped."""
    row = scratch.execute("select position from audit.made where model = %s", (model.name,)).fetchone()
    after = row[0] if row else 0
    topics = sorted({TAGS[kind] for kind in model.events} | set(UPCASTERS))
    try:
        for entries in portions(source, after=after, upto=upto, size=PORTION, topics=topics):
            _take(source, scratch, vault, model, entries)
            told(entries[-1].position - after)
            after = entries[-1].position
    except Damaged as damaged:
        raise NotMade(damaged.stream, damaged.version, f"cannot be read: {damaged}") from damaged
    scratch.execute("update audit.made set position = greatest(position, %s) where model = %s", (upto, model.name))
    told(max(0, upto - after))


def _take(
    source: psycopg.Connection[Any],
    scratch: psycopg.Connection[Any],
    vault: Vault,
    model: ReadModel,
    entries: Sequence[Recorded],
) -> None:
    try:
        with scratch.transaction():
            apply(scratch, vault, model, entries, keys=source)
            reached = "update audit.made set position = %s where model = %s"
            scratch.execute(reached, (entries[-1].position, model.name))
    except (psycopg.IntegrityError, psycopg.DataError, LookupError, ArithmeticError, TypeError, ValueError) as error:
        first, *others = entries
        if not others:
            # Not the detail of the database's error, which would show the row, whosever it is.
            said = error.diag.message_primary if isinstance(error, psycopg.Error) else type(error).__name__
            raise NotMade(first.stream, first.version, f"read model {model.name} cannot be made: {said}") from error
        # By halves, to the very event that cannot be.
        middle = len(entries) // 2
        for half in (entries[:middle], entries[middle:]):
            _take(source, scratch, vault, model, half)
    except SealBroken as error:
        raise NotMade(f"read model {model.name}", 0, f"cannot be made: seal broken: {error}") from error


class Comparison:
    """Compares table by table in one snapshot: blocks of rows by their digests, and rows only where these differ."""

    def __init__(
        self, served: psycopg.Connection[Any], scratch: psycopg.Connection[Any], differences: Differences
    ) -> None:
        self._served = served
        self._scratch = scratch
        self._differences = differences
        self._salt = token_bytes(16)

    def compare(self, model: ReadModel) -> None:
        for table in model.tables:
            ours, theirs = self._digests(self._rows(model, table, _DIGESTS))
            unlike = sorted(block for block in ours.keys() | theirs.keys() if ours.get(block) != theirs.get(block))
            for start in range(0, len(unlike), BLOCKS_AT_ONCE):
                self._compare_rows(model, table, unlike[start : start + BLOCKS_AT_ONCE])

    def _digests(self, query: Composed) -> list[dict[int, tuple[Any, ...]]]:
        """Of every block, ours and what is served, which two servers count at the same time."""

        def digests(connection: psycopg.Connection[Any]) -> dict[int, tuple[Any, ...]]:
            return {block: tuple(digest) for block, *digest in connection.execute(query)}

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(digests, (self._scratch, self._served)))

    def _compare_rows(self, model: ReadModel, table: str, blocks: list[int]) -> None:
        query = self._rows(model, table, "select key, digest, content from t where block = any(%s)")
        rows: dict[str, tuple[dict[str, Any], dict[str, Any]]] = defaultdict(lambda: ({}, {}))
        times: Counter[tuple[str, str]] = Counter()
        for side, connection in enumerate((self._scratch, self._served)):
            for key, digest, row in connection.execute(query, (blocks,)):
                rows[key][side][digest] = row
                times[key, digest] += 1 if side else -1
        for key in sorted(rows):
            ours, theirs = rows[key]
            only_ours = [row for digest, row in ours.items() if times[key, digest] < 0]
            only_theirs = [row for digest, row in theirs.items() if times[key, digest] > 0]
            for our, their in zip_longest(only_ours, only_theirs):
                self._report(table, our, their)

    def _report(self, table: str, ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> None:
        """Of a row that only one has, or that is not the same in both."""
        row = ours or theirs or {}
        origin = ORIGINS.get(table)
        stream, version = f"table {table}", 0
        if origin is not None:
            stream = f"{origin.category}-{row[origin.key]}"
            if origin.position is not None:
                version = self._version(stream, row[origin.position])
        is_shown = origin is not None and origin.shown
        if ours is not None and theirs is not None:
            columns = [name for name in ours if ours[name] != theirs[name]]
            what = f"a row of table {table} differs in {', '.join(columns)}" + "".join(
                f"; {name}: the log comes to {ours[name]}, the database serves {theirs[name]}"
                for name in columns
                if is_shown
            )
        else:
            what = f"the database lacks a row of table {table}"
            if theirs is not None:
                what = f"the database serves a row of table {table} that the log has not, or not as often"
            what += "".join(f", {name} {value}" for name, value in row.items() if is_shown and value is not None)
        self._differences.report(stream, version, what)

    def _version(self, stream: str, position: int) -> int:
        """Of the event at a position, if it is the stream's."""
        found = self._served.execute(
            "select originator_version from stored_events where originator_id = %s and notification_id = %s",
            (stream, position),
        ).fetchone()
        return int(found[0]) if found else 0

    def _rows(self, model: ReadModel, table: str, what: LiteralString) -> Composed:
        """The rows of a table, as ``t``: their keys, blocks, digests and contents."""
        names = [name for name in _columns(self._scratch, table) if name not in model.volatile]
        columns, key = (SQL(", ").join(map(Identifier, some)) for some in (names, _key(self._scratch, table)))
        return SQL(_ROWS).format(
            key=key,
            columns=columns,
            table=Identifier(table),
            volatile=Literal(sorted(model.volatile)),
            salt=Literal(self._salt),
        ) + SQL(what)


def _columns(scratch: psycopg.Connection[Any], table: str) -> list[str]:
    rows = scratch.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped "
        "order by attnum",
        (table,),
    ).fetchall()
    return [name for (name,) in rows]


def _key(scratch: psycopg.Connection[Any], table: str) -> list[str]:
    rows = scratch.execute(
        "select attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) "
        "where i.indrelid = %s::regclass and i.indisprimary order by attnum",
        (table,),
    ).fetchall()
    return [name for (name,) in rows]


def reached(connection: psycopg.Connection[Any], model: ReadModel, end: int) -> int:
    """The position that a served read model stands at, the log's newest being ``end``."""
    if model not in FOLLOWED:
        return end
    row = connection.execute("select position from checkpoints where name = %s", (model.name,)).fetchone()
    return int(row[0]) if row else 0
