"""Train a network in one process: the verb `train`."""

import sys

from simplepose.cli import door, train

if __name__ == "__main__":
    sys.exit(door(train.main))
