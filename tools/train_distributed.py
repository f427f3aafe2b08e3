"""Train a network in several processes, started by torchrun: the command `train-distributed`."""

import sys

from simplepose.cli import run_command, train_distributed

if __name__ == "__main__":
    sys.exit(run_command(train_distributed.main))
