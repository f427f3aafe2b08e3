"""COCO's format: people.json, a list of rows, and frames.json, the frames that the rows are of.

https://cocodataset.org/#format-results and #format-data. With pycocotools the two are one set:
`COCO("frames.json").loadRes("people.json")`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from simplepose.frames import BadFrame, Frame
from simplepose.people import PERSON_CATEGORY, People
from simplepose.skeleton import COCO, Skeleton
from simplepose.writers import base
from simplepose.writers.append import PairedFiles
from simplepose.writers.base import ResultWriter
from simplepose.writers.naming import to_text

PEOPLE, FRAMES = "people.json", "frames.json"


class CocoWriter(ResultWriter):
    """Writes two files:

    * people.json: a list with a row a person, COCO's result format: image_id, category_id (1), keypoints
      (x, y, score a joint, annotated order; 0, 0, 0 where not found), score; also file_name, and track_id
      where people have ids;
    * frames.json: COCO's data format without annotations. `images` has an entry for each frame, also where
      nobody was found: id, file_name, width, height, frame (its number, from 0), seconds (null for
      pictures). One that could not be read has id, file_name, frame and error.

    An image_id is the frame's number plus 1. File names are as `naming.to_text` writes them.

    Args:
        folder: for the files; it must be there.
        skeleton: of the people; any.

    Raises:
        OSError: a file cannot be made; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO) -> None:
        self._skeleton = skeleton
        form = (_frames_head(skeleton), b",\n", b"\n]}\n")
        self._files = PairedFiles(Path(folder) / PEOPLE, Path(folder) / FRAMES, form)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people, place = base.writable(people, self._skeleton), _place(frame)
        rows = []
        for row, known in zip(people.to_coco_rows(frame.number + 1), base.ids(people), strict=True):
            track = {} if known is None else {"track_id": known}
            rows.append(base.encode({"file_name": place["file_name"], **row, **track}))
        height, width = frame.image.shape[:2]
        seen = {"width": width, "height": height, "seconds": base.seconds(frame)}
        self._files.add(base.encode({**place, **seen}), rows)

    def skip(self, bad: BadFrame) -> None:
        """Add a place that gave no picture: see `ResultWriter`."""
        self._files.add(base.encode({**_place(bad), "error": to_text(bad.reason)}))

    def close(self, keep: bool = True) -> None:
        """Finish the files: see `ResultWriter`."""
        self._files.close(keep)


def _place(frame: Frame | BadFrame) -> dict[str, Any]:
    return {"id": frame.number + 1, "file_name": to_text(frame.name), "frame": frame.number}


def _frames_head(skeleton: Skeleton) -> bytes:
    """All that frames.json has before its list of images; COCO counts a bone's joints from 1."""
    category = {
        "id": PERSON_CATEGORY,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(skeleton.annotated),
        "skeleton": (skeleton.bone_ends + 1).tolist(),
    }
    return f'{{"annotations": [], "categories": [{json.dumps(category)}], "images": [\n'.encode("ascii")
