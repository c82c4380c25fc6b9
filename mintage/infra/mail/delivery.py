"""Mail goes out behind the caller's back, several at a time; what a server puts off is tried again for a while."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from mintage.application.ports.mail import Mail, Notice
from mintage.infra import duties
from mintage.infra.mail.carriers import Carrier, Deferred, Refused
from mintage.infra.mail.letters import Composer

DELAYS_S: Final = (1.0, 5.0, 30.0, 90.0, 240.0)
"""The pauses between the tries, in seconds: all of them end while a code is still good."""
WAITING_MAX: Final = 1_000
AT_ONCE: Final = 4
DRAIN_S: Final = 5.0

_log = logging.getLogger(__name__)


class Delivery:
    """Implements ``ports.mail.Mailer``: no more than ``waiting_max`` mails are under way, more are dropped.

    Composing is left to a thread and the rest to a task, so that nobody can tell by the time a request takes whether
    it made a mail.
    """

    def __init__(
        self,
        composer: Composer,
        carrier: Carrier,
        new_id: Callable[[], str],
        clock: Callable[[], datetime],
        *,
        delays_s: Sequence[float] = DELAYS_S,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._composer = composer
        self._carrier = carrier
        self._new_id = new_id
        self._clock = clock
        self._delays_s = delays_s
        self._waiting_max = waiting_max
        self._carriers = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, mail: Mail | Notice) -> None:
        if len(self._under_way) >= self._waiting_max:
            _log.error("dropped %s: %d mails are under way already", _told(mail), self._waiting_max)
            return
        task = asyncio.get_running_loop().create_task(self._deliver(mail, self._new_id(), self._clock()))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def drain(self, within_s: float = DRAIN_S) -> None:
        """Wait for what is under way, but no longer than ``within_s``; what is left then is given up."""
        if not self._under_way:
            return
        _, left = await asyncio.wait(self._under_way, timeout=within_s)
        if left:
            await duties.end(left)
            _log.error("gave up %d mails to stop", len(left))

    async def _deliver(self, mail: Mail | Notice, letter_id: str, at: datetime) -> None:
        try:
            letter = await asyncio.to_thread(self._composer.compose, mail, letter_id, at)
            for pause_s in (*self._delays_s, None):
                try:
                    async with self._carriers:
                        await self._carrier.carry(letter)
                    return
                except Deferred as error:
                    if pause_s is None:
                        _log.error("gave up %s: %s", _told(mail), error)
                        return
                    _log.warning("%s has to wait %g s: %s", _told(mail), pause_s, error)
                    await asyncio.sleep(pause_s)
        except Refused as error:
            _log.error("%s was refused: %s", _told(mail), error)
        except Exception as error:  # noqa: BLE001 -- nobody else is there to be told, and its text may hold the address
            _log.error("%s could not be sent: %s", _told(mail), type(error).__name__)


def _told(mail: Mail | Notice) -> str:
    """What the log may know of a mail: neither the code nor whom it is for."""
    kind = mail.purpose if isinstance(mail, Mail) else mail.kind
    return f"a mail ({kind}) to somebody at {mail.to.rpartition('@')[2]!r}"
