"""Draw the learning rate of settings files: the verb `plot-schedule`."""

import sys

from simplepose.cli import door, plot_schedule

if __name__ == "__main__":
    sys.exit(door(plot_schedule.main))
