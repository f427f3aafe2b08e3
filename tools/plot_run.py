"""Draw the curves of runs: the verb `plot_run`."""

import sys

from simplepose.cli import door, plot_run

if __name__ == "__main__":
    sys.exit(door(plot_run.main))
