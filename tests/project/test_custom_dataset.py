"""Each step of docs/custom_dataset.md works as described, in its order, on a small synthetic dataset."""

import json
import re
import runpy
import shlex
import shutil
import sys

import pytest
from custom_skeletons import write_coco_with_joints
from repo_paths import ROOT

import simplepose
from simplepose import skeleton
from simplepose.data.coco import parse_persons
from simplepose.data.coco import read_annotations as read_for_samples
from simplepose.data.hdf5.reader import SampleFile
from simplepose.evaluation import coco_eval

GUIDE = (ROOT / "docs/custom_dataset.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
SMALL = "augment: {size: [64, 64], framing: image}\ninference: {height: 128}\n"
TRAIN = "train: {batch_size: 2, optimizer: adamw, warmup_epochs: 0, workers: 0}\n"


def block_of(kind: str) -> str:
    """The only code block of a kind in the guide."""
    (block,) = [block for name, block in BLOCKS if name == kind]
    return block


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the guide assumes it: tools, settings (with small sizes), images and a json."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "tools", folder / "tools")
    (folder / "configs").mkdir()
    mobile = (ROOT / "configs/imhn_mobile.yaml").read_text()
    model = next(line for line in mobile.splitlines() if line.startswith("model:"))
    (folder / "configs/imhn_mobile.yaml").write_text(f"{model}\n{SMALL}{TRAIN}")
    mine = folder / "mine"
    mine.mkdir()
    (mine / "body.yaml").write_text(block_of("yaml"))
    (mine / "held_out.txt").write_text(block_of("text"))
    annotations, images = write_coco_with_joints(
        folder / "drawn", skeleton.load(str(mine / "body.yaml")).annotated, num_images=6
    )
    content = json.loads(annotations.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 3]  # image 3: no people
    (mine / "people.json").write_text(json.dumps(content))
    images.rename(mine / "images")
    (folder / "other").mkdir()
    shutil.copy(annotations, folder / "other/people.json")
    shutil.copytree(mine / "images", folder / "other/images")
    return folder


def test_the_json_in_the_guide_is_valid_for_preparation_and_evaluation(folder):
    path = folder / "shown.json"
    path.write_text(block_of("json"))
    joints = skeleton.load(str(folder / "mine/body.yaml")).annotated
    (image,) = read_for_samples(path, joints)
    persons = parse_persons(image, len(joints))
    assert persons.main_persons == [0]
    assert not persons.issues
    assert len(coco_eval.read_annotations(path, joints).anns) == 1
    assert set(re.findall(r"^\| `(\w+)`", GUIDE, re.MULTILINE)) == {
        *("images", "image_id", "category_id", "keypoints", "bbox"),
        *("area", "iscrowd", "segmentation", "categories"),
    }


def test_the_skeleton_in_the_guide_has_every_key(folder):
    body = skeleton.load(str(folder / "mine/body.yaml"))
    keys = re.findall(r"^(\w+):", block_of("yaml"), re.MULTILINE)
    assert set(keys) == set(body.__dataclass_fields__)
    for missing in body.joints:  # as the guide advises: no single missing joint disconnects the others
        rest = [limb for limb in body.limbs if missing not in limb]
        reached = {next(joint for joint in body.joints if joint != missing)}
        while more := {end for limb in rest if reached & {*limb} for end in limb} - reached:
            reached |= more
        assert reached == {*body.joints} - {missing}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_each_command_works_after_the_previous_ones(folder, number, monkeypatch):
    words = shlex.split(re.sub(r"train\.epochs=\d+", "train.epochs=1", COMMANDS[number]))
    assert words[0] == "python"
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", words[1:])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(words[1], run_name="__main__")
    assert end.value.code == 0


@pytest.mark.slow
def test_the_commands_write_the_files_that_the_guide_lists(folder):
    mine = folder / "mine"
    assert SampleFile(mine / "train.h5").image_ids == [1, 3, 4, 6]  # 3 has no people, 2 and 5 are held out
    assert SampleFile(mine / "val.h5").image_ids == [2, 5]
    assert simplepose.load(mine / "run/model.safetensors").skeleton.name == "body"
    results = json.loads((mine / "evaluation/results.json").read_text())
    assert {row["image_id"] for row in results} <= {2, 5}
    assert 0 <= json.loads((mine / "evaluation/metrics.json").read_text())["AP"] <= 1
    assert (mine / "sheet.png").stat().st_size
    assert len(list((mine / "drawn").glob("*.jpg"))) == 6


@pytest.mark.slow
def test_the_python_code_in_the_guide_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(block_of("python"), names)
    assert names["people"].keypoints.shape[1:] == (6, 3)
