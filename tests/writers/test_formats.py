"""Each result format, read back by an independent reader: one record per frame, with the same people."""

import contextlib
import csv
import io
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import result_readers
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO as PycocotoolsCoco
from repo_paths import CONFIGS
from result_readers import OPENPOSE_BODY_25, READERS, strict_json

from simplepose import skeleton as skeletons
from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.skeleton import COCO
from simplepose.writers import FORMATS, jsonl, merge, open_writers, parse_formats
from simplepose.writers.openpose import OpenPoseWriter

CROWDPOSE = skeletons.load(str(CONFIGS / "skeletons/crowdpose.yaml"))
WHOLEBODY = skeletons.load(str(CONFIGS / "skeletons/wholebody.yaml"))
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-30, 3e38, -3e38, 1e-4]


def image_frame(number, name, size_hw=(48, 64)):
    return Frame(number, name, np.zeros((*size_hw, 3), np.uint8), path=Path("in") / name)


def video_frame(number, size_hw=(48, 64)):
    return Frame(number, "clip.mp4", np.zeros((*size_hw, 3), np.uint8), seconds=number / 25)


def random_people(rng, count, joints=17, tracked=False):
    keypoints = rng.uniform(0.001, 1, (count, joints, 3)) * (640, 480, 1)
    keypoints[rng.random((count, joints)) < 0.3] = 0
    return People(keypoints, rng.random(count), rng.permutation(count) if tracked else None)


def expected_keypoints(people):
    """Return the keypoints that any format stores: finite and found, to three decimals."""
    kept = [np.zeros_like(person, np.float64) for person in people.keypoints]
    for target, person in zip(kept, people.keypoints.astype(np.float64), strict=True):
        for joint, values in enumerate(person):
            if np.isfinite(values).all() and values[2] > 0:
                target[joint] = (*values[:2], max(values[2], 0.001))
    return kept


@st.composite
def runs(draw, skeleton):
    """Generate a run: frames with people, frames without, and frames that could not be read."""
    number = st.one_of(st.sampled_from(SPECIAL), st.floats(-1e4, 1e4, width=32))
    run = []
    for index in range(draw(st.integers(0, 4))):
        if draw(st.integers(0, 4)) == 0:
            run.append((BadFrame(index, "clip.mp4", draw(st.text(max_size=20))), None))
            continue
        count = draw(st.integers(0, 3))
        flat = draw(st.lists(number, min_size=count * 6, max_size=count * 6))
        keypoints = np.zeros((count, len(skeleton.annotated), 3), np.float32)
        keypoints[:, -2:] = np.array(flat, np.float32).reshape(count, 2, 3)
        keypoints[:, 0] = draw(st.tuples(number, number, st.floats(0, 1, width=32)))
        scores = np.array(draw(st.lists(number, min_size=count, max_size=count)), np.float32)
        ids = np.arange(count) * 7 + index if draw(st.booleans()) else None
        run.append((video_frame(index), People(keypoints, scores, ids)))
    return run


def write_run(folder, run, formats, skeleton):
    with open_writers(formats, folder, skeleton) as writer:
        for frame, people in run:
            writer.skip(frame) if people is None else writer.write(frame, people)


