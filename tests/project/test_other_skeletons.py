"""People of other joints than COCO's, from a json to a score, and what is refused on the way."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from oracle import Oracle
from other_joints import CROWDPOSE, POLE, write_drawn
from places import CONFIGS
from runs import SMALL

import simplepose
from simplepose.cli import demo_image, door, draw_targets, evaluate, prepare_coco, train
from simplepose.data.coco import persons_of
from simplepose.data.coco import read_annotations as read_for_samples
from simplepose.data.hdf5.reader import SampleFile
from simplepose.evaluation import coco_eval
from simplepose.skeleton import COCO
from simplepose.visualize import drawing

both = pytest.mark.parametrize("body", [CROWDPOSE, POLE], ids=lambda body: body.name)


def rows_of_truth(annotations):
    """Everyone with a labelled keypoint, as rows of results."""
    return [
        {"image_id": person["image_id"], "category_id": 1, "keypoints": person["keypoints"], "score": 1.0}
        for person in annotations.anns.values()
        if person["num_keypoints"] and not person["iscrowd"]
    ]


def rewritten(path: Path, change) -> None:
    content = json.loads(path.read_text())
    for person in content["annotations"]:
        change(person)
    path.write_text(json.dumps(content))


def prepared(drawn, output: Path, body: Path, *more: str) -> int:
    paths = ["--annotations", str(drawn[0]), "--images", str(drawn[1]), "--output", str(output)]
    return door(prepare_coco.main, [*paths, "--workers", "1", "--skeleton", str(body), *more])


def trained(samples: Path, run: Path, *overrides: str, config: str = "", more: tuple[str, ...] = ()) -> int:
    files = ["--config", config or str(CONFIGS / "smoke.yaml"), "--train", str(samples), "--output", str(run)]
    return door(train.main, [*files, "--device", "cpu", *more, "--set", *SMALL, *overrides])


# The whole route


@pytest.fixture(scope="module", params=[CROWDPOSE, POLE], ids=lambda body: body.name)
def route(request, tmp_path_factory):
    """A set, its skeleton, and a network that was trained on it a little; then the skeleton's file goes."""
    folder = tmp_path_factory.mktemp(request.param.name)
    (folder / "body.yaml").write_text(request.param.to_text())
    (folder / "settings.yaml").write_text((CONFIGS / "smoke.yaml").read_text() + "\nskeleton: body.yaml\n")
    drawn = write_drawn(folder / "drawn", request.param.annotated)
    assert prepared(drawn, folder / "samples.h5", folder / "body.yaml") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the settings name the skeleton by a path from here
        sheet = ["--config", "settings.yaml", "--samples", "samples.h5", "--output", "sheet.png"]
        assert door(draw_targets.main, sheet) == 0
        assert trained(folder / "samples.h5", folder / "run", config="settings.yaml") == 0
    (folder / "body.yaml").unlink()
    return folder, drawn, request.param


def test_the_network_knows_its_joints_without_the_file(route):
    folder, drawn, body = route
    predictor = simplepose.load(folder / "run/model.safetensors")
    assert predictor.skeleton == body
    people = predictor(cv2.imread(str(next(drawn[1].iterdir()))))
    assert people.keypoints.shape[1:] == (len(body.annotated), 3)


def test_it_is_evaluated(route):
    folder, drawn, _ = route
    paths = ["--annotations", str(drawn[0]), "--images", str(drawn[1]), "--output", str(folder / "result")]
    assert door(evaluate.main, ["--model", str(folder / "run/model.safetensors"), *paths]) == 0
    assert 0 <= json.loads((folder / "result/metrics.json").read_text())["AP"] <= 1


def test_the_demo_draws_it(route):
    folder, drawn, body = route
    model = ["--model", str(folder / "run/model.safetensors"), "--output", str(folder / "demo")]
    assert door(demo_image.main, [str(drawn[1]), *model]) == 0
    assert {path.name for path in drawn[1].iterdir()} <= {path.name for path in (folder / "demo").iterdir()}
    rows = json.loads((folder / "demo/people.json").read_text())
    assert {len(row["keypoints"]) for row in rows} <= {3 * len(body.annotated)}


def test_a_network_of_other_joints_is_refused_before_a_picture_is_read(route, capsys, tmp_path):
    _, drawn, body = route
    (tmp_path / "empty").mkdir()
    paths = ["--annotations", str(drawn[0]), "--images", str(tmp_path / "empty"), "--output", str(tmp_path)]
    assert door(evaluate.main, ["--model", "imhn_mobile", *paths]) == 2
    told = capsys.readouterr().err
    assert f"its people have the keypoints {', '.join(body.annotated)}; nose, left_eye, " in told


