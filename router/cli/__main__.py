"""`python -m router.cli`: the `inferhouse` command."""

import sys

from router.cli.main import main

sys.exit(main())
