"""How fast a network is on this machine (`--help` tells more)."""

import sys

from simplepose.cli import benchmark, door

if __name__ == "__main__":
    sys.exit(door(benchmark.main))
