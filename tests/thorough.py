"""How many examples the long property tests try: as many as they say, or fewer where only a first look is wanted."""

import os
from typing import Final

EXAMPLES_MAX: Final = "MINTAGE_TEST_EXAMPLES_MAX"
"""The environment variable that says how many at most."""


def examples(count: int) -> int:
    return min(count, int(os.environ.get(EXAMPLES_MAX, count)))
