"""Each step of docs/custom_dataset.md does what it says, in its order, on a small drawn set."""

import json
import re
import runpy
import shlex
import shutil
import sys

import pytest
from other_joints import write_drawn
from places import ROOT

import simplepose
from simplepose import skeleton
from simplepose.data.coco import persons_of
from simplepose.data.coco import read_annotations as read_for_samples
from simplepose.data.hdf5.reader import SampleFile
from simplepose.evaluation import coco_eval

GUIDE = (ROOT / "docs/custom_dataset.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
SMALL = "augment: {size: [64, 64], framing: picture}\ninference: {height: 128}\n"
TRAIN = "train: {batch_size: 2, optimizer: adamw, warmup_epochs: 0, workers: 0}\n"


def block_of(kind: str) -> str:
    """The guide's only block of a kind."""
    (found,) = [block for name, block in BLOCKS if name == kind]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the guide's reader has: the tools, settings (made small), pictures and a json."""
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
    annotations, images = write_drawn(
        folder / "drawn", skeleton.load(str(mine / "body.yaml")).annotated, pictures=6
    )
    content = json.loads(annotations.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 3]  # picture 3: nobody
    (mine / "people.json").write_text(json.dumps(content))
    images.rename(mine / "images")
    (folder / "other").mkdir()
    shutil.copy(annotations, folder / "other/people.json")
    shutil.copytree(mine / "images", folder / "other/images")
    return folder


def test_the_json_that_the_guide_shows_is_read_at_both_doors(place):
    shown = place / "shown.json"
    shown.write_text(block_of("json"))
    joints = skeleton.load(str(place / "mine/body.yaml")).annotated
    (picture,) = read_for_samples(shown, joints)
    persons = persons_of(picture, len(joints))
    assert persons.main_persons == [0]
    assert not persons.remarks
    assert len(coco_eval.read_annotations(shown, joints).anns) == 1
    assert set(re.findall(r"^\| `(\w+)`", GUIDE, re.MULTILINE)) == {
        *("images", "image_id", "category_id", "keypoints", "bbox"),
        *("area", "iscrowd", "segmentation", "categories"),
    }


def test_the_skeleton_that_the_guide_shows_states_every_key(place):
    body = skeleton.load(str(place / "mine/body.yaml"))
    stated = re.findall(r"^(\w+):", block_of("yaml"), re.MULTILINE)
    assert set(stated) == set(body.__dataclass_fields__)
    for missing in body.joints:  # what the guide advises: no one joint that is missed cuts a person in two
        rest = [limb for limb in body.limbs if missing not in limb]
        reached = {next(joint for joint in body.joints if joint != missing)}
        while more := {end for limb in rest if reached & {*limb} for end in limb} - reached:
            reached |= more
        assert reached == {*body.joints} - {missing}


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_each_command_works_after_those_before_it(place, number, monkeypatch):
    words = shlex.split(re.sub(r"train\.epochs=\d+", "train.epochs=1", COMMANDS[number]))
    assert words[0] == "python"
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", words[1:])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(words[1], run_name="__main__")
    assert end.value.code == 0


def test_what_the_commands_made_is_what_the_guide_says(place):
    mine = place / "mine"
    assert SampleFile(mine / "train.h5").pictures == [1, 3, 4, 6]  # 3 shows nobody, 2 and 5 are held out
    assert SampleFile(mine / "val.h5").pictures == [2, 5]
    assert simplepose.load(mine / "run/model.safetensors").skeleton.name == "body"
    results = json.loads((mine / "evaluation/results.json").read_text())
    assert {row["image_id"] for row in results} <= {2, 5}
    assert 0 <= json.loads((mine / "evaluation/metrics.json").read_text())["AP"] <= 1
    assert (mine / "sheet.png").stat().st_size
    assert len(list((mine / "drawn").glob("*.jpg"))) == 6


def test_the_lines_of_python_run(place, monkeypatch):
    monkeypatch.chdir(place)
    names: dict = {}
    exec(block_of("python"), names)
    assert names["people"].keypoints.shape[1:] == (6, 3)