def assert_same(found, run):
    assert sorted(found) == [frame.number for frame, _ in run]
    for frame, people in run:
        got = found[frame.number]
        if people is None:
            assert got is None
            continue
        target = expected_keypoints(people)
        assert len(got) == len(target)
        for one, other in zip(got, target, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=0.00051)


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda s: s.name)
@pytest.mark.parametrize("name", ["coco", "alphapose", "csv", "jsonl"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_each_frame_has_one_record(name, skeleton, data):
    run = data.draw(runs(skeleton))
    with tempfile.TemporaryDirectory() as folder:
        write_run(folder, run, [name], skeleton)
        assert_same(READERS[name](Path(folder)), run)
        assert not list(Path(folder).rglob("*.partial"))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_each_frame_has_one_openpose_file(data):
    run = data.draw(runs(COCO))
    with tempfile.TemporaryDirectory() as folder:
        write_run(folder, run, ["openpose"], COCO)
        found = READERS["openpose"](Path(folder))
        assert sorted(found) == [f"clip_{frame.number:012d}" for frame, _ in run]
        for frame, people in run:
            got = found[f"clip_{frame.number:012d}"]
            assert (got is None) == (people is None)
            target = [] if people is None else expected_keypoints(people)
            assert len(got or []) == len(target)
            for one, other in zip(got or [], target, strict=True):
                np.testing.assert_allclose(
                    one[OPENPOSE_BODY_25.index("Nose")], other[0], rtol=1e-6, atol=0.00051
                )


@pytest.mark.parametrize("tracked", [False, True])
def test_merged_shards_give_the_same_files(tmp_path, rng, tracked):
    run = [(video_frame(n), random_people(rng, n % 3, tracked=tracked)) for n in range(9)]
    run[4] = (BadFrame(4, "clip.mp4", "cut off"), None)
    all_formats = [name for name in FORMATS if name != "jsonl"]
    write_run(tmp_path / "direct", run, all_formats, COCO)
    write_run(tmp_path / "even", run[::2], ["jsonl"], COCO)
    write_run(tmp_path / "odd", run[1::2] + run[8:], ["jsonl"], COCO)  # one frame in both
    with open_writers(all_formats, tmp_path / "merged") as writer:
        assert merge([tmp_path / part / "people.jsonl" for part in ("even", "odd")], writer) == 9
    direct = {p.relative_to(tmp_path / "direct"): p.read_bytes() for p in (tmp_path / "direct").rglob("*.*")}
    merged = {p.relative_to(tmp_path / "merged"): p.read_bytes() for p in (tmp_path / "merged").rglob("*.*")}
    assert len(direct) == 5 + 9
    assert merged == direct


def test_pycocotools_loads_both_files_together(tmp_path, rng):
    run = [(image_frame(n, f"{n}.jpg"), random_people(rng, n)) for n in range(3)]
    write_run(tmp_path, run, ["coco"], COCO)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = PycocotoolsCoco(str(tmp_path / "frames.json"))
        found = truth.loadRes(str(tmp_path / "people.json"))
    assert sorted(truth.getImgIds()) == [1, 2, 3]
    assert [len(found.getAnnIds(imgIds=[image])) for image in (1, 2, 3)] == [0, 1, 2]
    assert truth.loadCats([1])[0]["keypoints"] == list(COCO.annotated)
    assert {"width": 64, "height": 48, "file_name": "2.jpg"}.items() <= truth.imgs[3].items()


def test_coco_rows_have_a_track_id_if_people_have_ids(tmp_path, rng):
    plain, tracked = random_people(rng, 1), random_people(rng, 2, tracked=True)
    write_run(
        tmp_path, [(image_frame(0, "a.jpg"), plain), (image_frame(1, "b.jpg"), tracked)], ["coco"], COCO
    )
    rows = strict_json((tmp_path / "people.json").read_text())
    assert rows[0] == {"file_name": "a.jpg", **plain.to_coco_rows(1)[0]}
    assert [row["track_id"] for row in rows[1:]] == tracked.ids.tolist()


def test_openpose_keypoint_order_is_correct(tmp_path):
    keypoints = np.array([[[10 * i + 1, 5 * i, 0.5 + i / 100] for i in range(17)]])
    write_run(tmp_path, [(image_frame(0, "a.jpg"), People(keypoints, [0.9]))], ["openpose"], COCO)
    (person,) = READERS["openpose"](tmp_path)["a"]
    by_name = dict(zip(OPENPOSE_BODY_25, person, strict=True))
    for name, joint in zip(COCO.annotated, keypoints[0], strict=True):
        side, _, part = name.rpartition("_")
        assert by_name[side[:1].upper() + part.capitalize()] == pytest.approx(joint)
    left, right = (keypoints[0, COCO.annotated.index(f"{s}_shoulder")] for s in ("left", "right"))
    assert by_name["Neck"] == pytest.approx([*(left[:2] + right[:2]) / 2, min(left[2], right[2])])
    assert by_name["MidHip"][2] == pytest.approx(0.61)
    assert all((by_name[f"{s}{part}"] == 0).all() for s in "LR" for part in ("BigToe", "SmallToe", "Heel"))


def test_midpoint_needs_both_ends(tmp_path):
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, COCO.annotated.index("left_shoulder")] = 5, 6, 0.7
    write_run(tmp_path, [(image_frame(0, "a.jpg"), People(keypoints, [1]))], ["openpose"], COCO)
    (person,) = READERS["openpose"](tmp_path)["a"]
    assert np.flatnonzero(person.any(1)).tolist() == [OPENPOSE_BODY_25.index("LShoulder")]


@pytest.mark.parametrize("skeleton", [CROWDPOSE, WHOLEBODY], ids=lambda s: s.name)
def test_openpose_maps_keypoints_of_other_skeletons_by_name(tmp_path, skeleton):
    joints = len(skeleton.annotated)
    keypoints = np.stack([np.arange(joints) + 1.0] * 2 + [np.full(joints, 0.5)], 1)[None]
    write_run(tmp_path, [(image_frame(0, "a.jpg"), People(keypoints, [1]))], ["openpose"], skeleton)
    (person,) = READERS["openpose"](tmp_path)["a"]
    by_name = dict(zip(OPENPOSE_BODY_25, person[:, 0], strict=True))
    assert by_name["LWrist"] == skeleton.annotated.index("left_wrist") + 1
    if "neck" in skeleton.annotated:
        assert by_name["Neck"] == skeleton.annotated.index("neck") + 1
        assert by_name["Nose"] == 0
    else:
        assert by_name["RHeel"] == skeleton.annotated.index("right_heel") + 1


def test_skeleton_without_a_body_is_rejected_and_old_results_stay(tmp_path):
    hand = skeletons.Skeleton("hand", ("a", "b"), (("a", "b"),), ("a", "b"), (0.1, 0.1), ())
    (tmp_path / "people.json").write_text("older")
    (tmp_path / "people.jsonl").write_text("older")
    with pytest.raises(ValueError, match="'hand' has no left_shoulder, right_shoulder, left_hip, right_hip"):
        open_writers(["jsonl", "coco", "openpose"], tmp_path, hand)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "people.json": "older",
        "people.jsonl": "older",
    }


