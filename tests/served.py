"""`mintage serve` as a process of its own, for tests that speak to it as anybody would."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def served(data_dir: Path, *, port: int = 0, **settings: str) -> Iterator[tuple[str, list[str]]]:
    """The address of a server on a free port (or this one), and what it logs; stopped at the end.

    ``settings`` are as in the environment.
    """
    words = [sys.executable, "-m", "mintage", "serve", "--port", str(port), "--data-dir", str(data_dir)]
    log: list[str] = []
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                log.append(line)
                if found := re.search(r"serving on (http://\S+),", line):
                    break
            else:
                pytest.fail("".join(log) or "the server did not start")
            # Read to the end, or the server would stop at a full pipe.
            threading.Thread(target=log.extend, args=(process.stderr,), daemon=True).start()
            yield found.group(1), log
        finally:
            process.terminate()
            process.wait(timeout=60)