def test_it_goes_on_only_with_its_own_skeleton(route, tmp_path, capsys):
    folder, _, body = route
    shutil.copytree(folder / "run", tmp_path / "run")
    path = tmp_path / "elsewhere.yaml"
    settings = ["train.epochs=2", f"skeleton={path}"]
    path.write_text(dataclasses.replace(body, limbs=body.limbs[::-1]).to_text())
    assert trained(folder / "samples.h5", tmp_path / "run", *settings, more=("--resume",)) == 2
    assert f"another skeleton: its limbs differ from those of '{body.name}'" in capsys.readouterr().err
    path.write_text(dataclasses.replace(body, name="renamed", bones=()).to_text())
    assert trained(folder / "samples.h5", tmp_path / "run", *settings, more=("--resume",)) == 0


def test_cocos_weights_begin_it_and_its_own_maps_begin_fresh(route, tmp_path, caplog):
    folder, _, body = route
    path = tmp_path / "body.yaml"
    path.write_text(body.to_text())
    settings = [f"skeleton={path}", "augment.size=[64,64]", "train.batch_size=2", "train.epochs=1"]
    config = str(CONFIGS / "imhn_mobile.yaml")
    begin = ("--init-from", "imhn_mobile")
    with caplog.at_level("INFO"):
        assert trained(folder / "samples.h5", tmp_path / "run", *settings, config=config, more=begin) == 0
    told = f"heads.?.?.maps.* (50x64x1x1 there, {body.channels}x64x1x1 here)"
    assert "imhn_mobile: " in caplog.text
    assert told in caplog.text


def test_weights_that_are_nowhere_are_told(samples_file, tmp_path, capsys):
    assert trained(samples_file, tmp_path / "run", more=("--init-from", "imhn_huge")) == 2
    assert (
        "model 'imhn_huge': no such file, and not one of those that ship: imhn_mobile"
        in capsys.readouterr().err
    )
    assert trained(samples_file, tmp_path / "run", more=("--init-from", "imhn_tiny")) == 2
    assert "model 'imhn_tiny' was replaced by 'imhn_mobile'" in capsys.readouterr().err


# Mirroring and drawing


@both
def test_what_is_drawn_has_a_joint_everywhere(body):
    keypoints = np.zeros((1, len(body.annotated), 3), np.float32)
    keypoints[0] = [(20 + 7 * i, 30 + 5 * (i % 3), 1) for i in range(len(body.annotated))]
    picture = np.zeros((80, 160, 3), np.uint8)
    drawn = drawing.draw(picture, simplepose.People(keypoints, np.ones(1)), body)
    assert all(drawn[int(y), int(x)].any() for x, y, _ in keypoints[0])
    middles = keypoints[0, body.bone_ends, :2].mean(1).round().astype(int)
    assert all(drawn[y, x].any() for x, y in middles)


def test_without_sides_a_mirrored_person_is_the_same_joints():
    assert POLE.annotated_flip.tolist() == list(range(5))
    assert POLE.channel_flip.tolist() == list(range(POLE.channels))


# Judging


@both
def test_the_truth_scores_one(tmp_path, body):
    annotations = coco_eval.read_annotations(write_drawn(tmp_path, body.annotated)[0], body.annotated)
    metrics = coco_eval.evaluate_rows(annotations, rows_of_truth(annotations), sigmas=body.sigmas)
    assert metrics["AP"] == metrics["AR"] == 1


@both
def test_the_command_judges_by_the_networks_own_sigmas(tmp_path, body, monkeypatch):
    strict = dataclasses.replace(body, sigmas=tuple(sigma / 4 for sigma in body.sigmas))
    drawn = write_drawn(tmp_path, body.annotated)
    paths = ["--annotations", str(drawn[0]), "--images", str(drawn[1]), "--output", str(tmp_path / "out")]
    found = {}
    for judge in (body, strict):
        oracle = Oracle(*drawn, skeleton=judge)
        for people in oracle.answers.values():
            people.keypoints[..., 0] += 4
        monkeypatch.setattr(simplepose, "load", lambda *_, oracle=oracle, **__: oracle)
        assert door(evaluate.main, ["--model", "any", *paths]) == 0
        rows, metrics = (
            json.loads((tmp_path / f"out/{name}.json").read_text()) for name in ("results", "metrics")
        )
        annotations = coco_eval.read_annotations(drawn[0], body.annotated)
        scores = coco_eval.evaluate_rows(annotations, rows, sigmas=judge.sigmas)
        assert metrics == {"preset": "default", **scores}
        found[judge] = metrics["AP"]
    assert found[strict] < found[body]


