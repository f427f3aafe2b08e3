"""COCO's format: people.json with the results, and frames.json with the frames that they belong to.

https://cocodataset.org/#format-results and #format-data. pycocotools loads the two together:
`COCO("frames.json").loadRes("people.json")`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from simplepose.frames import BadFrame, Frame
from simplepose.people import PERSON_CATEGORY_ID, People
from simplepose.skeleton import COCO, Skeleton
from simplepose.writers import base
from simplepose.writers.append import PairedFiles
from simplepose.writers.base import ResultWriter
from simplepose.writers.naming import escape_name

PEOPLE_FILE, FRAMES_FILE = "people.json", "frames.json"


class CocoWriter(ResultWriter):
    """Write COCO's result format.

    There are two files:

    * people.json: a list with one row per person, COCO's result format: image_id, category_id (1), keypoints
      (x, y, score per keypoint, annotated order; 0, 0, 0 if not found), score; also file_name, and track_id
      if the people have ids;
    * frames.json: COCO's data format without annotations. `images` has one entry per frame, also if it shows
      no people: id, file_name, width, height, frame (its number, from 0), seconds (null for images). A frame
      that could not be read has id, file_name, frame and error.

    An image_id is the frame's number plus 1. File names are escaped by `naming.escape_name`.

    Args:
        folder: for the files; it must exist.
        skeleton: the people's skeleton; any is supported.

    Raises:
        OSError: a file cannot be created; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO) -> None:
        self._skeleton = skeleton
        layout = (_frames_header(skeleton), b",\n", b"\n]}\n")
        self._files = PairedFiles(Path(folder) / PEOPLE_FILE, Path(folder) / FRAMES_FILE, layout)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people, entry = base.sanitize(people, self._skeleton), _image_entry(frame)
        rows = []
        for row, person_id in zip(
            people.to_coco_rows(frame.number + 1), base.person_ids(people), strict=True
        ):
            track = {} if person_id is None else {"track_id": person_id}
            rows.append(base.encode_json({"file_name": entry["file_name"], **row, **track}))
        height, width = frame.image.shape[:2]
        properties = {"width": width, "height": height, "seconds": base.timestamp(frame)}
        self._files.add(base.encode_json({**entry, **properties}), rows)

    def skip(self, bad: BadFrame) -> None:
        """Add a frame that could not be read: see `ResultWriter`."""
        self._files.add(base.encode_json({**_image_entry(bad), "error": escape_name(bad.reason)}))

    def close(self, keep: bool = True) -> None:
        """Close the files: see `ResultWriter`."""
        self._files.close(keep)


def _image_entry(frame: Frame | BadFrame) -> dict[str, Any]:
    return {"id": frame.number + 1, "file_name": escape_name(frame.name), "frame": frame.number}


def _frames_header(skeleton: Skeleton) -> bytes:
    """Build the start of frames.json, up to its list of images. COCO numbers a bone's keypoints from 1."""
    category = {
        "id": PERSON_CATEGORY_ID,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(skeleton.annotated),
        "skeleton": (skeleton.bone_ends + 1).tolist(),
    }
    return f'{{"annotations": [], "categories": [{json.dumps(category)}], "images": [\n'.encode("ascii")
