"""The command `prepare_coco`: output file, messages and exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from prepared_images import STORES, assert_records_equal
from repo_paths import CONFIGS, ROOT
from synthetic_coco import write_synthetic_coco

from simplepose import skeleton
from simplepose.cli import prepare_coco, run_command
from simplepose.data.hdf5.reader import SampleFile

TOOL = ROOT / "tools/prepare_coco.py"


def arguments(annotations: Path, images: Path, output: Path, *more: str) -> list[str]:
    return ["--annotations", str(annotations), "--images", str(images), "--output", str(output), *more]


@pytest.fixture
def coco_files(tmp_path):
    return write_synthetic_coco(tmp_path / "coco", num_images=5)


def summary(text: str) -> dict[str, str]:
    """The rows of the summary: name -> value."""
    return dict(map(str.strip, line.split("  ", 1)) for line in map(str.strip, text.splitlines()))


def test_the_summary_counts_what_was_written(coco_files, tmp_path, capsys):
    output = tmp_path / "out" / "a.h5"
    assert prepare_coco.main(arguments(*coco_files, output)) == 0
    out, progress = capsys.readouterr()
    assert "preparing a.h5" in progress
    labeled = sum(a["num_keypoints"] > 0 for a in json.loads(coco_files[0].read_text())["annotations"])
    file = SampleFile(output)
    counts = summary(out)
    assert counts.pop("COCO's train2017").endswith(
        "GB at this size per image, if every image with people gives samples"
    )
    size, raw = output.stat().st_size, file.contents().raw_bytes
    assert counts == {
        "images": "5 of 5",
        "people with keypoints": str(labeled),
        "samples": str(len(file)),
        "images without people": "0",
        "skipped images": "0",
        "repaired images": "0",
        "bytes in a raw store": f"{raw:,} ({raw / size:.1f} times as many)",
        "bytes": f"{size:,} in {output}",
    }
    assert len(file.image_ids) == 5


def test_faults_are_reported_counted_and_in_the_exit_status(coco_files, tmp_path, capsys):
    images = coco_files[1]
    (images / "000000000002.jpg").unlink()
    damaged = images / "000000000004.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert prepare_coco.main(arguments(*coco_files, tmp_path / "a.h5")) == 1
    out, err = capsys.readouterr()
    assert "skipped image 2: image missing: " in err
    assert "skipped image 4: image damaged: " in err
    counts = summary(out)
    assert counts["images"] == "3 of 5"
    assert (counts["skipped images"], counts["image missing"], counts["image damaged"]) == (
        "2",
        "1",
        "1",
    )
    assert SampleFile(tmp_path / "a.h5").image_ids == [1, 3, 5]


def test_an_image_without_a_main_person_is_not_a_fault(coco_files, tmp_path, capsys):
    content = json.loads(coco_files[0].read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 3]
    coco_files[0].write_text(json.dumps(content))
    assert prepare_coco.main(arguments(*coco_files, tmp_path / "a.h5")) == 0
    out, err = capsys.readouterr()
    assert "skipped" not in err
    assert summary(out)["no main person"] == "1"
    assert SampleFile(tmp_path / "a.h5").image_ids == [1, 2, 4, 5]


def test_a_split_by_position(coco_files, tmp_path, capsys):
    split = ["--split", "first:2"]
    assert prepare_coco.main(arguments(*coco_files, tmp_path / "first.h5", *split, "--held-out")) == 0
    counts = summary(capsys.readouterr().out)
    assert counts["images"] == "2 of 2 (the json lists 5)"
    assert counts["skipped images"] == "0"
    assert prepare_coco.main(arguments(*coco_files, tmp_path / "rest.h5", *split)) == 0
    assert [SampleFile(tmp_path / f"{name}.h5").image_ids for name in ("first", "rest")] == [
        [1, 2],
        [3, 4, 5],
    ]
    issues = [(r.image_id, r.kind) for r in SampleFile(tmp_path / "rest.h5").contents().issues]
    assert issues == [(1, "held out"), (2, "held out")]


def test_a_split_by_id(coco_files, tmp_path):
    (tmp_path / "ids.txt").write_text("4\n2 77\n")
    split = ["--split", str(tmp_path / "ids.txt")]
    assert prepare_coco.main(arguments(*coco_files, tmp_path / "held.h5", *split, "--held-out")) == 0
    assert prepare_coco.main(arguments(*coco_files, tmp_path / "rest.h5", *split)) == 0
    assert [SampleFile(tmp_path / f"{name}.h5").image_ids for name in ("held", "rest")] == [[2, 4], [1, 3, 5]]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("first:-1", "expected a number of images after 'first:'"),
        ("first:", "expected a number of images"),
        ("absent.txt", "expected first:N or the path"),
        ("words", "expected image ids, separated by white space"),
        ("others", "expected ids of the json's 5 images, got 2 other ids"),
    ],
)
def test_an_invalid_split_is_rejected(coco_files, tmp_path, split, message, capsys):
    (tmp_path / "words").write_text("one two")
    (tmp_path / "others").write_text("77 78")
    which = str(tmp_path / split) if split in ("words", "others") else split
    assert run_command(prepare_coco.main, arguments(*coco_files, tmp_path / "a.h5", "--split", which)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "few"])
def test_an_invalid_number_of_processes_is_rejected(coco_files, tmp_path, number, capsys):
    with pytest.raises(SystemExit, match="2"):
        prepare_coco.main(arguments(*coco_files, tmp_path / "a.h5", f"--workers={number}"))
    assert f"expected an integer >= 1 (processes), got '{number}'" in capsys.readouterr().err


def test_missing_options_are_reported(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        prepare_coco.main(["--output", str(tmp_path / "a.h5")])
    assert "expected --annotations, --images, or --check" in capsys.readouterr().err


def test_no_samples_is_an_error_and_leaves_no_file(coco_files, tmp_path):
    more = ["--split", "first:5"]
    with pytest.raises(ValueError, match="no training sample from 0 images: no image was selected"):
        prepare_coco.main(arguments(*coco_files, tmp_path / "out/a.h5", *more))
    assert list((tmp_path / "out").iterdir()) == []


def test_the_wrong_image_folder_is_an_error_with_the_reason(coco_files, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status = run_command(prepare_coco.main, arguments(coco_files[0], tmp_path / "empty", tmp_path / "a.h5"))
    assert status == 2
    assert "no training sample from 5 images: 5 image missing; no file" in capsys.readouterr().err


def test_the_tool_reports_a_missing_folder_in_one_line(coco_files, tmp_path):
    args = arguments(coco_files[0], tmp_path / "absent", tmp_path / "b.h5")
    missing = subprocess.run([sys.executable, TOOL, *args], capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert missing.stderr.splitlines() == [
        f"error: {tmp_path / 'absent'}: expected a folder of COCO images, not found; see data/README.md"
    ]


class TestBadInput:
    """Faulty images are reported and counted, and the others are prepared."""

    def change(self, coco_files, image_id: int, **more) -> None:
        """Change the first annotation of an image."""
        content = json.loads(coco_files[0].read_text())
        next(a for a in content["annotations"] if a["image_id"] == image_id).update(more)
        coco_files[0].write_text(json.dumps(content))

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"keypoints": [float("nan"), 5, 2] * 17}, "annotations malformed"),
            ({"bbox": [1, 2, float("nan"), 4]}, "annotations malformed"),
            ({"segmentation": [[1, 1, 5, 5, 1e12, 9]]}, "annotations malformed"),
            ({"segmentation": {"size": [256, 256], "counts": "?"}}, "annotations malformed"),
        ],
    )
    def test_malformed_annotations_are_skipped(self, coco_files, tmp_path, change, kind, capsys):
        self.change(coco_files, 2, **change)
        assert prepare_coco.main(arguments(*coco_files, tmp_path / "a.h5")) == 1
        out, err = capsys.readouterr()
        assert f"skipped image 2: {kind}: of 000000000002.jpg" in err
        assert summary(out)[kind] == "1"
        assert SampleFile(tmp_path / "a.h5").image_ids == [1, 3, 4, 5]

    def test_a_wrong_size_in_the_json_is_skipped(self, coco_files, tmp_path, capsys):
        content = json.loads(coco_files[0].read_text())
        content["images"][0]["width"] += 1
        coco_files[0].write_text(json.dumps(content))
        assert prepare_coco.main(arguments(*coco_files, tmp_path / "a.h5")) == 1
        out, err = capsys.readouterr()
        assert "skipped image 1: image of another size: " in err
        assert summary(out)["image of another size"] == "1"

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"keypoints": [-9, 5, 2, *[30, 30, 2] * 16]}, "joints outside the image"),
            ({"bbox": [5, 5, 0, 9]}, "box without area"),
        ],
    )
    def test_repaired_images_are_reported_and_not_a_failure(self, coco_files, tmp_path, change, kind, capsys):
        self.change(coco_files, 2, **change)
        assert prepare_coco.main(arguments(*coco_files, tmp_path / "a.h5")) == 0
        out, err = capsys.readouterr()
        assert f"repaired image 2: {kind}: of 000000000002.jpg" in err
        assert (summary(out)["repaired images"], summary(out)[kind]) == ("1", "1")

    def test_two_crowd_regions_are_accepted(self, coco_files, tmp_path):
        content = json.loads(coco_files[0].read_text())
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
        coco_files[0].write_text(json.dumps(content))
        assert prepare_coco.main(arguments(*coco_files, tmp_path / "a.h5")) == 0
        assert SampleFile(tmp_path / "a.h5").image_ids == [1, 2, 3, 4, 5]

    def test_an_empty_list_of_annotations_is_rejected(self, coco_files, tmp_path, capsys):
        content = json.loads(coco_files[0].read_text())
        coco_files[0].write_text(json.dumps({**content, "annotations": []}))
        assert run_command(prepare_coco.main, arguments(*coco_files, tmp_path / "a.h5")) == 2
        assert "5 images and 0 annotations, but none is a person" in capsys.readouterr().err


def test_images_without_people_on_request(coco_files, tmp_path, capsys):
    content = json.loads(coco_files[0].read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] not in (2, 4)]
    coco_files[0].write_text(json.dumps(content))
    assert prepare_coco.main(arguments(*coco_files, tmp_path / "a.h5", "--negatives")) == 0
    assert summary(capsys.readouterr().out)["images without people"] == "2"
    file = SampleFile(tmp_path / "a.h5")
    assert file.image_ids == [1, 2, 3, 4, 5]
    assert [len(r.keypoints) == 0 for r in file] == [r.image_id in (2, 4) for r in file]


def test_several_image_folders(coco_files, tmp_path):
    annotations, images = coco_files
    (tmp_path / "more").mkdir()
    for image_id in (2, 5):
        (images / f"{image_id:012d}.jpg").rename(tmp_path / "more" / f"{image_id:012d}.jpg")
    assert prepare_coco.main(arguments(annotations, images, tmp_path / "a.h5", "--images", str(images))) == 1
    both = ["--images", str(images), str(tmp_path / "more")]
    assert prepare_coco.main(arguments(annotations, images, tmp_path / "a.h5", *both)) == 0
    assert SampleFile(tmp_path / "a.h5").image_ids == [1, 2, 3, 4, 5]


def test_people_with_the_joints_of_another_skeleton(coco_files, tmp_path, capsys):
    crowdpose = skeleton.load(str(CONFIGS / "skeletons/crowdpose.yaml"))
    content = json.loads(coco_files[0].read_text())
    content["categories"][0]["keypoints"] = list(crowdpose.annotated)
    for annotation in content["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][: 3 * len(crowdpose.annotated)]
    coco_files[0].write_text(json.dumps(content))
    assert run_command(prepare_coco.main, arguments(*coco_files, tmp_path / "a.h5")) == 2
    assert "got left_shoulder, " in capsys.readouterr().err
    skeleton_file = ["--skeleton", str(CONFIGS / "skeletons/crowdpose.yaml")]
    assert prepare_coco.main(arguments(*coco_files, tmp_path / "a.h5", *skeleton_file)) == 0
    file = SampleFile(tmp_path / "a.h5")
    assert file.joints == crowdpose.annotated
    assert file[0].keypoints.shape[1:] == (14, 3)
    assert prepare_coco.main(["--check", str(file.path), "--annotations", str(coco_files[0])]) == 0


def test_a_compressed_file_of_photographs_is_a_fifth_of_a_raw_one_with_equal_records(shared, tmp_path):
    annotations = shared / "minicoco/annotations/person_keypoints_train.json"
    part = [str(shared / "minicoco/images/train"), "--split", "first:60", "--held-out"]
    for store in STORES:
        output = tmp_path / f"{store}.h5"
        assert prepare_coco.main(arguments(annotations, part[0], output, *part[1:], "--store", store)) == 0
    compressed, raw = (SampleFile(tmp_path / f"{store}.h5") for store in STORES)
    assert 5 * compressed.path.stat().st_size <= raw.path.stat().st_size
    assert compressed.contents().raw_bytes == raw.contents().raw_bytes
    for one, other in zip(compressed, raw, strict=True):
        assert_records_equal(one, other)
