"""Which read models exist and when each is written.

Inline ones are written in the very transaction that appends the events: a client reads back what it just did.
Followed ones trail the log, each with a checkpoint in the same transaction as its rows.
"""

from typing import Final

from mintage.projections.adjustments import ADJUSTMENTS
from mintage.projections.characters import CHARACTERS
from mintage.projections.ledger import LEDGER
from mintage.projections.numbers import NUMBERS
from mintage.projections.outbox import OUTBOX
from mintage.projections.people import PEOPLE
from mintage.projections.postings import LEDGER_ENTRIES, POSTINGS
from mintage.projections.queue import QUEUE
from mintage.projections.recharges import RECHARGES
from mintage.projections.sql import ReadModel
from mintage.projections.statistics import STATISTICS
from mintage.projections.tasks import TASKS
from mintage.projections.webhooks import WEBHOOKS
from mintage.projections.works import WORKS

INLINE: Final[tuple[ReadModel, ...]] = (
    LEDGER,
    PEOPLE,
    TASKS,
    QUEUE,
    WORKS,
    RECHARGES,
    ADJUSTMENTS,
    CHARACTERS,
    WEBHOOKS,
    NUMBERS,
)
FOLLOWED: Final[tuple[ReadModel, ...]] = (STATISTICS, POSTINGS, OUTBOX)
READ_MODELS: Final = {model.name: model for model in (*INLINE, *FOLLOWED)}

VIEWS: Final = f"""
{LEDGER_ENTRIES}
create view users as
    select user_id as id, email, coalesce(name, username) as name, avatar, google_id,
        (select password_hash from credentials c where c.user_id = p.user_id) as password_hash,
        email_verified, created_at, updated_at
    from people p;
create view credits as
    select user_id as id, user_id, available as balance, created_at, updated_at from credit_accounts;
create view images as
    select w.work_id as id, w.user_id, t.prompt, t.style, t.transparent, w.file as url,
        w.credits as credits_used, t.created_at
    from works w join tasks t on t.task_id = w.task_id
    where t.document = 'server' and w.file is not null;
"""
"""The ledger by its accounts, and the server document's tables under its names, of which two are tables already."""

DROP_VIEWS: Final = "drop view if exists ledger_entries, users, credits, images"
