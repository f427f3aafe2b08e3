"""Plot the curves of training runs: the command `plot-run`."""

import sys

from simplepose.cli import plot_run, run_command

if __name__ == "__main__":
    sys.exit(run_command(plot_run.main))
