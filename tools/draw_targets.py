"""Draw training samples with their masks, joints and target maps: the command `draw-targets`."""

import sys

from simplepose.cli import draw_targets, run_command

if __name__ == "__main__":
    sys.exit(run_command(draw_targets.main))
