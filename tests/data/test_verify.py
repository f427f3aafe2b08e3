"""The check of a file of training samples: whole ones pass, and what is wrong is named by picture."""

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from drawn_coco import write_drawn_coco
from published_hdf5 import write_published

from simplepose.cli import door, prepare_coco
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.hdf5.verify import record_faults


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Drawn pictures, the third missing, the fourth of nobody, and their json."""
    annotations, images = write_drawn_coco(tmp_path_factory.mktemp("coco"), pictures=6)
    (images / "000000000003.jpg").unlink()
    content = json.loads(annotations.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 4]
    annotations.write_text(json.dumps(content))
    return annotations, images


@pytest.fixture(scope="module", params=[[], ["--store", "raw"], ["--negatives"], ["--split", "first:2"]])
def prepared(request, coco, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("prepared") / "a.h5"
    args = ["--annotations", str(coco[0]), "--images", str(coco[1]), "--output", str(output)]
    assert prepare_coco.main([*args, *request.param]) == 1
    return output


def check(path: Path, *more: object) -> int:
    return door(prepare_coco.main, ["--check", str(path), *map(str, more)])


def with_changed(folder: Path, annotations: Path, change) -> Path:
    """The json, changed."""
    content = json.loads(annotations.read_text())
    change(content)
    (folder / "changed.json").write_text(json.dumps(content))
    return folder / "changed.json"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_whole_file_passes_by_itself_and_by_its_json(prepared, coco, workers, capsys):
    assert check(prepared, "--workers", workers) == 0
    said = capsys.readouterr().out
    assert "wrong pictures" in said
    assert "COCO's train2017 has people with keypoints  149,813" in said
    assert check(prepared, "--annotations", coco[0], "--workers", workers) == 0
    said = capsys.readouterr().out
    assert "the json's pictures with people" in said
    assert re.search(r"the json's samples +8\n", said)
    assert "5 (COCO's train2017: 64,115)" in said


def test_a_file_in_the_published_layout_passes_by_itself(tmp_path, coco, capsys):
    write_published(tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5", "r+") as file:  # its joints are drawn at random
        for key in file["dataset"]:
            sample = json.loads(file["dataset"][key][()])
            sample["joints"] = (np.array(sample["joints"]) * [0.4, 0.4, 1]).tolist()
            file["dataset"][key][...] = json.dumps(sample)
    assert check(tmp_path / "p.h5") == 0
    assert check(tmp_path / "p.h5", "--annotations", coco[0]) == 2
    assert "published layout follows other rules" in capsys.readouterr().err


def test_damage_is_named_by_picture(prepared, tmp_path, capsys):
    (tmp_path / "a.h5").write_bytes(prepared.read_bytes())
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        end = file["pictures/data_end"][-1]
        file["pictures/data"][end - 3] ^= 1
    assert check(tmp_path / "a.h5", "--workers", "2") == 1
    said, told = capsys.readouterr()
    assert "wrong picture 6: damaged: its bytes are not those that were written" in told
    assert said.splitlines()[-1].split() == ["wrong", "pictures", "1"]


def _move(content):
    content["annotations"][-1]["keypoints"][0] += 1


def _unlabel(content):
    content["annotations"][-1]["iscrowd"] = 1


def _outline(content):
    content["annotations"][-1]["segmentation"] = [[0, 0, 50, 0, 50, 50]]


def _forget(content):
    content["images"].pop()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_move, "the samples are not those of the json"),
        (_unlabel, " by the json"),
        (_outline, "the samples are not those of the json"),
        (_forget, "not in the json"),
    ],
)
def test_what_is_not_as_the_json_has_it(prepared, coco, tmp_path, change, message, capsys):
    changed = with_changed(tmp_path, coco[0], change)
    assert check(prepared, "--annotations", changed) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if "wrong picture" in line]
    assert len(told) == 1
    assert "wrong picture 6: " in told[0]
    assert message in told[0]


def test_a_picture_that_the_file_should_have(prepared, coco, tmp_path, capsys):
    def add(content):
        content["images"].append({**content["images"][-1], "id": 77})
        content["annotations"] += [
            {**a, "image_id": 77} for a in content["annotations"] if a["image_id"] == 6
        ]

    assert check(prepared, "--annotations", with_changed(tmp_path, coco[0], add)) == 1
    assert "wrong picture 77: listed in the json, but the file neither" in capsys.readouterr().err


def test_no_file_to_check(tmp_path, capsys):
    assert check(tmp_path / "absent.h5") == 2
    assert "no file of training samples at" in capsys.readouterr().err


@pytest.fixture(scope="module")
def record(prepared):
    return SampleFile(prepared)[0]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        (
            {"mask_miss": np.full((3, 3), 255, np.uint8)},
            "mask_miss is not of 0 and 255 at the picture's size",
        ),
        ({"mask_all": lambda r: r.mask_all // 2}, "mask_all is not of 0 and 255"),
        ({"image": lambda r: r.image[..., 0]}, "three channels"),
        ({"image": lambda r: r.image.astype(float)}, "three channels"),
        ({"keypoints": np.full((1, 17, 3), 3, np.float32)}, "third value is not 0, 1 or 2"),
        ({"keypoints": np.zeros((1, 17, 3), np.float32)}, "somebody has no keypoint"),
        ({"keypoints": np.full((1, 17, 3), (-1, 5, 2), np.float32)}, "outside the picture"),
        ({"keypoints": np.full((1, 17, 3), (np.nan, 5, 1), np.float32)}, "outside the picture"),
        ({"height": 0.0}, "has no height"),
        ({"center_xy": (np.inf, 5.0)}, "is not finite"),
    ],
)
def test_what_no_record_may_have(record, change, fault):
    values = {name: value(record) if callable(value) else value for name, value in change.items()}
    faults = record_faults(replace(record, **values))
    assert [fault in found for found in faults] == [True] if fault else not faults