@pytest.mark.parametrize("name", FORMATS)
def test_people_of_another_skeleton_are_rejected_and_not_written(tmp_path, name):
    with open_writers([name], tmp_path) as writer:
        writer.write(video_frame(0), People.empty(17))
        with pytest.raises(ValueError, match=r"expected 17 keypoints per person.*got 14"):
            writer.write(video_frame(1), People.empty(14))
    assert len(READERS[name](tmp_path)) == 1


def test_alphapose_scores_boxes_ids_and_names(tmp_path):
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 3], keypoints[0, 8] = (10, 20, 0.8), (30, 25, 0.05)
    run = [
        (video_frame(0), People(keypoints, [0.6], [42])),
        (video_frame(29), People(keypoints, [0.6])),
    ]
    write_run(tmp_path, run, ["alphapose"], COCO)
    first, second = strict_json((tmp_path / "alphapose-results.json").read_text())
    assert first["score"] == pytest.approx(0.85 / 17 + 1.25 * 0.8 + 0.6, abs=1e-5)
    assert (first["box"], first["idx"], first["image_id"]) == ([10, 20, 20, 5], 42, "0.jpg")
    assert (second["idx"], second["image_id"]) == (0, "29.jpg")


def test_csv_quotes_names_and_leaves_missing_values_empty(tmp_path):
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 9] = 1.5, 2.25, 0.5
    name = 'comma, "quote"\nand line.jpg'
    run = [(image_frame(0, name), People(keypoints, [0.5], [3])), (BadFrame(1, "b.jpg", 'cut, "off"'), None)]
    write_run(tmp_path, run, ["csv"], COCO)
    with (tmp_path / "people.csv").open(newline="") as file:
        first, bad = csv.DictReader(file)
    assert (first["file_name"], first["id"], first["seconds"]) == (name, "3", "")
    assert (first["left_wrist_x"], first["left_wrist_y"], first["left_wrist_score"]) == ("1.5", "2.25", "0.5")
    assert (first["nose_x"], first["nose_score"]) == ("", "")
    assert (bad["error"], bad["score"], bad["width"]) == ('cut, "off"', "", "")


