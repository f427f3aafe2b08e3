"""Skeletons other than COCO's, from annotations to AP, and the errors on the way."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from custom_skeletons import CROWDPOSE, POLE, write_coco_with_joints
from oracle import Oracle
from repo_paths import CONFIGS
from runs import SMALL_RUN

import simplepose
from simplepose.cli import compare, demo_image, draw_targets, evaluate, prepare_coco, run_command, train
from simplepose.data.coco import parse_persons
from simplepose.data.coco import read_annotations as read_for_samples
from simplepose.data.hdf5.reader import SampleFile
from simplepose.evaluation import coco_eval
from simplepose.skeleton import COCO
from simplepose.visualize import drawing

both_skeletons = pytest.mark.parametrize("body", [CROWDPOSE, POLE], ids=lambda body: body.name)


def ground_truth_rows(annotations):
    """Each person with a labeled keypoint, as a result row."""
    return [
        {"image_id": person["image_id"], "category_id": 1, "keypoints": person["keypoints"], "score": 1.0}
        for person in annotations.anns.values()
        if person["num_keypoints"] and not person["iscrowd"]
    ]


def rewrite_annotations(path: Path, change) -> None:
    content = json.loads(path.read_text())
    for person in content["annotations"]:
        change(person)
    path.write_text(json.dumps(content))


def prepare(drawn, output: Path, body: Path, *more: str) -> int:
    paths = ["--annotations", str(drawn[0]), "--images", str(drawn[1]), "--output", str(output)]
    return run_command(prepare_coco.main, [*paths, "--workers", "1", "--skeleton", str(body), *more])


def run_training(
    samples: Path, run: Path, *overrides: str, config: str = "", more: tuple[str, ...] = ()
) -> int:
    files = ["--config", config or str(CONFIGS / "smoke.yaml"), "--train", str(samples), "--output", str(run)]
    return run_command(train.main, [*files, "--device", "cpu", *more, "--set", *SMALL_RUN, *overrides])


# End to end


@pytest.fixture(scope="module", params=[CROWDPOSE, POLE], ids=lambda body: body.name)
def route(request, tmp_path_factory):
    """A dataset, its skeleton and a briefly trained network; the skeleton file is deleted afterwards."""
    folder = tmp_path_factory.mktemp(request.param.name)
    (folder / "body.yaml").write_text(request.param.to_yaml())
    (folder / "settings.yaml").write_text((CONFIGS / "smoke.yaml").read_text() + "\nskeleton: body.yaml\n")
    drawn = write_coco_with_joints(folder / "drawn", request.param.annotated)
    assert prepare(drawn, folder / "samples.h5", folder / "body.yaml") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the settings have a relative path of the skeleton
        sheet = ["--config", "settings.yaml", "--samples", "samples.h5", "--output", "sheet.png"]
        assert run_command(draw_targets.main, sheet) == 0
        assert run_training(folder / "samples.h5", folder / "run", config="settings.yaml") == 0
    (folder / "body.yaml").unlink()
    return folder, drawn, request.param


def test_a_network_contains_its_skeleton(route):
    folder, drawn, body = route
    predictor = simplepose.load(folder / "run/model.safetensors")
    assert predictor.skeleton == body
    people = predictor(cv2.imread(str(next(drawn[1].iterdir()))))
    assert people.keypoints.shape[1:] == (len(body.annotated), 3)


def test_a_network_of_another_skeleton_is_evaluated(route):
    folder, drawn, _ = route
    paths = ["--annotations", str(drawn[0]), "--images", str(drawn[1]), "--output", str(folder / "result")]
    assert run_command(evaluate.main, ["--model", str(folder / "run/model.safetensors"), *paths]) == 0
    assert 0 <= json.loads((folder / "result/metrics.json").read_text())["AP"] <= 1


def test_the_demo_draws_another_skeleton(route):
    folder, drawn, body = route
    model = ["--model", str(folder / "run/model.safetensors"), "--output", str(folder / "demo")]
    assert run_command(demo_image.main, [str(drawn[1]), *model]) == 0
    assert {path.name for path in drawn[1].iterdir()} <= {path.name for path in (folder / "demo").iterdir()}
    rows = json.loads((folder / "demo/people.json").read_text())
    assert {len(row["keypoints"]) for row in rows} <= {3 * len(body.annotated)}


def test_annotations_of_another_skeleton_are_refused_before_images_are_read(route, capsys, tmp_path):
    _, drawn, body = route
    (tmp_path / "empty").mkdir()
    paths = ["--annotations", str(drawn[0]), "--images", str(tmp_path / "empty"), "--output", str(tmp_path)]
    assert run_command(evaluate.main, ["--model", "imhn_mobile", *paths]) == 2
    err = capsys.readouterr().err
    assert "expected people with the keypoints nose, left_eye, " in err
    assert f"; got {', '.join(body.annotated)}: choose the skeleton" in err


def test_a_run_resumes_only_with_the_same_skeleton(route, tmp_path, capsys):
    folder, _, body = route
    shutil.copytree(folder / "run", tmp_path / "run")
    path = tmp_path / "elsewhere.yaml"
    settings = ["train.epochs=2", f"skeleton={path}"]
    path.write_text(dataclasses.replace(body, limbs=body.limbs[::-1]).to_yaml())
    assert run_training(folder / "samples.h5", tmp_path / "run", *settings, more=("--resume",)) == 2
    assert f"another skeleton: its limbs differ from those of '{body.name}'" in capsys.readouterr().err
    path.write_text(dataclasses.replace(body, name="renamed", bones=()).to_yaml())
    assert run_training(folder / "samples.h5", tmp_path / "run", *settings, more=("--resume",)) == 0


def test_init_from_coco_weights_leaves_the_map_layers_random(route, tmp_path, caplog):
    folder, _, body = route
    path = tmp_path / "body.yaml"
    path.write_text(body.to_yaml())
    settings = [f"skeleton={path}", "augment.size=[64,64]", "train.batch_size=2", "train.epochs=1"]
    config = str(CONFIGS / "imhn_mobile.yaml")
    init_from = ("--init-from", "imhn_mobile")
    with caplog.at_level("INFO"):
        assert (
            run_training(folder / "samples.h5", tmp_path / "run", *settings, config=config, more=init_from)
            == 0
        )
    message = f"heads.?.?.maps.* (expected {body.channels}x64x1x1, got 50x64x1x1)"
    assert "imhn_mobile: " in caplog.text
    assert message in caplog.text


def test_unknown_initial_weights_are_reported(samples_file, tmp_path, capsys):
    assert run_training(samples_file, tmp_path / "run", more=("--init-from", "imhn_huge")) == 2
    assert (
        "model 'imhn_huge': expected a file or one of the models that ship (fastpose_mobile, imhn_mobile)"
        in capsys.readouterr().err
    )
    assert run_training(samples_file, tmp_path / "run", more=("--init-from", "imhn_tiny")) == 2
    assert "model 'imhn_tiny' was replaced by 'imhn_mobile'" in capsys.readouterr().err


# Mirroring and drawing


@both_skeletons
def test_every_keypoint_and_bone_is_drawn(body):
    keypoints = np.zeros((1, len(body.annotated), 3), np.float32)
    keypoints[0] = [(20 + 7 * i, 30 + 5 * (i % 3), 1) for i in range(len(body.annotated))]
    image = np.zeros((80, 160, 3), np.uint8)
    drawn = drawing.draw_people(image, simplepose.People(keypoints, np.ones(1)), body)
    assert all(drawn[int(y), int(x)].any() for x, y, _ in keypoints[0])
    midpoints = keypoints[0, body.bone_ends, :2].mean(1).round().astype(int)
    assert all(drawn[y, x].any() for x, y in midpoints)


def test_without_left_and_right_flipping_keeps_the_joint_order():
    assert POLE.annotated_flip.tolist() == list(range(5))
    assert POLE.channel_flip.tolist() == list(range(POLE.channels))


# Evaluation


@both_skeletons
def test_ground_truth_has_an_ap_of_one(tmp_path, body):
    annotations = coco_eval.read_annotations(
        write_coco_with_joints(tmp_path, body.annotated)[0], body.annotated
    )
    metrics = coco_eval.evaluate_rows(annotations, ground_truth_rows(annotations), sigmas=body.sigmas)
    assert metrics["AP"] == metrics["AR"] == 1


@both_skeletons
def test_evaluation_uses_the_sigmas_of_the_network(tmp_path, body, monkeypatch):
    strict = dataclasses.replace(body, sigmas=tuple(sigma / 4 for sigma in body.sigmas))
    drawn = write_coco_with_joints(tmp_path, body.annotated)
    paths = ["--annotations", str(drawn[0]), "--images", str(drawn[1]), "--output", str(tmp_path / "out")]
    ap = {}
    for skeleton in (body, strict):
        oracle = Oracle(*drawn, skeleton=skeleton)
        for people in oracle.answers.values():
            people.keypoints[..., 0] += 4
        monkeypatch.setattr(simplepose, "load", lambda *_, oracle=oracle, **__: oracle)
        assert run_command(evaluate.main, ["--model", "imhn_mobile", *paths]) == 0
        rows, metrics = (
            json.loads((tmp_path / f"out/{name}.json").read_text()) for name in ("results", "metrics")
        )
        annotations = coco_eval.read_annotations(drawn[0], body.annotated)
        scores = coco_eval.evaluate_rows(annotations, rows, sigmas=skeleton.sigmas)
        assert metrics.items() >= {"image_ids": [1, 2, 3, 4], **scores}.items()
        ap[skeleton] = metrics["AP"]
    assert ap[strict] < ap[body]


@both_skeletons
def test_evaluations_of_another_skeleton_are_compared(tmp_path, body, monkeypatch, capsys):
    drawn = write_coco_with_joints(tmp_path, body.annotated)
    strict = dataclasses.replace(body, sigmas=tuple(sigma / 4 for sigma in body.sigmas))
    paths = ["--model", "imhn_mobile", "--annotations", str(drawn[0]), "--images", str(drawn[1])]
    ap = {}
    for name, skeleton, shift in (("worse", body, 9), ("better", body, 2), ("strict", strict, 2)):
        oracle = Oracle(*drawn, skeleton=skeleton)
        for people in oracle.answers.values():
            people.keypoints[..., 0] += shift
        monkeypatch.setattr(simplepose, "load", lambda *_, oracle=oracle, **__: oracle)
        assert run_command(evaluate.main, [*paths, "--output", str(tmp_path / name)]) == 0
        ap[name] = json.loads((tmp_path / name / "metrics.json").read_text())["AP"]
    assert 0 < ap["worse"] < ap["better"]
    capsys.readouterr()
    worse, better, other = (str(tmp_path / name) for name in ("worse", "better", "strict"))
    assert run_command(compare.main, [worse, better]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("AP "))
    assert line.split()[1:3] == [f"{ap['worse']:.3f}", f"{ap['better']:.3f}"]
    assert run_command(compare.main, [better, other]) == 2
    assert "the same skeleton, got other sigmas" in capsys.readouterr().err


def test_a_keypoint_error_is_scored_by_the_sigma_of_the_keypoint(tmp_path):
    annotations = coco_eval.read_annotations(
        write_coco_with_joints(tmp_path, POLE.annotated)[0], POLE.annotated
    )
    rows = ground_truth_rows(annotations)
    for row in rows:
        row["keypoints"] = [x + 12 * (i == 12) for i, x in enumerate(row["keypoints"])]  # the head's x
    strict = coco_eval.evaluate_rows(annotations, rows, sigmas=POLE.sigmas)
    assert 0 < strict["AP"] < 1
    lenient = coco_eval.evaluate_rows(annotations, rows, sigmas=(*POLE.sigmas[:4], 9.0))
    assert lenient["AP"] == 1


def test_missing_annotation_fields_are_filled_in(tmp_path):
    """A missing area is a fraction of the box; num_keypoints is counted; no keypoints means unlabeled."""
    path, _ = write_coco_with_joints(tmp_path, POLE.annotated, named=False)
    rewrite_annotations(path, lambda person: person.update(area=0.53 * person["bbox"][2] * person["bbox"][3]))
    complete = coco_eval.read_annotations(path, POLE.annotated)
    rows = ground_truth_rows(complete)
    for row in rows:
        row["keypoints"] = [x + 6 * (i % 3 == 0) for i, x in enumerate(row["keypoints"])]
    before = coco_eval.evaluate_rows(complete, rows, sigmas=POLE.sigmas)
    rewrite_annotations(
        path, lambda p: [p.pop(key) for key in ("area", "num_keypoints", "iscrowd", "category_id")]
    )
    content = json.loads(path.read_text())
    box = {"image_id": content["images"][0]["id"], "bbox": [0, 0, 9, 9]}
    content["annotations"] += [box, {**box, "keypoints": []}]
    path.write_text(json.dumps(content))
    incomplete = coco_eval.read_annotations(path, POLE.annotated)
    assert 0 < before["AP"] < 1
    assert coco_eval.evaluate_rows(incomplete, rows, sigmas=POLE.sigmas) == before


@pytest.mark.parametrize("reader", [coco_eval.read_annotations, read_for_samples])
def test_annotations_of_other_keypoints_are_refused_with_and_without_names(tmp_path, reader):
    named, _ = write_coco_with_joints(tmp_path / "named", POLE.annotated)
    with pytest.raises(
        ValueError, match=r"with the keypoints nose, left_eye, .*; got feet, knees, .* choose"
    ):
        reader(named, COCO.annotated)
    unnamed, _ = write_coco_with_joints(tmp_path / "unnamed", POLE.annotated, named=False)
    with pytest.raises(
        ValueError, match=r"expected 51 keypoint values per person, 3 for each of nose, .* got 15: "
    ):
        reader(unnamed, COCO.annotated)
    assert reader(unnamed, POLE.annotated)


# Preparation


@pytest.mark.parametrize(("body", "minimum"), [(COCO, 5), (CROWDPOSE, 5), (POLE, 3)], ids=lambda b: str(b))
def test_main_persons_need_five_or_half_of_the_keypoints(tmp_path, body, minimum):
    path, _ = write_coco_with_joints(tmp_path, body.annotated)
    image = read_for_samples(path, body.annotated)[0]
    full = max(image.persons, key=lambda person: person["num_keypoints"])

    def main_count(labeled: int) -> int:
        keypoints = np.array(full["keypoints"]).reshape(-1, 3)
        keypoints[labeled:] = 0
        person = {**full, "keypoints": keypoints.ravel().tolist()}
        alone = dataclasses.replace(image, persons=(person,))
        return len(parse_persons(alone, len(body.annotated)).main_persons)

    assert (main_count(minimum - 1), main_count(minimum)) == (0, 1)


def test_evaluate_uses_the_images_that_prepare_holds_out(tmp_path, capsys):
    drawn = write_coco_with_joints(tmp_path, COCO.annotated)
    split = tmp_path / "held_out.txt"
    split.write_text("4 2\n")
    assert prepare(drawn, tmp_path / "val.h5", "coco", "--split", str(split), "--held-out") == 0
    assert SampleFile(tmp_path / "val.h5").image_ids == [2, 4]
    paths = ["--annotations", str(drawn[0]), "--images", str(drawn[1]), "--output", str(tmp_path / "out")]
    model = ["--model", "imhn_mobile", "--set", "inference.height=64"]
    for more, image_count in (
        ([], 4),
        (["--split", str(split)], 2),
        (["--split", "first:3", "--limit", "1"], 1),
    ):
        assert run_command(evaluate.main, [*model, *paths, *more]) == 0
        assert f"{image_count} image" in capsys.readouterr().out
    assert run_command(evaluate.main, [*model, *paths, "--split", "no.txt"]) == 2
    assert "expected first:N or the path" in capsys.readouterr().err
