"""Detect and draw the people in images: the command `demo`."""

import sys

from simplepose.cli import demo_image, run_command

if __name__ == "__main__":
    sys.exit(run_command(demo_image.main))
