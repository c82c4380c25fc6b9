"""Where everything is kept: the database of the settings or the embedded one, and the key to what is sealed in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.settings import Settings, secrets_of
from mintage.infra.vault import Vault


class Site(msgspec.Struct, frozen=True):
    """Where the log is and the key to what is sealed in it: all that an offline command needs."""

    conninfo: str
    vault: Vault
    embedded: EmbeddedPostgres | None


@contextmanager
def site(settings: Settings) -> Iterator[Site]:
    """The database of the settings, or the embedded one, running for as long as this lasts."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault = Vault(secrets_of(settings).master)
    if settings.database_url:
        yield Site(settings.database_url, vault, None)
    else:
        with EmbeddedPostgres(settings.data_dir) as embedded:
            yield Site(embedded.conninfo, vault, embedded)
