"""Compare two evaluations: the command `compare`."""

import sys

from simplepose.cli import compare, run_command

if __name__ == "__main__":
    sys.exit(run_command(compare.main))
