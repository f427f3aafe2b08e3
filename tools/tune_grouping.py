"""Compare settings of the grouping: the command `tune-grouping`."""

import sys

from simplepose.cli import run_command, tune_grouping

if __name__ == "__main__":
    sys.exit(run_command(tune_grouping.main))
