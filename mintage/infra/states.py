"""What a writer knows of the log without reading it: folded states, at most so many, and the numbers last given out."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from mintage.application.transaction import Stage
from mintage.domain.catalogue import decider_of, numbered
from mintage.domain.recorded import Recorded
from mintage.infra.store import Loaded, Snapshot


class States:
    """As of the newest event the writer has seen; whatever is not here has to be loaded."""

    def __init__(self, streams_max: int) -> None:
        self._streams_max = streams_max
        self.versioned: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self.numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.versioned)

    def catch_up(self, entries: Sequence[Recorded]) -> None:
        """Fold what others appended into what is kept."""
        for entry in entries:
            if (named := numbered(entry.event)) is not None:
                self.numbers[named[0]] = named[1]
            kept = self.versioned.get(entry.stream)
            if kept is None or entry.version <= kept[0]:
                continue
            if entry.version == kept[0] + 1:
                state = decider_of(entry.stream).evolve(kept[1], entry.event)
                self.versioned[entry.stream] = (entry.version, state)
            else:
                del self.versioned[entry.stream]

    def load(self, loaded: Loaded) -> None:
        self.versioned.update(loaded.streams)
        self.numbers.update(loaded.numbers)

    def adopt(self, stage: Stage) -> None:
        """What a batch decided is in the log."""
        for stream, versioned in stage.changed.items():
            self.versioned[stream] = versioned
            self.versioned.move_to_end(stream)
        self.numbers.update(stage.numbers)
        self.evict()

    def evict(self) -> None:
        """Keep what was changed or loaded last; not while a batch stands on it."""
        while len(self.versioned) > self._streams_max:
            self.versioned.popitem(last=False)

    def forget(self) -> None:
        self.versioned.clear()
        self.numbers.clear()

    def snapshots(self, stage: Stage) -> Iterator[Snapshot]:
        """A snapshot of each stream that passes a multiple of its aggregate's ``snapshot_every`` with this batch."""
        for stream, (version, state) in stage.changed.items():
            every = decider_of(stream).snapshot_every
            if every is not None and version >= every:
                before = self.versioned.get(stream, (0, None))[0]
                if version // every > before // every:
                    yield Snapshot(stream, version, state)
