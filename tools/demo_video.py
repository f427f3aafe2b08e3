"""Detect, track and draw the people in a video, camera or stream: the command `demo-video`."""

import sys

from simplepose.cli import demo_video, run_command

if __name__ == "__main__":
    sys.exit(run_command(demo_video.main))