def test_a_joint_that_is_off_costs_by_its_own_sigma(tmp_path):
    annotations = coco_eval.read_annotations(write_drawn(tmp_path, POLE.annotated)[0], POLE.annotated)
    rows = rows_of_truth(annotations)
    for row in rows:
        row["keypoints"] = [x + 12 * (i == 12) for i, x in enumerate(row["keypoints"])]  # the head's x
    strict = coco_eval.evaluate_rows(annotations, rows, sigmas=POLE.sigmas)
    assert 0 < strict["AP"] < 1
    forgiven = coco_eval.evaluate_rows(annotations, rows, sigmas=(*POLE.sigmas[:4], 9.0))
    assert forgiven["AP"] == 1


def test_what_other_tools_leave_out_is_put_in(tmp_path):
    """An absent area is a share of the box; an absent count is counted; absent keypoints are nobody's."""
    path, _ = write_drawn(tmp_path, POLE.annotated, named=False)
    rewritten(path, lambda person: person.update(area=0.53 * person["bbox"][2] * person["bbox"][3]))
    stated = coco_eval.read_annotations(path, POLE.annotated)
    rows = rows_of_truth(stated)
    for row in rows:
        row["keypoints"] = [x + 6 * (i % 3 == 0) for i, x in enumerate(row["keypoints"])]
    before = coco_eval.evaluate_rows(stated, rows, sigmas=POLE.sigmas)
    rewritten(path, lambda p: [p.pop(key) for key in ("area", "num_keypoints", "iscrowd", "category_id")])
    content = json.loads(path.read_text())
    box = {"image_id": content["images"][0]["id"], "bbox": [0, 0, 9, 9]}
    content["annotations"] += [box, {**box, "keypoints": []}]
    path.write_text(json.dumps(content))
    left_out = coco_eval.read_annotations(path, POLE.annotated)
    assert 0 < before["AP"] < 1
    assert coco_eval.evaluate_rows(left_out, rows, sigmas=POLE.sigmas) == before


@pytest.mark.parametrize("reader", [coco_eval.read_annotations, read_for_samples])
def test_other_joints_are_refused_named_or_not(tmp_path, reader):
    named, _ = write_drawn(tmp_path / "named", POLE.annotated)
    with pytest.raises(ValueError, match=r"have the keypoints feet, knees, .*; nose, left_eye, .* choose"):
        reader(named, COCO.annotated)
    unnamed, _ = write_drawn(tmp_path / "unnamed", POLE.annotated, named=False)
    with pytest.raises(ValueError, match="have 15 keypoint values; 51 are expected, 3 for each of nose, "):
        reader(unnamed, COCO.annotated)
    assert reader(unnamed, POLE.annotated)


# Preparing


@pytest.mark.parametrize(("body", "least"), [(COCO, 5), (CROWDPOSE, 5), (POLE, 3)], ids=lambda b: str(b))
def test_main_persons_of_few_joints_need_half_of_them(tmp_path, body, least):
    path, _ = write_drawn(tmp_path, body.annotated)
    picture = read_for_samples(path, body.annotated)[0]
    whole = max(picture.persons, key=lambda person: person["num_keypoints"])

    def mains(labelled: int) -> int:
        keypoints = np.array(whole["keypoints"]).reshape(-1, 3)
        keypoints[labelled:] = 0
        person = {**whole, "keypoints": keypoints.ravel().tolist()}
        alone = dataclasses.replace(picture, persons=(person,))
        return len(persons_of(alone, len(body.annotated)).main_persons)

    assert (mains(least - 1), mains(least)) == (0, 1)


def test_pictures_held_out_are_those_that_are_judged(tmp_path, capsys):
    drawn = write_drawn(tmp_path, COCO.annotated)
    split = tmp_path / "held_out.txt"
    split.write_text("4 2\n")
    assert prepared(drawn, tmp_path / "val.h5", "coco", "--split", str(split), "--held-out") == 0
    assert SampleFile(tmp_path / "val.h5").pictures == [2, 4]
    paths = ["--annotations", str(drawn[0]), "--images", str(drawn[1]), "--output", str(tmp_path / "out")]
    model = ["--model", "imhn_mobile", "--set", "inference.height=64"]
    for more, judged in (([], 4), (["--split", str(split)], 2), (["--split", "first:3", "--limit", "1"], 1)):
        assert door(evaluate.main, [*model, *paths, *more]) == 0
        assert f"{judged} picture" in capsys.readouterr().out
    assert door(evaluate.main, [*model, *paths, "--split", "no.txt"]) == 2
    assert "expected first:N or the path" in capsys.readouterr().err