def test_json_lines_are_readable_during_the_run(tmp_path, rng):
    with open_writers(["jsonl"], tmp_path) as writer:
        for number in range(3):
            writer.write(image_frame(number, f"{number}.jpg"), random_people(rng, number))
            assert len(READERS["jsonl"](tmp_path)) == number + 1
        (record, *_) = jsonl.read(tmp_path / "people.jsonl")
    size = {"width": 64, "height": 48}
    assert record.values == {"frame": 0, "file_name": "0.jpg", "seconds": None, **size, "people": []}


def test_records_restore_frames_and_people(tmp_path, rng):
    people = random_people(rng, 3, tracked=True)
    run = [(video_frame(5, (30, 40)), people), (BadFrame(6, "b\\.jpg", "lost"), None)]
    write_run(tmp_path, run, ["jsonl"], COCO)
    good, bad = jsonl.read(tmp_path / "people.jsonl")
    assert good.end + len(json.dumps(bad.values)) + 1 == bad.end == (tmp_path / "people.jsonl").stat().st_size
    frame, restored = good.frame(), good.people(17)
    assert (frame.number, frame.name, frame.seconds, frame.image.shape) == (5, "clip.mp4", 0.2, (30, 40, 3))
    assert restored.ids.tolist() == people.ids.tolist()
    np.testing.assert_allclose(restored.keypoints, people.keypoints, atol=0.00051)
    assert bad.frame() == run[1][0]


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 0.0, 1 / 3])
def test_timestamps_that_are_not_finite_are_written_as_zero(tmp_path, seconds):
    run = [(Frame(0, "cam", np.zeros((4, 6, 3), np.uint8), seconds=seconds), People.empty(17))]
    write_run(tmp_path, run, list(FORMATS), COCO)
    (record,) = jsonl.read(tmp_path / "people.jsonl")
    assert record.values["seconds"] == pytest.approx(seconds if math.isfinite(seconds) else 0, abs=1e-6)
    assert record.frame().path is None
    assert all(len(READERS[name](tmp_path)) == 1 for name in FORMATS)


def test_parse_formats_reads_a_comma_separated_list():
    assert parse_formats("coco, CSV,coco") == ("coco", "csv")
    with pytest.raises(
        ValueError,
        match="unknown format 'xml'; expected one or more of coco, openpose, alphapose, csv",
    ):
        parse_formats("csv,xml")
    with pytest.raises(ValueError, match="unknown format ''"):
        parse_formats("")
    assert set(READERS) == set(FORMATS)


def test_empty_run_leaves_files_without_records(tmp_path):
    write_run(tmp_path, [], list(FORMATS), COCO)
    assert [READERS[name](tmp_path) for name in FORMATS] == [{}] * len(FORMATS)
    assert OpenPoseWriter(tmp_path / "deep/er").close() is None


def test_readers_reject_nan(tmp_path):
    with pytest.raises(AssertionError, match="NaN is not valid JSON"):
        result_readers.strict_json('{"x": NaN}')
