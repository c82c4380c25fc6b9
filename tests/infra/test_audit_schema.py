"""Who may change the schema can have a query answered as the rows do not say: an audit looks at the schema, too."""

import psycopg
import pytest

from mintage.infra.audit.findings import Differences
from mintage.infra.audit.tables import _DIGESTS, Comparison
from mintage.infra.rebuild import rebuild
from mintage.projections import READ_MODELS
from mintage.projections.postings import POSTINGS
from tests.conftest import VAULT
from tests.infra.audit_kit import Sealed, database, shown
from tests.infra.kit import run_sql

LIAR = """create function public.convert_to(text, text) returns bytea language sql stable as
    $$ select pg_catalog.convert_to($1, 'UTF8'::name) $$"""
VIEWED = (
    "alter table postings rename to hidden",
    "create view postings as select * from hidden where current_setting('transaction_read_only') = 'on'",
)
CHANGES = {
    "a function like one of PostgreSQL's": ([LIAR], "the database has function public.convert_to(text,text)"),
    "an operator": (
        [
            "create function same(text, uuid) returns boolean language sql as 'select true'",
            "create operator = (leftarg = text, rightarg = uuid, function = same)",
        ],
        "the database has operator public.=(text,uuid)",
    ),
    "a view in place of a table": ([*VIEWED], "relation postings is not as this program makes it"),
    "row security": (
        ["alter table transactions enable row level security", "create policy hidden on transactions using (true)"],
        "the database has policy transactions.hidden",
    ),
    "another view": (
        ["drop view ledger_entries", "create view ledger_entries as select 1 as position"],
        "view ledger_entries is not as this program makes it",
    ),
    "no view": (["drop view ledger_entries"], "the database lacks view ledger_entries"),
    "a log that can be changed": (
        ["drop trigger stored_events_append_only on stored_events"],
        "the database lacks trigger stored_events.stored_events_append_only",
    ),
    "a trigger that is asleep": (
        ["alter table stored_events disable trigger stored_events_append_only"],
        "trigger stored_events.stored_events_append_only is not as this program makes it",
    ),
    "another body": (
        ["create or replace function refuse_change() returns trigger language plpgsql as 'begin return new; end'"],
        "function public.refuse_change() is not as this program makes it",
    ),
    "credits below nothing": (
        ["alter table credit_accounts drop constraint credit_accounts_available"],
        "the database lacks constraint credit_accounts.credit_accounts_available",
    ),
    "a child": (
        ["create table more () inherits (transactions)"],
        "the database has child transactions.public.more",
    ),
    "a rule": (
        ["create rule none as on insert to transactions do also select 1"],
        "the database has rule transactions.none",
    ),
    "a column": (["alter table holds add more text"], "the database has column holds.more"),
}


@pytest.mark.parametrize(("changes", "said"), CHANGES.values(), ids=list(CHANGES))
def test_another_schema_is_named(sealed: Sealed, changes: list[str], said: str) -> None:
    with database(sealed.server, "schema", sealed.template) as conninfo:
        run_sql(conninfo, *changes)
        findings = sealed.audit(conninfo, checkpoints=sealed.checkpoints)
    assert f"schema: {said}" in shown(findings)


def test_what_an_operator_adds_is_no_difference(sealed: Sealed) -> None:
    with database(sealed.server, "schema", sealed.template) as conninfo:
        run_sql(
            conninfo,
            "create schema tools",
            "create function tools.help() returns integer language sql as 'select 1'",
            "create index more on transactions (created_at)",
            "create table notes (id bigint primary key, note text not null)",
            "create view busiest as select user_id, count(*) from transactions group by 1",
        )
        assert shown(sealed.audit(conninfo, checkpoints=sealed.checkpoints)) == ""


def test_what_is_made_anew_has_the_very_schema(sealed: Sealed) -> None:
    """What a rebuild puts in a table's place is told from it by nothing."""
    with database(sealed.server, "schema", sealed.template) as conninfo:
        for model in READ_MODELS.values():
            rebuild(conninfo, VAULT, model)
        assert shown(sealed.audit(conninfo, checkpoints=sealed.checkpoints)) == ""


def test_no_two_audits_add_up_the_same_digests(sealed: Sealed) -> None:
    """Who knew what is added up could look for other rows that come to the same."""
    with database(sealed.server, "schema", sealed.template) as conninfo, psycopg.connect(conninfo) as connection:
        once, again = (Comparison(connection, connection, Differences()) for _ in range(2))
        (first, same), (other, _) = (
            comparison._digests(comparison._rows(POSTINGS, "postings", _DIGESTS)) for comparison in (once, again)
        )
    assert first == same
    assert first.keys() == other.keys()
    assert not any(first[block] == other[block] for block in first)


def test_a_checkpoint_ahead_of_the_log_is_named(sealed: Sealed) -> None:
    with database(sealed.server, "schema", sealed.template) as conninfo:
        run_sql(conninfo, "update checkpoints set position = position + 3 where name = 'postings'")
        findings = sealed.audit(conninfo)
    assert "checkpoint of postings: stands at position" in shown(findings)
