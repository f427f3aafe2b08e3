"""Compute tracking metrics of results: the command `evaluate-tracking`."""

import sys

from simplepose.cli import evaluate_tracking, run_command

if __name__ == "__main__":
    sys.exit(run_command(evaluate_tracking.main))
