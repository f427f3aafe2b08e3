"""Shrink MoveNet's encoder for a small FastPose: the command `shrink-encoder`."""

import sys

from simplepose.cli import run_command, shrink_encoder

if __name__ == "__main__":
    sys.exit(run_command(shrink_encoder.main))
