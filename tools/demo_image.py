"""Find and draw the people in pictures (`--help` tells more)."""

import sys

from simplepose.cli import demo, door

if __name__ == "__main__":
    sys.exit(door(demo.main))
