"""An event in its place in the log."""

from datetime import datetime
from typing import Final

import msgspec

from mintage.domain.catalogue import AnyEvent

ERASED: Final = "[erased]"
"""What a personal field reads as once the person's key is gone."""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """``position`` counts the whole log from 1 without a gap, ``version`` the stream; ``at`` never runs backwards.

    ``command_id`` is shared by all events of one command; ``actor`` is who gave it: a user's id or ``system``.
    """

    position: int
    stream: str
    version: int
    at: datetime
    actor: str
    command_id: str
    event: AnyEvent

    @property
    def key(self) -> str:
        """The aggregate's own id: the stream's name without its category."""
        return self.stream.partition("-")[2]
