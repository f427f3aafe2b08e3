"""Draw people as a data set in COCO's format (`--help` tells more)."""

import sys

from simplepose.cli import door, draw_people

if __name__ == "__main__":
    sys.exit(door(draw_people.main))
