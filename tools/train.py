"""Train a network in one process: the command `train`."""

import sys

from simplepose.cli import run_command, train

if __name__ == "__main__":
    sys.exit(run_command(train.main))
