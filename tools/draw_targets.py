"""Draw what a network is taught of some samples (`--help` tells more)."""

import sys

from simplepose.cli import door, draw_targets

if __name__ == "__main__":
    sys.exit(door(draw_targets.main))
