"""Generate a dataset of synthetic people in COCO format: the command `draw-people`."""

import sys

from simplepose.cli import draw_people, run_command

if __name__ == "__main__":
    sys.exit(run_command(draw_people.main))
