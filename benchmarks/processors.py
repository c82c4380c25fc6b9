"""The time that a server in this process and its PostgreSQL have had on processors, by the scheduler's own count."""

import time
from pathlib import Path


def processor_s(pid: int) -> float:
    """Seconds of one process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class Processors:
    """Of this process, and of all that the PostgreSQL in a data directory consists of when this is made."""

    def __init__(self, data_dir: Path) -> None:
        (pid_file,) = data_dir.glob("**/postmaster.pid")
        postmaster = pid_file.read_text().splitlines()[0]
        stats = [stat.read_text().rpartition(") ") for stat in Path("/proc").glob("[0-9]*/stat")]
        children = [int(name.split()[0]) for name, _, fields in stats if fields.split()[1] == postmaster]
        self._postgres = [int(postmaster), *children]

    def spent_s(self) -> float:
        return time.process_time() + sum(map(processor_s, self._postgres))
