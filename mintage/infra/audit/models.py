"""Makes every read model anew while the log grows, and compares all of them with what is served at one moment."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import psycopg

from mintage.infra.audit.beside import look_beside
from mintage.infra.audit.findings import Differences
from mintage.infra.audit.plan import reading
from mintage.infra.audit.schema import compare_schemas
from mintage.infra.audit.tables import Comparison, NotMade, make, prepare, reached
from mintage.infra.audit.workers import Progress, counting
from mintage.infra.database import connect_sync
from mintage.infra.log_reader import head
from mintage.infra.vault import Vault
from mintage.projections import READ_MODELS
from mintage.projections.sql import ReadModel

MAKING_AT_ONCE: Final = 2
"""Most of the time a maker waits for the database."""


def compare_models(conninfo: str, scratch: str, vault: Vault, progress: Progress) -> list[Differences]:
    """What the read models that are served have otherwise than the log, each by itself."""
    making = _Making(conninfo, scratch, vault, progress)
    prepare(scratch, vault)
    with connect_sync(scratch) as ours:
        ours.execute("set statement_timeout = 0")
        # Once as it was at the beginning and once for what came since, so that little is left for the snapshot.
        for _ in range(2):
            making.catch_up()
        with reading(conninfo) as served:
            served.execute("begin isolation level repeatable read read only")
            sections = [making.broken(), *making.compare(served, ours), look_beside(served)]
        with reading(conninfo) as served:
            return [*sections, compare_schemas(served, ours)]


class _Making:
    def __init__(self, conninfo: str, scratch: str, vault: Vault, progress: Progress) -> None:
        self._conninfo = conninfo
        self._scratch = scratch
        self._vault = vault
        self._progress = progress
        self._made: dict[str, int] = {}
        self._broken: dict[str, NotMade] = {}

    def catch_up(self) -> None:
        """Make every read model up to where it is served now."""
        with reading(self._conninfo) as connection:
            wanted = _wanted(connection)
        behind = [
            model
            for name, model in READ_MODELS.items()
            if name not in self._broken and wanted[name] > self._made.get(name, 0)
        ]
        whole = sum(wanted[model.name] - self._made.get(model.name, 0) for model in behind)
        told = counting(self._progress, "read models", whole)

        def make_one(model: ReadModel) -> None:
            with reading(self._conninfo) as source, connect_sync(self._scratch) as ours:
                ours.execute("set statement_timeout = 0")
                try:
                    make(source, ours, self._vault, model, wanted[model.name], told)
                except NotMade as error:
                    self._broken[model.name] = error

        with ThreadPoolExecutor(MAKING_AT_ONCE) as pool:
            list(pool.map(make_one, behind))
        self._made = wanted

    def compare(self, served: psycopg.Connection[Any], ours: psycopg.Connection[Any]) -> list[Differences]:
        """Each read model that could be made, as it is in the snapshot of ``served``."""
        wanted = _wanted(served)
        told = counting(self._progress, "comparison", sum(wanted.values()))
        sections = []
        for name, model in READ_MODELS.items():
            section = Differences()
            sections.append(section)
            if name in self._broken:
                continue
            try:
                make(served, ours, self._vault, model, wanted[name])
            except NotMade as error:
                section.report(error.stream, error.version, str(error))
            else:
                Comparison(served, ours, section).compare(model)
            told(wanted[name])
        return sections

    def broken(self) -> Differences:
        """Why there are read models that could not be made; an event that is in the way of several is named once."""
        differences = Differences()
        for stream, version, why in sorted({(one.stream, one.version, str(one)) for one in self._broken.values()}):
            differences.report(stream, version, why)
        return differences


def _wanted(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """The position up to which each read model is to be made."""
    end = head(connection)
    return {name: reached(connection, model, end) for name, model in READ_MODELS.items()}
