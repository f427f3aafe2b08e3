"""Where frames come from: pictures, videos, cameras, streams, standard input; `open_source` is the one door.

listing.py    files, folders, patterns -> a list of pictures
text_list.py  a text file of such paths
pictures.py   reading one picture, and a list of them as a source
captures.py   the only file that opens OpenCV's captures
video.py      a video file, every frame of it
cut_video.py  how many bytes a cut file lacks, by its own headers
live.py       cameras and streams: newest frame wins, and what breaks off is reached again
raw.py        frames without any header from standard input
options.py    which frames, and how patiently
opening.py    what a text means: the door
"""

from simplepose.sources.images import EXTENSIONS, PictureSource, Source, UnreadablePicture, images, read
from simplepose.sources.open import open_source
from simplepose.sources.source_options import SourceOptions
from simplepose.sources.stdin import RawSource
from simplepose.sources.stream import LiveSource
from simplepose.sources.video import VideoSource

__all__ = [
    "EXTENSIONS",
    "LiveSource",
    "PictureSource",
    "RawSource",
    "Source",
    "SourceOptions",
    "UnreadablePicture",
    "VideoSource",
    "images",
    "open_source",
    "read",
]
