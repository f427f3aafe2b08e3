"""The command `prepare`: what it writes, what it says, how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from drawn_coco import write_drawn_coco
from places import CONFIGS, ROOT
from prepared_pictures import STORES, assert_same

from simplepose import skeleton
from simplepose.cli import door, prepare_coco
from simplepose.data.hdf5.reader import SampleFile

TOOL = ROOT / "tools/prepare_coco.py"


def arguments(annotations: Path, images: Path, output: Path, *more: str) -> list[str]:
    return ["--annotations", str(annotations), "--images", str(images), "--output", str(output), *more]


@pytest.fixture
def drawn(tmp_path):
    return write_drawn_coco(tmp_path / "coco", pictures=5)


def summary(text: str) -> dict[str, str]:
    """The lines of the summary: name -> value."""
    return dict(map(str.strip, line.split("  ", 1)) for line in map(str.strip, text.splitlines()))


def test_the_summary_counts_what_was_written(drawn, tmp_path, capsys):
    output = tmp_path / "out" / "a.h5"
    assert prepare_coco.main(arguments(*drawn, output)) == 0
    said, progress = capsys.readouterr()
    assert "preparing a.h5" in progress
    labelled = sum(a["num_keypoints"] > 0 for a in json.loads(drawn[0].read_text())["annotations"])
    file = SampleFile(output)
    counts = summary(said)
    assert counts.pop("COCO's train2017").endswith(
        "GB at this rate, if all pictures with people give samples"
    )
    size, raw = output.stat().st_size, file.contents().raw_bytes
    assert counts == {
        "pictures": "5 of 5",
        "people with keypoints": str(labelled),
        "samples": str(len(file)),
        "pictures of nobody": "0",
        "skipped pictures": "0",
        "mended pictures": "0",
        "bytes in a raw store": f"{raw:,}, {raw / size:.1f} times as many",
        "bytes": f"{size:,} in {output}",
    }
    assert len(file.pictures) == 5


def test_faults_are_told_counted_and_in_the_exit_status(drawn, tmp_path, capsys):
    images = drawn[1]
    (images / "000000000002.jpg").unlink()
    damaged = images / "000000000004.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert prepare_coco.main(arguments(*drawn, tmp_path / "a.h5")) == 1
    said, told = capsys.readouterr()
    assert "skipped picture 2: picture missing: " in told
    assert "skipped picture 4: picture damaged: " in told
    counts = summary(said)
    assert counts["pictures"] == "3 of 5"
    assert (counts["skipped pictures"], counts["picture missing"], counts["picture damaged"]) == (
        "2",
        "1",
        "1",
    )
    assert SampleFile(tmp_path / "a.h5").pictures == [1, 3, 5]


def test_a_picture_without_a_main_person_is_no_fault(drawn, tmp_path, capsys):
    content = json.loads(drawn[0].read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 3]
    drawn[0].write_text(json.dumps(content))
    assert prepare_coco.main(arguments(*drawn, tmp_path / "a.h5")) == 0
    said, told = capsys.readouterr()
    assert "skipped" not in told
    assert summary(said)["no main person"] == "1"
    assert SampleFile(tmp_path / "a.h5").pictures == [1, 2, 4, 5]


def test_a_split_by_place(drawn, tmp_path, capsys):
    split = ["--split", "first:2"]
    assert prepare_coco.main(arguments(*drawn, tmp_path / "first.h5", *split, "--held-out")) == 0
    counts = summary(capsys.readouterr().out)
    assert counts["pictures"] == "2 of 2 (the json lists 5)"
    assert counts["skipped pictures"] == "0"
    assert prepare_coco.main(arguments(*drawn, tmp_path / "rest.h5", *split)) == 0
    assert [SampleFile(tmp_path / f"{name}.h5").pictures for name in ("first", "rest")] == [[1, 2], [3, 4, 5]]
    told = [(r.image_id, r.kind) for r in SampleFile(tmp_path / "rest.h5").contents().remarks]
    assert told == [(1, "held out"), (2, "held out")]


def test_a_split_by_id(drawn, tmp_path):
    (tmp_path / "ids.txt").write_text("4\n2 77\n")
    split = ["--split", str(tmp_path / "ids.txt")]
    assert prepare_coco.main(arguments(*drawn, tmp_path / "held.h5", *split, "--held-out")) == 0
    assert prepare_coco.main(arguments(*drawn, tmp_path / "rest.h5", *split)) == 0
    assert [SampleFile(tmp_path / f"{name}.h5").pictures for name in ("held", "rest")] == [[2, 4], [1, 3, 5]]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("first:-1", "a number of pictures is expected after 'first:'"),
        ("first:", "a number of pictures"),
        ("absent.txt", "expected first:N or the path"),
        ("words", "picture ids, separated by white space, are expected"),
        ("others", "none of its 2 ids is one of the json's 5 pictures"),
    ],
)
def test_an_odd_split_is_refused(drawn, tmp_path, split, message, capsys):
    (tmp_path / "words").write_text("one two")
    (tmp_path / "others").write_text("77 78")
    which = str(tmp_path / split) if split in ("words", "others") else split
    assert door(prepare_coco.main, arguments(*drawn, tmp_path / "a.h5", "--split", which)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "few"])
def test_an_odd_number_of_processes_is_refused(drawn, tmp_path, number, capsys):
    with pytest.raises(SystemExit, match="2"):
        prepare_coco.main(arguments(*drawn, tmp_path / "a.h5", f"--workers={number}"))
    assert f"a number of processes, at least 1, is expected, got '{number}'" in capsys.readouterr().err


def test_what_is_needed_is_asked_for(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        prepare_coco.main(["--output", str(tmp_path / "a.h5")])
    assert "--annotations, --images expected, or --check" in capsys.readouterr().err


def test_no_sample_at_all_is_an_error_and_leaves_no_file(drawn, tmp_path):
    more = ["--split", "first:5"]
    with pytest.raises(ValueError, match="not one training sample from 0 pictures: none was asked for"):
        prepare_coco.main(arguments(*drawn, tmp_path / "out/a.h5", *more))
    assert list((tmp_path / "out").iterdir()) == []


def test_the_wrong_folder_is_an_error_that_says_why(drawn, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status = door(prepare_coco.main, arguments(drawn[0], tmp_path / "empty", tmp_path / "a.h5"))
    assert status == 2
    assert "not one training sample from 5 pictures: 5 picture missing; nothing" in capsys.readouterr().err


def test_the_tool_tells_what_is_missing_in_one_line(drawn, tmp_path):
    args = arguments(drawn[0], tmp_path / "absent", tmp_path / "b.h5")
    missing = subprocess.run([sys.executable, TOOL, *args], capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert missing.stderr.splitlines() == [
        f"error: no folder of pictures at {tmp_path / 'absent'}; COCO's is expected, see data/README.md"
    ]


class TestBadInput:
    """One picture of each fault: all are named and counted, and the rest is prepared."""

    def change(self, drawn, image_id: int, **more) -> None:
        """Change the first annotation of a picture."""
        content = json.loads(drawn[0].read_text())
        next(a for a in content["annotations"] if a["image_id"] == image_id).update(more)
        drawn[0].write_text(json.dumps(content))

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"keypoints": [float("nan"), 5, 2] * 17}, "annotations malformed"),
            ({"bbox": [1, 2, float("nan"), 4]}, "annotations malformed"),
            ({"segmentation": [[1, 1, 5, 5, 1e12, 9]]}, "annotations malformed"),
            ({"segmentation": {"size": [256, 256], "counts": "?"}}, "annotations malformed"),
        ],
    )
    def test_annotations_that_cannot_be_read(self, drawn, tmp_path, change, kind, capsys):
        self.change(drawn, 2, **change)
        assert prepare_coco.main(arguments(*drawn, tmp_path / "a.h5")) == 1
        said, told = capsys.readouterr()
        assert f"skipped picture 2: {kind}: of 000000000002.jpg" in told
        assert summary(said)[kind] == "1"
        assert SampleFile(tmp_path / "a.h5").pictures == [1, 3, 4, 5]

    def test_a_wrong_size_in_the_json(self, drawn, tmp_path, capsys):
        content = json.loads(drawn[0].read_text())
        content["images"][0]["width"] += 1
        drawn[0].write_text(json.dumps(content))
        assert prepare_coco.main(arguments(*drawn, tmp_path / "a.h5")) == 1
        said, told = capsys.readouterr()
        assert "skipped picture 1: picture of another size: " in told
        assert summary(said)["picture of another size"] == "1"

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"keypoints": [-9, 5, 2, *[30, 30, 2] * 16]}, "joints outside the picture"),
            ({"bbox": [5, 5, 0, 9]}, "box without area"),
        ],
    )
    def test_what_is_mended_is_told_and_no_failure(self, drawn, tmp_path, change, kind, capsys):
        self.change(drawn, 2, **change)
        assert prepare_coco.main(arguments(*drawn, tmp_path / "a.h5")) == 0
        said, told = capsys.readouterr()
        assert f"mended picture 2: {kind}: of 000000000002.jpg" in told
        assert (summary(said)["mended pictures"], summary(said)[kind]) == ("1", "1")

    def test_two_crowd_regions(self, drawn, tmp_path):
        content = json.loads(drawn[0].read_text())
        for box in ([1, 1, 20, 20], [40, 40, 20, 20]):
            crowd = {
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 1,
                "bbox": box,
                "area": 400,
                "segmentation": [],
            }
            content["annotations"].append(crowd)
        drawn[0].write_text(json.dumps(content))
        assert prepare_coco.main(arguments(*drawn, tmp_path / "a.h5")) == 0
        assert SampleFile(tmp_path / "a.h5").pictures == [1, 2, 3, 4, 5]

    def test_an_empty_list_of_annotations(self, drawn, tmp_path, capsys):
        content = json.loads(drawn[0].read_text())
        drawn[0].write_text(json.dumps({**content, "annotations": []}))
        assert door(prepare_coco.main, arguments(*drawn, tmp_path / "a.h5")) == 2
        assert "5 pictures and 0 annotations, but none is a person" in capsys.readouterr().err


def test_pictures_of_nobody_on_request(drawn, tmp_path, capsys):
    content = json.loads(drawn[0].read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] not in (2, 4)]
    drawn[0].write_text(json.dumps(content))
    assert prepare_coco.main(arguments(*drawn, tmp_path / "a.h5", "--negatives")) == 0
    assert summary(capsys.readouterr().out)["pictures of nobody"] == "2"
    file = SampleFile(tmp_path / "a.h5")
    assert file.pictures == [1, 2, 3, 4, 5]
    assert [len(r.keypoints) == 0 for r in file] == [r.image_id in (2, 4) for r in file]


def test_several_folders_of_pictures(drawn, tmp_path):
    annotations, images = drawn
    (tmp_path / "more").mkdir()
    for image_id in (2, 5):
        (images / f"{image_id:012d}.jpg").rename(tmp_path / "more" / f"{image_id:012d}.jpg")
    assert prepare_coco.main(arguments(annotations, images, tmp_path / "a.h5", "--images", str(images))) == 1
    both = ["--images", str(images), str(tmp_path / "more")]
    assert prepare_coco.main(arguments(annotations, images, tmp_path / "a.h5", *both)) == 0
    assert SampleFile(tmp_path / "a.h5").pictures == [1, 2, 3, 4, 5]


def test_people_with_the_joints_of_another_skeleton(drawn, tmp_path, capsys):
    crowdpose = skeleton.load(str(CONFIGS / "skeletons/crowdpose.yaml"))
    content = json.loads(drawn[0].read_text())
    content["categories"][0]["keypoints"] = list(crowdpose.annotated)
    for annotation in content["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][: 3 * len(crowdpose.annotated)]
    drawn[0].write_text(json.dumps(content))
    assert door(prepare_coco.main, arguments(*drawn, tmp_path / "a.h5")) == 2
    assert "its people have the keypoints left_shoulder, " in capsys.readouterr().err
    skeleton_file = ["--skeleton", str(CONFIGS / "skeletons/crowdpose.yaml")]
    assert prepare_coco.main(arguments(*drawn, tmp_path / "a.h5", *skeleton_file)) == 0
    file = SampleFile(tmp_path / "a.h5")
    assert file.joints == crowdpose.annotated
    assert file[0].keypoints.shape[1:] == (14, 3)
    assert prepare_coco.main(["--check", str(file.path), "--annotations", str(drawn[0])]) == 0


def test_a_compressed_file_of_photographs_is_a_fifth_of_a_raw_one_and_holds_the_same(shared, tmp_path):
    annotations = shared / "minicoco/annotations/person_keypoints_train.json"
    part = [str(shared / "minicoco/images/train"), "--split", "first:60", "--held-out"]
    for store in STORES:
        output = tmp_path / f"{store}.h5"
        assert prepare_coco.main(arguments(annotations, part[0], output, *part[1:], "--store", store)) == 0
    compressed, raw = (SampleFile(tmp_path / f"{store}.h5") for store in STORES)
    assert 5 * compressed.path.stat().st_size <= raw.path.stat().st_size
    assert compressed.contents().raw_bytes == raw.contents().raw_bytes
    for one, other in zip(compressed, raw, strict=True):
        assert_same(one, other)
