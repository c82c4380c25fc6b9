"""Programs that some tests need and a machine may lack: those tests are skipped, unless somebody has installed them."""

import os
import shutil


def may_skip(*, missing: bool) -> bool:
    """Whether a test may be skipped for what is missing; whoever has installed all of it wants to know it was used."""
    return missing and os.environ.get("REQUIRE_DEBIAN_SERVERS") != "1"


def lacks(program: str) -> bool:
    """Whether a test that runs this program may be skipped."""
    return may_skip(missing=shutil.which(program) is None)
