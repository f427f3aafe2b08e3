"""Plot the learning rate of settings files: the command `plot-schedule`."""

import sys

from simplepose.cli import plot_schedule, run_command

if __name__ == "__main__":
    sys.exit(run_command(plot_schedule.main))
