"""`python -m tomo3d` is the command `tomo3d`."""

import sys

from tomo3d.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
