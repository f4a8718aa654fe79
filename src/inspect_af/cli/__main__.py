"""`python -m inspect_af.cli`: the command `inspect-af` of this very environment."""

import sys

from inspect_af.cli import main

if __name__ == "__main__":
    sys.exit(main())
