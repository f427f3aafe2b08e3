"""Readers of each format of results, written from the format's public description alone.

All give the same: {frame's key: None where it could not be read, else its people as (P, J, 3) arrays}.
"""

import csv
import json
import re

import numpy as np

OPENPOSE_BODY_25 = (
    *("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip"),
    *("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)
"""As OpenPose's documentation lists them."""


def strict_json(text):
    """JSON as RFC 8259 has it: no NaN, no Infinity; valid Unicode."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    values = json.loads(text, parse_constant=refuse)
    json.dumps(values, ensure_ascii=False).encode("utf-8")  # no lone surrogates
    return values


def joints(values):
    assert len(values) % 3 == 0
    return np.array(values, np.float64).reshape(-1, 3)


def coco(folder):
    """https://cocodataset.org/#format-data and #format-results."""
    frames = strict_json((folder / "frames.json").read_text())
    rows = strict_json((folder / "people.json").read_text())
    images = {image["id"]: image for image in frames["images"]}
    assert len(images) == len(frames["images"])
    (category,) = frames["categories"]
    assert all(1 <= end <= len(category["keypoints"]) for bone in category["skeleton"] for end in bone)
    found = {image["id"] - 1: None if "error" in image else [] for image in images.values()}
    for row in rows:
        assert row["category_id"] == category["id"] == 1
        assert row["file_name"] == images[row["image_id"]]["file_name"]
        assert len(row["keypoints"]) == 3 * len(category["keypoints"])
        found[row["image_id"] - 1].append(joints(row["keypoints"]))
    return found


def openpose(folder):
    """doc/02_output.md of OpenPose; the keys of version 1.3."""
    found = {}
    for path in sorted((folder / "openpose").iterdir()):
        record = strict_json(path.read_text())
        assert record["version"] == 1.3
        name = re.fullmatch(r"(.+)_keypoints\.json", path.name)[1]
        for person in record["people"]:
            assert len(person["person_id"]) == 1
            assert [person[f"{part}_keypoints_2d"] for part in ("face", "hand_left", "hand_right")] == [
                []
            ] * 3
            assert len(person["pose_keypoints_2d"]) == 3 * len(OPENPOSE_BODY_25)
        people = [joints(person["pose_keypoints_2d"]) for person in record["people"]]
        found[name] = None if "error" in record else people
    return found


def alphapose(folder):
    """docs/output.md of AlphaPose, `box` and `idx` as its results have them."""
    frames = strict_json((folder / "alphapose-frames.json").read_text())
    keys = {frame["image_id"]: frame["frame"] for frame in frames if "error" not in frame}
    found = {frame["frame"]: None if "error" in frame else [] for frame in frames}
    for row in strict_json((folder / "alphapose-results.json").read_text()):
        assert row["category_id"] == 1
        assert len(row["box"]) == 4
        assert isinstance(row["idx"], int)
        found[keys[row["image_id"]]].append(joints(row["keypoints"]))
    return found


def csv_table(folder):
    """RFC 4180: CRLF, quotes doubled, as many fields in each record."""
    raw = (folder / "people.csv").read_bytes()
    assert raw.endswith(b"\r\n")
    with (folder / "people.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
    assert all(len(row) == len(header) for row in rows)
    assert len(set(header)) == len(header)
    found = {}
    for row in (dict(zip(header, row, strict=True)) for row in rows):
        people = found.setdefault(int(row["frame"]), None if row["error"] else [])
        if row["score"]:
            cells = [row[name] for name in header[header.index("box_height") + 1 :]]
            people.append(joints([float(cell or 0) for cell in cells]))
    return found


def jsonl(folder):
    """https://jsonlines.org: a value a line, each ending in a line feed."""
    lines = (folder / "people.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    records = [strict_json(line) for line in lines]
    assert len({record["frame"] for record in records}) == len(records)
    return {
        record["frame"]: None
        if "error" in record
        else [joints(person["keypoints"]) for person in record["people"]]
        for record in records
    }


READERS = {"coco": coco, "openpose": openpose, "alphapose": alphapose, "csv": csv_table, "jsonl": jsonl}
