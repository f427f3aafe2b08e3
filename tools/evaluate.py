"""COCO AP of a model, or a results file for COCO's server (`--help` tells more)."""

import sys

from simplepose.cli import door, evaluate

if __name__ == "__main__":
    sys.exit(door(evaluate.main))
