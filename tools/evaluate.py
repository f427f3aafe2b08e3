"""Compute the COCO AP of a model: the command `evaluate`."""

import sys

from simplepose.cli import evaluate, run_command

if __name__ == "__main__":
    sys.exit(run_command(evaluate.main))
