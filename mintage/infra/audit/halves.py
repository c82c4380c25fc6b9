"""Finds the claims that have no other half: the log is replayed once more, and its claims laid side by side."""

from typing import Any, Final

import psycopg
from psycopg.sql import SQL

from mintage.domain.recorded import Recorded
from mintage.infra.audit.claims import Claim
from mintage.infra.audit.findings import Differences

TABLE: Final = """
create schema if not exists audit;
drop table if exists audit.claims;
create table audit.claims (
    what text, digest bytea, side integer, stream text, version bigint, other text
)"""
_LONELY: Final = """
select stream, version, what, other from audit.claims
where digest in (select digest from audit.claims group by digest having sum(side) <> 0) order by stream, version"""
AT_ONCE: Final = 5_000


class Claims:
    """Takes claims and brings them to a table of our own."""

    def __init__(self, scratch: psycopg.Connection[Any], salt: str) -> None:
        self._scratch = scratch
        self._salt = salt
        self._rows: list[tuple[Any, ...]] = []

    def take(self, entry: Recorded, claim: Claim) -> None:
        digest = claim.digest(self._salt, entry.command_id)
        # No text of PostgreSQL has a NUL; one in an event is no id of anything.
        other = claim.other.replace("\0", "")
        self._rows.append((claim.what, digest, claim.side, entry.stream, entry.version, other))
        if len(self._rows) == AT_ONCE:
            self.flush()

    def flush(self) -> None:
        with self._scratch.cursor() as cursor, cursor.copy(SQL("copy audit.claims from stdin")) as copy:
            for row in self._rows:
                copy.write_row(row)
        self._rows = []


def report_lonely(scratch: psycopg.Connection[Any], differences: Differences) -> None:
    for stream, version, what, other in scratch.execute(_LONELY):
        differences.report(stream, version, f"{what} without the other half, which {other} should have")
