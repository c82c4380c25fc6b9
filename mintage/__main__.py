"""``python -m mintage`` is the ``mintage`` command."""

import sys

from mintage.cli import main

sys.exit(main())
