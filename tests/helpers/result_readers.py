"""Reader of each result format, written from the format's public documentation alone.

All return {frame key: None if the frame could not be read, else its people as a list of (J, 3) arrays}.
"""

import csv
import json
import re

import numpy as np

# The order in OpenPose's documentation.
OPENPOSE_BODY_25 = (
    *("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip"),
    *("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)


def strict_json(text):
    """Parse JSON strictly as in RFC 8259: no NaN, no Infinity; valid Unicode."""

    def reject(word):
        raise AssertionError(f"{word} is not valid JSON")

    values = json.loads(text, parse_constant=reject)
    json.dumps(values, ensure_ascii=False).encode("utf-8")  # no unpaired surrogates
    return values


def parse_keypoints(values):
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
        found[row["image_id"] - 1].append(parse_keypoints(row["keypoints"]))
    return found


def openpose(folder):
    """OpenPose's doc/02_output.md; the keys of version 1.3."""
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
        people = [parse_keypoints(person["pose_keypoints_2d"]) for person in record["people"]]
        found[name] = None if "error" in record else people
    return found


def alphapose(folder):
    """AlphaPose's docs/output.md; `box` and `idx` as in its results."""
    frames = strict_json((folder / "alphapose-frames.json").read_text())
    keys = {frame["image_id"]: frame["frame"] for frame in frames if "error" not in frame}
    found = {frame["frame"]: None if "error" in frame else [] for frame in frames}
    for row in strict_json((folder / "alphapose-results.json").read_text()):
        assert row["category_id"] == 1
        assert len(row["box"]) == 4
        assert isinstance(row["idx"], int)
        found[keys[row["image_id"]]].append(parse_keypoints(row["keypoints"]))
    return found


def csv_table(folder):
    """RFC 4180: CRLF, doubled quotes, the same number of fields in each record."""
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
            people.append(parse_keypoints([float(cell or 0) for cell in cells]))
    return found


def jsonl(folder):
    """https://jsonlines.org: one value per line, each ending in a line feed."""
    lines = (folder / "people.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    records = [strict_json(line) for line in lines]
    assert len({record["frame"] for record in records}) == len(records)
    return {
        record["frame"]: None
        if "error" in record
        else [parse_keypoints(person["keypoints"]) for person in record["people"]]
        for record in records
    }


READERS = {"coco": coco, "openpose": openpose, "alphapose": alphapose, "csv": csv_table, "jsonl": jsonl}
