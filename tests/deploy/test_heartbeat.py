"""A worker shows that it is well by a file, wherever it runs; here on its own database."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import until


def work(data_dir: Path, *words: str) -> Sequence[str]:
    return [sys.executable, "-m", "mintage", "work", "--data-dir", str(data_dir), *words]


async def test_a_worker_touches_its_heartbeat_and_drains_when_told_to_stop(tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    words = work(tmp_path, "--heartbeat", str(heartbeat))
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    try:

        async def beats() -> bool:
            assert process.returncode is None
            return heartbeat.exists()

        await until(beats)
        process.terminate()
        async with asyncio.timeout(60):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert said.rstrip().endswith(b"drained and stopped")


def test_a_heartbeat_that_cannot_be_touched_is_said_at_once(tmp_path: Path) -> None:
    words = work(tmp_path, "--heartbeat", str(tmp_path / "nowhere" / "heartbeat"))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("No such file or directory")
