"""Train a network in several processes, which torchrun starts: the verb `train-distributed`."""

import sys

from simplepose.cli import door, train_distributed

if __name__ == "__main__":
    sys.exit(door(train_distributed.main))
