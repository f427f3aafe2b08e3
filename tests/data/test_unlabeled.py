"""Detected people without an annotation are excluded from the loss (`prepare_coco --unlabeled`)."""

import json
import math

import numpy as np
import pytest
from synthetic_coco import write_synthetic_coco

from simplepose.cli import prepare_coco, run_command
from simplepose.data.coco import AnnotatedImage, mark_unlabeled
from simplepose.data.hdf5.reader import SampleFile

WIDTH, HEIGHT = 200, 100
ANNOTATED = {"bbox": [10, 10, 40, 80], "keypoints": [30, 50, 2] + 16 * [0, 0, 0], "category_id": 1}


def image(image_id=1, persons=(ANNOTATED,)):
    return AnnotatedImage(image_id, f"{image_id}.jpg", HEIGHT, WIDTH, tuple(persons))


def result(left, top, width, height, image_id=1, score=0.9):
    """A person whose detected keypoints span the given box."""
    corners = [left, top, 1, left + width, top + height, 1]
    return {"image_id": image_id, "category_id": 1, "keypoints": corners + 15 * [0, 0, 0], "score": score}


def write_results(tmp_path, rows):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows))
    return path


def test_only_unannotated_people_are_added_as_crowd_regions(tmp_path):
    rows = [result(12, 12, 36, 76), result(120, 20, 40, 60)]
    (marked,), added = mark_unlabeled([image()], write_results(tmp_path, rows))
    assert added == 1
    assert marked.persons[0] is ANNOTATED
    left, top, width, height = marked.persons[1]["bbox"]
    assert marked.persons[1]["iscrowd"] == 1
    assert (left, top, width, height) == pytest.approx((111, 11, 58, 78))  # a margin of 0.15 x 60 pixels


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (result(120, 20, 40, 60, score=0.19), "a low score"),
        (result(120, 20, 40, 60, image_id=2), "another image"),
        (result(20, 30, 10, 20), "inside an annotated person's box"),
        ({**result(0, 0, 1, 1), "keypoints": 17 * [0, 0, 0]}, "no keypoint found"),
    ],
)
def test_other_results_are_not_added(tmp_path, row, reason):
    images, added = mark_unlabeled([image(), image(2, [])], write_results(tmp_path, [row]))
    assert len(images[0].persons) == 1, reason
    assert added == (reason == "another image")


def test_no_results_change_nothing(tmp_path):
    images = [image(), image(2, [])]
    assert mark_unlabeled(images, write_results(tmp_path, [])) == (images, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable json"),
        ("{}", "expected a list of results"),
        (json.dumps([result(1, 1, 5, 5), {"image_id": 1}]), "result 1: not in COCO's format"),
        (json.dumps([{**result(1, 1, 5, 5), "keypoints": [1, 2]}]), "result 0: not in COCO's format"),
        (json.dumps([result(1, 1, math.inf, 5)]), "result 0: expected finite"),
        (json.dumps([result(1, 1, 5, 5, score=math.nan)]), "result 0: expected finite"),
        (json.dumps([result(1, 1, 5, 5, image_id=77)]), "other image ids"),
    ],
)
def test_a_malformed_results_file_is_rejected_with_its_name(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        mark_unlabeled([image()], path)
    assert "results.json" in str(error.value)


def test_the_command_excludes_their_regions_from_the_loss(tmp_path, capsys):
    annotations, images = write_synthetic_coco(tmp_path / "coco", num_images=2)
    content = json.loads(annotations.read_text())
    height, width = content["images"][0]["height"], content["images"][0]["width"]
    unknown = result(width - 24, height - 24, 16, 16, image_id=1)
    arguments = ["--annotations", str(annotations), "--images", str(images), "--workers", "1"]
    plain, marked = tmp_path / "plain.h5", tmp_path / "marked.h5"
    assert prepare_coco.main([*arguments, "--output", str(plain)]) == 0
    results = str(write_results(tmp_path, [unknown]))
    assert prepare_coco.main([*arguments, "--output", str(marked), "--unlabeled", results]) == 0
    assert "masked out of the loss: 1" in capsys.readouterr().out
    before, after = SampleFile(plain)[0], SampleFile(marked)[0]
    assert len(SampleFile(plain)) == len(SampleFile(marked))
    assert np.array_equal(before.keypoints, after.keypoints)
    change = before.mask_miss != after.mask_miss
    rows, columns = np.nonzero(change)
    assert after.mask_miss[change].max() == 0
    assert rows.min() >= height - 28
    assert columns.min() >= width - 28
    assert (after.mask_miss[height - 20 : height - 10, width - 20 : width - 10] == 0).mean() > 0.5


def test_a_missing_results_file_is_rejected(tmp_path, capsys):
    annotations, images = write_synthetic_coco(tmp_path / "coco", num_images=1)
    arguments = [
        "--annotations",
        str(annotations),
        "--images",
        str(images),
        "--output",
        str(tmp_path / "a.h5"),
    ]
    assert run_command(prepare_coco.main, [*arguments, "--unlabeled", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err
