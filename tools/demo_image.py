"""Find and draw the people in pictures (`--help` tells more)."""

import sys

from simplepose.cli import demo_image, door

if __name__ == "__main__":
    sys.exit(door(demo_image.main))
