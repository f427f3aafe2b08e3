"""Measure the speed of a network on this machine: the command `benchmark`."""

import sys

from simplepose.cli import benchmark, run_command

if __name__ == "__main__":
    sys.exit(run_command(benchmark.main))
