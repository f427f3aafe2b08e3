"""Find, follow and draw the people in a video, a camera or a stream (`--help` tells more)."""

import sys

from simplepose.cli import demo_video, door

if __name__ == "__main__":
    sys.exit(door(demo_video.main))
