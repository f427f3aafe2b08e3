"""`python -m simplepose.cli VERB ...`: the installed command without its installation."""

import sys

from simplepose.cli import main

if __name__ == "__main__":
    sys.exit(main())
