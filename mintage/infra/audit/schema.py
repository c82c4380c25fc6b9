"""What answers for the data is what this program made: its tables, constraints, triggers and views, and nothing beside.

Who may change the schema can have a query answered otherwise than the rows say, and no look at rows would find it.
"""

from typing import Any, Final

import psycopg

from mintage.infra.audit.findings import Differences

# Then all names are written with their schema, and no function is called but PostgreSQL's own.
_ALONE: Final = "set local search_path = pg_catalog"
# Constraints that say "not null" are a column's own; newer servers list them besides.
_OBJECTS: Final = """
with ours as (select oid, relname, relkind, relrowsecurity, relforcerowsecurity from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f'))
select 'relation', relname, concat_ws(' ', relkind, relrowsecurity, relforcerowsecurity,
    (select count(*) from pg_trigger where tgrelid = ours.oid and tgenabled <> 'O')) from ours
union all select 'column', concat_ws('.', relname, attname),
    concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
    from ours join pg_attribute a on attrelid = ours.oid and attnum > 0 and not attisdropped
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
union all select 'constraint', concat_ws('.', relname, conname),
    concat_ws(' ', convalidated, pg_get_constraintdef(c.oid))
    from ours join pg_constraint c on conrelid = ours.oid and contype <> 'n'
union all select 'index', indexrelid::regclass::text, concat_ws(' ', indisvalid, pg_get_indexdef(indexrelid))
    from ours join pg_index on indrelid = ours.oid
union all select 'trigger', concat_ws('.', relname, tgname), concat_ws(' ', tgenabled, pg_get_triggerdef(t.oid))
    from ours join pg_trigger t on tgrelid = ours.oid and not tgisinternal
union all select 'rule', concat_ws('.', relname, rulename), pg_get_ruledef(r.oid)
    from ours join pg_rewrite r on ev_class = ours.oid and rulename <> '_RETURN'
union all select 'policy', concat_ws('.', relname, polname), '' from ours join pg_policy on polrelid = ours.oid
union all select 'child', concat_ws('.', relname, inhrelid::regclass), ''
    from ours join pg_inherits on inhparent = ours.oid
union all select 'view', relname, pg_get_viewdef(oid) from ours where relkind in ('v', 'm')
union all select 'function', p.oid::regprocedure::text, concat_ws(' ', lanname, prosecdef, prosrc)
    from pg_proc p join pg_language l on l.oid = prolang where pronamespace = 'public'::regnamespace
union all select 'operator', oid::regoperator::text, '' from pg_operator where oprnamespace = 'public'::regnamespace
union all select 'type', typname, '' from pg_type
    where typnamespace = 'public'::regnamespace and typtype <> 'c' and typelem = 0
union all select 'cast', concat_ws(' as ', castsource::regtype, casttarget::regtype), ''
    from pg_cast where oid >= 16384"""
_OF_A_TABLE: Final = {"column", "constraint"}
_HARMLESS: Final = _OF_A_TABLE | {"relation", "index", "view"}
"""What an operator may add without a difference, but for what is of one of our own tables."""
_MAJOR: Final = 10_000


def compare_schemas(served: psycopg.Connection[Any], ours: psycopg.Connection[Any]) -> Differences:
    """Of the database that is audited, beside one that this program made from nothing."""
    differences = Differences()
    # Each version writes a view down in its own way.
    is_alike = served.info.server_version // _MAJOR == ours.info.server_version // _MAJOR
    there, wanted = _objects(served), _objects(ours)
    for (kind, name), definition in sorted(wanted.items()):
        found = there.get((kind, name))
        if found is None:
            differences.report("schema", 0, f"the database lacks {kind} {name}")
        elif found != definition and (is_alike or kind != "view"):
            differences.report("schema", 0, f"{kind} {name} is not as this program makes it")
    tables = {name for kind, name in wanted if kind == "relation"}
    for kind, name in sorted(there.keys() - wanted.keys()):
        if kind not in _HARMLESS or (kind in _OF_A_TABLE and name.partition(".")[0] in tables):
            differences.report("schema", 0, f"the database has {kind} {name}, which this program does not make")
    return differences


def _objects(connection: psycopg.Connection[Any]) -> dict[tuple[str, str], str]:
    with connection.transaction():
        connection.execute(_ALONE)
        return {(kind, name): definition for kind, name, definition in connection.execute(_OBJECTS)}
