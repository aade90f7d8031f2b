"""`python -m rltrain`: the command line."""

import sys

from rltrain.cli import main

sys.exit(main())
