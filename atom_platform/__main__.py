"""`python -m atom_platform` is the console script `atom-platform`."""

import sys

from atom_platform.cli import main

if __name__ == "__main__":
    sys.exit(main())
