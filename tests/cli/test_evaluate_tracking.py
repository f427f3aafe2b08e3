"""The command `evaluate-tracking` on MOT challenge text files and PoseTrack-style json files."""

import json
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from simplepose.cli import evaluate_tracking, run_command
from simplepose.frames import Frame
from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO
from simplepose.writers import open_writers

BOX = (10, 20, 30, 60)
OTHER_BOX = (200, 20, 30, 60)
POSETRACK = ("nose", "head_bottom", "head_top", *COCO.annotated[3:])


def evaluate(folder, truth, results, *options):
    """Run the command on two files and return what it writes."""
    files = ["--truth", truth, "--results", results, "--output", folder / "metrics.json", *options]
    assert run_command(evaluate_tracking.main, [str(file) for file in files]) == 0
    return json.loads((folder / "metrics.json").read_text())


def assert_error(capsys, truth, results, message, *options):
    files = ["--truth", truth, "--results", results, *options]
    assert run_command(evaluate_tracking.main, [str(file) for file in files]) == 2
    assert message in capsys.readouterr().err


def write_mot(path, rows):
    """Write rows (frame, id, box, *other columns)."""
    lines = [",".join(map(str, (frame, id_, *box, *rest))) for frame, id_, box, *rest in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@cache
def pose_offsets(names):
    """Give each name of a keypoint its own position in a box of 40 x 80 pixels."""
    sums = [sum(map(ord, name)) for name in names]
    return [(value % 41, value * 7 % 81) for value in sums]


def pose(x, y, names=COCO.annotated):
    return [value for dx, dy in pose_offsets(names) for value in (x + dx, y + dy, 2)]


def annotation(image_id, track_id, x, y=0, **more):
    return {
        "image_id": image_id,
        "track_id": track_id,
        "keypoints": pose(x, y),
        "bbox": [x, y, 40, 80],
        **more,
    }


def write_json(path, images, annotations, joints=COCO.annotated):
    categories = [{"id": 1, "name": "person", "keypoints": list(joints)}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path


def named_images(count, **more):
    return [{"id": 1 + n, "file_name": f"images/{n:06d}.jpg", **more} for n in range(count)]


def test_mot_files_with_known_values(tmp_path, capsys):
    truth = write_mot(
        tmp_path / "truth.txt",
        [(n, i, box, 1, -1, -1, -1) for n in (1, 2, 3, 4) for i, box in ((1, BOX), (2, OTHER_BOX))],
    )
    found = [(1, 5, BOX), (2, 5, BOX), (3, 6, BOX), (4, 6, BOX)]  # one person, with one switch
    found += [(2, 7, (400, 400, 10, 10)), (9, 7, (400, 400, 10, 10))]  # two false people, one after the end
    found += [(3, -1, OTHER_BOX)]  # not tracked
    metrics = evaluate(tmp_path, truth, write_mot(tmp_path / "found.txt", found))["all"]
    counts = [metrics[name] for name in ("truth", "found", "misses", "false_positives", "switches")]
    assert counts == [8, 6, 4, 2, 1]
    assert metrics["mota"] == pytest.approx(1 - 7 / 8)
    assert metrics["idf1"] == pytest.approx(2 * 2 / 14)
    assert (metrics["precision"], metrics["recall"]) == pytest.approx((4 / 6, 4 / 8))
    assert metrics["motp"] == 1
    output = capsys.readouterr()
    assert "1 found people without an id (-1) are left out" in output.err
    assert "0.125      0.286          1      0.667      0.500      1.000" in output.out


def test_the_order_of_lines_has_no_effect(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(n, i, (*rng.uniform(0, 50, 2).round(2), 60, 60)) for n in range(1, 30) for i in range(4)]
    truth = write_mot(tmp_path / "truth.txt", rows[::2])
    found = write_mot(tmp_path / "found.txt", [(n, (i + n // 7) % 5, box) for n, i, box in rows])
    first = evaluate(tmp_path, truth, found)["all"]
    for path in (truth, found):
        path.write_text("\n".join(rng.permutation(path.read_text().splitlines())))
    assert evaluate(tmp_path, truth, found)["all"] == first
    assert first["switches"] > 0


def test_mot_rows_that_are_not_counted(tmp_path):
    pedestrian, distractor, unset = (1, 1, 1.0), (0, 8, 1.0), (0, 1, 1.0)
    far = (500, 20, 30, 60)
    truth = write_mot(
        tmp_path / "truth.txt",
        [(1, 1, BOX, *pedestrian), (1, 2, OTHER_BOX, *distractor), (1, 3, far, *unset)],
    )
    found = write_mot(tmp_path / "found.txt", [(1, 1, BOX), (1, 2, OTHER_BOX), (1, 3, far)])
    metrics = evaluate(tmp_path, truth, found)["all"]
    # The distractor's match is left out; a row with confidence 0 does not count as a person.
    assert [metrics[name] for name in ("truth", "found", "misses", "false_positives")] == [1, 2, 0, 1]


def test_several_videos_are_summed(tmp_path, capsys):
    for name in "AB":
        (tmp_path / name / "gt").mkdir(parents=True)
        write_mot(tmp_path / name / "gt/gt.txt", [(1, 1, BOX), (2, 1, BOX)])
        write_mot(tmp_path / f"{name}.txt", [(1, 1, BOX), (2, 1 + (name == "B"), BOX)])
    truth, found = ([tmp_path / part.format(n) for n in "AB"] for part in ("{}/gt/gt.txt", "{}.txt"))
    metrics = evaluate(tmp_path, truth[0], found[0], "--truth", *truth, "--results", *found)
    assert [video["video"] for video in metrics["videos"]] == ["A", "B"]
    assert [video["switches"] for video in metrics["videos"]] == [0, 1]
    assert metrics["all"]["mota"] == pytest.approx(1 - 1 / 4)
    assert_error(
        capsys, truth[0], found[0], "--results: expected one file for each file of --truth", "--truth", *truth
    )


def test_posetrack_videos_are_separate_and_unlabeled_images_are_left_out(tmp_path):
    images = [
        {"id": 10 * video + n, "vid_id": video, "frame_id": n, "is_labeled": n != 2}
        for video in (1, 2)
        for n in (3, 2, 1)
    ]
    truth = [annotation(image["id"], 0, 5) for image in images if image["is_labeled"]]
    # Another id in the other video is no switch; people in unlabeled images are not counted.
    found = [annotation(image["id"], image["vid_id"], 6) for image in images]
    metrics = evaluate(
        tmp_path,
        write_json(tmp_path / "t.json", images, truth),
        write_json(tmp_path / "r.json", images, found),
    )
    assert [video["video"] for video in metrics["videos"]] == ["1", "2"]
    assert metrics["all"]["truth"] == metrics["all"]["found"] == 4
    assert (metrics["all"]["mota"], metrics["all"]["idf1"]) == (1, 1)
    assert 0.9 < metrics["all"]["motp"] < 1
    assert metrics["settings"]["match"] == "keypoints"


def test_crowds_and_people_without_keypoints_are_not_evaluated(tmp_path):
    hidden = annotation(1, 2, 300) | {"keypoints": [0] * 51}
    crowd = annotation(1, 0, 100, iscrowd=1, bbox=[100, 0, 100, 200])
    truth = write_json(tmp_path / "t.json", named_images(1), [annotation(1, 1, 0), hidden, crowd])
    found = [annotation(1, 1, 0), annotation(1, 2, 300), annotation(1, 3, 120), annotation(1, 4, 150, 50)]
    far = annotation(1, 5, 600)
    (tmp_path / "r.json").write_text(json.dumps([*found, far]))
    metrics = evaluate(tmp_path, truth, tmp_path / "r.json")["all"]
    assert [metrics[name] for name in ("truth", "found", "false_positives")] == [1, 2, 1]
    boxes = evaluate(tmp_path, truth, tmp_path / "r.json", "--match", "boxes")["all"]
    assert [boxes[name] for name in ("truth", "found", "false_positives")] == [2, 3, 1]


def test_keypoints_are_compared_by_name(tmp_path):
    """PoseTrack's keypoints have another order than COCO's, and others at its head."""
    images = named_images(1)
    person = annotation(1, 3, 50) | {"keypoints": pose(50, 0, POSETRACK)}
    truth = write_json(tmp_path / "t.json", images, [person], POSETRACK)
    results = write_json(tmp_path / "r.json", images, [annotation(1, 9, 50)])
    metrics = evaluate(tmp_path, truth, results)["all"]
    assert (metrics["mota"], metrics["motp"]) == (1, pytest.approx(1))
    without_names = json.loads(results.read_text())["annotations"]  # read in the truth's order
    (tmp_path / "list.json").write_text(json.dumps(without_names))
    assert evaluate(tmp_path, truth, tmp_path / "list.json")["all"]["motp"] < 0.95


def test_output_of_demo_video_is_evaluated_by_file_names(tmp_path):
    """The frames have other ids than the truth's images, and one person is not tracked."""
    images = [{"id": 700 - n, "file_name": f"val/video/{n:06d}.jpg", "frame_id": n} for n in range(3)]
    truth = write_json(tmp_path / "t.json", images, [annotation(image["id"], 4, 20) for image in images])
    keypoints = np.reshape(pose(20, 0), (1, 17, 3)).repeat(2, 0)
    with open_writers(["coco"], tmp_path / "out") as writer:
        for number in range(3):
            frame = Frame(number, f"{number:06d}.jpg", np.zeros((100, 100, 3), np.uint8))
            writer.write(frame, People(keypoints, np.ones(2), np.array([8, NO_ID])))
    metrics = evaluate(tmp_path, truth, tmp_path / "out/people.json")["all"]
    assert [metrics[name] for name in ("mota", "idf1", "found")] == [1, 1, 3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", "line 2: expected at least 6 values with commas between them"),
        ("1 2 3 4 5 6", "line 2: expected at least 6 values with commas between them"),
        ("1,2,x,4,5,6", "line 2: expected numbers, got '1,2,x,4,5,6'"),
        ("1,2,nan,4,5,6", "line 2: expected finite numbers"),
        ("0,2,3,4,5,6", "line 2: frame: expected an integer >= 1, got 0"),
        ("1.5,2,3,4,5,6", "line 2: frame: expected an integer >= 1, got 1.5"),
        ("1,2.5,3,4,5,6", "line 2: id: expected an integer >= -1, got 2.5"),
        ("1,2,3,4,-5,6", "line 2: width and height: expected numbers >= 0, got -5 and 6"),
        ("1,1,3,4,5,6", "line 2: expected each id once in a frame, got 1 again in frame 1"),
    ],
)
def test_malformed_lines_are_refused(tmp_path, capsys, line, message):
    truth = write_mot(tmp_path / "truth.txt", [(1, 1, BOX)])
    (tmp_path / "found.txt").write_text(f"1,1,10,20,30,60\n{line}\n")
    assert_error(capsys, truth, tmp_path / "found.txt", f"found.txt, {message}")


def test_unusable_mot_files_are_refused(tmp_path, capsys):
    truth = write_mot(tmp_path / "truth.txt", [(1, 1, BOX)])
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    untracked = write_mot(tmp_path / "untracked.txt", [(1, -1, BOX)])
    assert_error(
        capsys, tmp_path / "empty.txt", truth, "empty.txt: expected at least one person in the truth"
    )
    assert_error(capsys, tmp_path / "binary.txt", truth, "binary.txt: expected a MOT challenge text file")
    assert_error(capsys, untracked, truth, "untracked.txt, line 1: id: expected an integer >= 0, got -1")
    assert_error(capsys, tmp_path / "none.txt", truth, "none.txt: no such file")
    assert_error(capsys, truth, tmp_path / "r.json", "expected two files in MOT challenge format")
    assert_error(capsys, truth, truth, "--match keypoints: expected json files", "--match", "keypoints")
    assert evaluate(tmp_path, truth, tmp_path / "empty.txt")["all"]["mota"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": "1"}, "annotation 1: image_id: expected an integer, got '1'"),
        ({"image_id": 77}, "image 77 (None): expected results for images of"),
        ({"track_id": 0}, "annotation 1: track_id: expected each id once in an image, got 0 again"),
        ({"track_id": 1.5}, "annotation 1: track_id: expected an integer >= 0, got 1.5"),
        ({"keypoints": [1, 2]}, "annotation 1: keypoints: expected 3 values for each keypoint, got 2 values"),
        ({"keypoints": [1, 2, 2]}, "image 1, track 1: keypoints: expected 17 keypoints, got 1"),
        ({"keypoints": "abc"}, "annotation 1: keypoints: expected a list of finite numbers, got 'abc'"),
        ({"bbox": [1, 2, -3, 4]}, "annotation 1: bbox: expected left, top, width >= 0, height >= 0"),
        ({"keypoints": [float("nan")] * 51}, "annotation 1: keypoints: expected a list of finite numbers"),
    ],
)
def test_malformed_entries_are_refused(tmp_path, capsys, change, message):
    truth = write_json(tmp_path / "t.json", named_images(1), [annotation(1, 0, 0)])
    rows = [annotation(1, 0, 0), annotation(1, 1, 100) | change]
    (tmp_path / "r.json").write_text(json.dumps(rows))
    assert_error(capsys, truth, tmp_path / "r.json", message)


def test_unusable_json_files_are_refused(tmp_path, capsys):
    cases = {
        "{": "invalid or truncated json",
        "3": "got int",
        '{"images": 3}': "images: expected a list of objects",
        '{"images": [], "annotations": []}': "expected at least one labeled image",
        '{"images": [{"id": 1}, {"id": 1}], "annotations": []}': "image 1: expected an integer id",
        '{"images": [{"id": 1}], "annotations": [{"image_id": 1}]}': "expected an integer >= 0, got None",
    }
    for content, message in cases.items():
        (tmp_path / "bad.json").write_text(content)
        assert_error(capsys, tmp_path / "bad.json", tmp_path / "bad.json", message, "--match", "boxes")
    unknown = write_json(tmp_path / "u.json", named_images(1), [], ("tail",))
    assert_error(capsys, unknown, unknown, "expected keypoints of COCO or PoseTrack")


def test_a_missing_trackeval_is_reported_with_the_command(tmp_path, capsys, monkeypatch):
    truth = write_mot(tmp_path / "truth.txt", [(1, 1, BOX)])
    monkeypatch.setitem(sys.modules, "trackeval.metrics.hota", None)
    assert_error(capsys, truth, truth, "pip install 'simplepose[hota]'", "--hota")


def test_hota_is_in_the_table(tmp_path, capsys):
    pytest.importorskip("trackeval")
    truth = write_mot(tmp_path / "truth.txt", [(1, 1, BOX), (2, 1, BOX)])
    metrics = evaluate(tmp_path, truth, truth, "--hota")["all"]
    assert [metrics[name] for name in ("HOTA", "DetA", "AssA")] == pytest.approx([1, 1, 1])
    assert "HOTA" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["txt", "json"])
def test_1000_frames_of_20_people_take_seconds(tmp_path, kind):
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 2000, (20, 2)) + rng.normal(0, 3, (1000, 20, 2)).cumsum(0)
    for path in (tmp_path / "truth", tmp_path / "found"):
        boxes = np.concatenate([xy + rng.normal(0, 1, xy.shape), np.full(xy.shape, (40, 80))], 2).round(1)
        if kind == "txt":
            rows = [(n + 1, i, boxes[n, i]) for n in range(1000) for i in range(20)]
            write_mot(Path(f"{path}.txt"), rows)
        else:
            rows = [annotation(n + 1, i, *boxes[n, i, :2]) for n in range(1000) for i in range(20)]
            write_json(Path(f"{path}.json"), named_images(1000), rows)
    start = time.process_time()
    metrics = evaluate(tmp_path, tmp_path / f"truth.{kind}", tmp_path / f"found.{kind}")["all"]
    assert time.process_time() - start < 10
    assert metrics["truth"] == 20_000
    assert metrics["idf1"] > 0.99
