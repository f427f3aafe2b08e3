"""Verify files of training samples: intact files pass, and faults are reported by image."""

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from published_hdf5 import write_published
from synthetic_coco import write_synthetic_coco

from simplepose.cli import prepare_coco, run_command
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.hdf5.verify import find_record_faults


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Synthetic images, the third missing, the fourth without people, and their json."""
    annotations, images = write_synthetic_coco(tmp_path_factory.mktemp("coco"), num_images=6)
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
    return run_command(prepare_coco.main, ["--check", str(path), *map(str, more)])


def with_changed(folder: Path, annotations: Path, change) -> Path:
    """Write a changed copy of the json."""
    content = json.loads(annotations.read_text())
    change(content)
    (folder / "changed.json").write_text(json.dumps(content))
    return folder / "changed.json"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_intact_file_passes_with_and_without_its_json(prepared, coco, workers, capsys):
    assert check(prepared, "--workers", workers) == 0
    out = capsys.readouterr().out
    assert "wrong images" in out
    assert "COCO's train2017 has people with keypoints  149,813" in out
    assert check(prepared, "--annotations", coco[0], "--workers", workers) == 0
    out = capsys.readouterr().out
    assert "the json's images with people" in out
    assert re.search(r"the json's samples +8\n", out)
    assert "5 (COCO's train2017: 64,115)" in out


def test_a_file_in_the_published_layout_passes_without_a_json(tmp_path, coco, capsys):
    write_published(tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5", "r+") as file:  # its joints are random and partly outside
        for key in file["dataset"]:
            sample = json.loads(file["dataset"][key][()])
            sample["joints"] = (np.array(sample["joints"]) * [0.4, 0.4, 1]).tolist()
            file["dataset"][key][...] = json.dumps(sample)
    assert check(tmp_path / "p.h5") == 0
    assert check(tmp_path / "p.h5", "--annotations", coco[0]) == 2
    assert "published layout cannot be compared with the json" in capsys.readouterr().err


def test_damage_is_reported_by_image(prepared, tmp_path, capsys):
    (tmp_path / "a.h5").write_bytes(prepared.read_bytes())
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        end = file["pictures/data_end"][-1]
        file["pictures/data"][end - 3] ^= 1
    assert check(tmp_path / "a.h5", "--workers", "2") == 1
    out, err = capsys.readouterr()
    assert "wrong image 6: damaged: its bytes do not match their checksum" in err
    assert out.splitlines()[-1].split() == ["wrong", "images", "1"]


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
        (_move, "the samples differ from the json"),
        (_unlabel, " by the json"),
        (_outline, "the samples differ from the json"),
        (_forget, "not in the json"),
    ],
)
def test_differences_from_the_json_are_reported(prepared, coco, tmp_path, change, message, capsys):
    changed = with_changed(tmp_path, coco[0], change)
    assert check(prepared, "--annotations", changed) == 1
    err = [line for line in capsys.readouterr().err.splitlines() if "wrong image" in line]
    assert len(err) == 1
    assert "wrong image 6: " in err[0]
    assert message in err[0]


def test_an_image_missing_from_the_file_is_reported(prepared, coco, tmp_path, capsys):
    def add(content):
        content["images"].append({**content["images"][-1], "id": 77})
        content["annotations"] += [
            {**a, "image_id": 77} for a in content["annotations"] if a["image_id"] == 6
        ]

    assert check(prepared, "--annotations", with_changed(tmp_path, coco[0], add)) == 1
    assert "wrong image 77: listed in the json, but missing from the file" in capsys.readouterr().err


def test_a_missing_file_to_check_is_reported(tmp_path, capsys):
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
            "mask_miss is not of 0 and 255 at the image's size",
        ),
        ({"mask_all": lambda r: r.mask_all // 2}, "mask_all is not of 0 and 255"),
        ({"image": lambda r: r.image[..., 0]}, "three channels"),
        ({"image": lambda r: r.image.astype(float)}, "three channels"),
        ({"keypoints": np.full((1, 17, 3), 3, np.float32)}, "third value of a keypoint is not 0, 1 or 2"),
        ({"keypoints": np.zeros((1, 17, 3), np.float32)}, "a person has no keypoint"),
        ({"keypoints": np.full((1, 17, 3), (-1, 5, 2), np.float32)}, "outside the image"),
        ({"keypoints": np.full((1, 17, 3), (np.nan, 5, 1), np.float32)}, "outside the image"),
        ({"height": 0.0}, "has no height"),
        ({"center_xy": (np.inf, 5.0)}, "is not finite"),
    ],
)
def test_invalid_records_are_reported(record, change, fault):
    values = {name: value(record) if callable(value) else value for name, value in change.items()}
    faults = find_record_faults(replace(record, **values))
    assert [fault in found for found in faults] == [True] if fault else not faults
