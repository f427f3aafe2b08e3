"""COCO's AP for perfect, empty and inexact results, and the command `evaluate`."""

import contextlib
import hashlib
import io
import json
import signal
import zipfile
from collections import Counter

import numpy as np
import pytest
from oracle import FakePredictor, NoPeoplePredictor, Oracle, labeled_people
from planted_errors import mixed_rows, write_annotations
from pycocotools.cocoeval import COCOeval
from synthetic_coco import write_synthetic_coco

import simplepose
from simplepose.cli import EXIT_INTERRUPTED, demo_image, evaluate, run_command
from simplepose.config import Settings
from simplepose.evaluation import coco_eval, report
from simplepose.evaluation.coco_eval import MAX_PEOPLE
from simplepose.inference.predictor import find_model
from simplepose.people import People


@pytest.fixture
def dataset(tmp_path):
    return write_synthetic_coco(tmp_path / "coco", num_images=5)


def rows_of_truth(annotations: coco_eval.Annotations) -> list[dict]:
    return [row for i in annotations.imgs for row in labeled_people(annotations, i).to_coco_rows(i)]


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# The metrics


def test_ground_truth_scores_one_and_rows_are_unchanged(dataset):
    annotations = coco_eval.read_annotations(dataset[0])
    rows = rows_of_truth(annotations)
    before = json.dumps(rows)
    metrics = coco_eval.evaluate_rows(dataset[0], rows)
    assert tuple(metrics) == coco_eval.METRICS
    assert metrics["AP"] == metrics["AR"] == 1
    assert json.dumps(rows) == before


def test_ground_truth_of_real_photos_scores_one(shared):
    annotations = coco_eval.read_annotations(shared / "minicoco/annotations/person_keypoints_val.json")
    metrics = coco_eval.evaluate_rows(annotations, rows_of_truth(annotations))
    assert metrics["AP"] == metrics["AR"] == 1
    # A person of one size range may match a similar one of the other range with the same score.
    assert min(metrics.values()) > 0.999


def test_empty_results_score_zero(dataset):
    assert coco_eval.evaluate_rows(dataset[0], [])["AP"] == 0
    assert coco_eval.evaluate_rows(dataset[0], [])["AR"] == 0


def test_images_without_people_have_no_score(dataset):
    rewrite(dataset[0], lambda content: content["images"].append({"id": 99, "file_name": "none.jpg"}))
    assert set(coco_eval.evaluate_rows(dataset[0], [], [99]).values()) == {-1}


def test_only_requested_images_are_evaluated(dataset):
    annotations = coco_eval.read_annotations(dataset[0])
    rows = [row for row in rows_of_truth(annotations) if row["image_id"] in (1, 2)]
    assert coco_eval.evaluate_rows(annotations, rows, [1, 2])["AP"] == 1
    assert coco_eval.evaluate_rows(annotations, rows)["AR"] < 1


def test_displaced_keypoints_lower_ap_and_larger_sigmas_raise_it(dataset):
    annotations = coco_eval.read_annotations(dataset[0])
    rows = rows_of_truth(annotations)
    for row in rows:
        row["keypoints"] = [x + 6 * (i % 3 == 0) for i, x in enumerate(row["keypoints"])]
    displaced = coco_eval.evaluate_rows(annotations, rows)
    assert 0 < displaced["AP"] < 0.9
    assert displaced["AP75"] < displaced["AP50"]
    assert coco_eval.evaluate_rows(annotations, rows, sigmas=[1.0] * 17)["AP"] == 1


def run_pycocotools(annotations, rows):
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(annotations, annotations.loadRes([dict(row) for row in rows]), "keypoints")
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


@pytest.mark.parametrize("seed", range(3))
def test_matches_and_metrics_are_those_of_pycocotools_bit_for_bit(tmp_path, seed):
    """With crowds, people without keypoints, repeated and false people, and more than 20 in some images."""
    rng = np.random.default_rng(seed)
    truth = write_annotations(tmp_path / "people.json")
    for person in truth.anns.values():
        if rng.random() < 0.2:
            person.update(num_keypoints=0, keypoints=[0] * 51, iscrowd=int(rng.random() < 0.5))
    rows = mixed_rows(truth, seed=seed)
    rows += [{**row, "score": rng.random()} for row in rows if row["image_id"] > 20]
    rows += [{**row, "score": 0.5} for row in rows if row["image_id"] == 30] * 8
    ours, theirs = coco_eval.evaluate_images(truth, rows), run_pycocotools(truth, rows)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs.summarize()
    assert ours.stats.tolist() == theirs.stats.tolist()
    assert all(np.array_equal(ours.eval[key], theirs.eval[key]) for key in ("precision", "recall", "scores"))
    for own, image in zip(ours.evalImgs, theirs.evalImgs, strict=True):
        assert (own is None) == (image is None)
        assert image is None or all(np.array_equal(own[key], value) for key, value in image.items())
    metrics = coco_eval.evaluate_rows(truth, rows)
    assert coco_eval.evaluate_ap(truth, rows) == {name: metrics[name] for name in ("AP", "AP50", "AP75")}


def test_table_equals_the_output_of_pycocotools(dataset):
    annotations = coco_eval.read_annotations(dataset[0])
    rows = rows_of_truth(annotations)[::2]
    printed, evaluator = io.StringIO(), run_pycocotools(annotations, rows)
    with contextlib.redirect_stdout(printed):
        evaluator.summarize()
    assert coco_eval.format_table(coco_eval.evaluate_rows(annotations, rows)) == printed.getvalue().rstrip(
        "\n"
    )


def test_repeated_and_zero_annotation_ids_are_handled(dataset):
    def set_ids_to_zero(content):
        for annotation in content["annotations"]:
            annotation["id"] = 0

    rewrite(dataset[0], set_ids_to_zero)
    annotations = coco_eval.read_annotations(dataset[0])
    assert coco_eval.evaluate_rows(annotations, rows_of_truth(annotations))["AP"] == 1


def test_annotations_without_a_category_count_as_people(dataset):
    rewrite(dataset[0], lambda content: [a.pop("category_id") for a in content["annotations"]])
    annotations = coco_eval.read_annotations(dataset[0])
    assert coco_eval.evaluate_rows(annotations, rows_of_truth(annotations))["AP"] == 1


def test_mismatched_rows_are_rejected(dataset):
    row = {"image_id": 77, "category_id": 1, "keypoints": [0.0] * 51, "score": 1.0}
    with pytest.raises(ValueError, match=r"not in the annotations: \[77\]"):
        coco_eval.evaluate_rows(dataset[0], [row])
    with pytest.raises(
        ValueError, match=r"expected 51 keypoint values per person, 3 for each of 17 keypoints; got \[54\]"
    ):
        coco_eval.evaluate_rows(dataset[0], [{**row, "image_id": 1, "keypoints": [0.0] * 54}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [', "invalid or truncated json"),
        (b"[]", "has no list 'images'"),
        (b'{"images": [{"id": 1}]}', r"images\[0\] has no 'file_name'"),
        (b'{"images": [5]}', r"images\[0\] is not an object"),
        (b'{"images": [], "annotations": [5]}', r"annotations\[0\] is not an object"),
        (b'{"images": [], "annotations": {"a": 5}}', "no list 'annotations'"),
        (
            b'{"images": [], "annotations": [{"image_id": 1, "keypoints": 5, "num_keypoints": 1, '
            b'"bbox": [0, 0, 1, 1], "area": 1}]}',
            "keypoints, num_keypoints, bbox, area are not all numbers",
        ),
        (
            b'{"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [], "area": 1}]}',
            "people without keypoints; expected COCO",
        ),
        (b'{"images": [], "annotations": [{"image_id": 1, "category_id": 3}]}', "people without keypoints"),
    ],
)
def test_invalid_json_is_rejected(tmp_path, content, message):
    path = tmp_path / "instances.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        coco_eval.read_annotations(path)


# The command


def run_evaluate(dataset, output, *options, model=None, monkeypatch=None):
    if model is not None:
        monkeypatch.setattr(simplepose, "load", lambda *_, **__: model)
    paths = ["--annotations", str(dataset[0]), "--images", str(dataset[1]), "--output", str(output)]
    return run_command(evaluate.main, ["--model", "imhn_mobile", *paths, *options])


def test_missing_weights_are_an_error(dataset, tmp_path, capsys):
    assert run_evaluate(dataset, tmp_path / "out", "--model", "imhn_mobile", "--weights", "swa") == 2
    assert "imhn_mobile.safetensors has no swa weights; it has raw" in capsys.readouterr().err


def test_the_default_model_of_evaluate_is_that_of_the_demos():
    files = ["--annotations", "a.json", "--images", "images", "--output", "output"]
    assert evaluate.build_parser().parse_args(files).model == demo_image.build_parser().parse_args([]).model


def test_evaluate_writes_rows_and_metrics_and_prints_the_table(dataset, tmp_path, capsys, monkeypatch):
    assert run_evaluate(dataset, tmp_path / "out", model=Oracle(*dataset), monkeypatch=monkeypatch) == 0
    rows = json.loads((tmp_path / "out/results.json").read_text())
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    truth = coco_eval.read_annotations(dataset[0])
    scores = coco_eval.evaluate_rows(truth, rows)
    assert metrics.items() >= scores.items()
    assert metrics["groups"] == coco_eval.evaluate_groups(truth, rows)
    run = {"model": "imhn_mobile", "preset": "default", "annotations": str(dataset[0]), "subset": None}
    assert metrics.items() >= {**run, "image_ids": [1, 2, 3, 4, 5]}.items()
    errors = json.loads((tmp_path / "out/errors.json").read_text())
    assert errors["people"]["missed"] == errors["people"]["background"] == 0
    assert (tmp_path / "out/report.html").read_text().startswith("<!")
    assert metrics["AP"] == 1
    assert set(rows[0]) == {"image_id", "category_id", "keypoints", "score"}
    output = capsys.readouterr().out
    assert coco_eval.format_table(scores) in output
    assert coco_eval.format_groups(metrics["groups"]) in output
    assert f"5 images, {len(rows)} people" in output


def test_results_may_be_empty(dataset, tmp_path, monkeypatch):
    assert run_evaluate(dataset, tmp_path, model=NoPeoplePredictor(), monkeypatch=monkeypatch) == 0
    assert json.loads((tmp_path / "results.json").read_text()) == []
    assert json.loads((tmp_path / "metrics.json").read_text())["AP"] == 0


def test_limit_evaluates_only_the_first_images(dataset, tmp_path, monkeypatch):
    oracle = Oracle(*dataset)
    assert run_evaluate(dataset, tmp_path, "--limit", "2", model=oracle, monkeypatch=monkeypatch) == 0
    assert oracle.calls == 2
    assert json.loads((tmp_path / "metrics.json").read_text())["AP"] == 1


def test_unreadable_images_are_logged_counted_and_missed(dataset, tmp_path, capsys, monkeypatch):
    oracle = Oracle(*dataset)
    (dataset[1] / "000000000001.jpg").unlink()
    truncated = dataset[1] / "000000000002.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-100])
    assert run_evaluate(dataset, tmp_path, model=oracle, monkeypatch=monkeypatch) == 1
    output, errors = capsys.readouterr()
    assert "000000000001.jpg: No such file" in errors
    assert "000000000002.jpg: " in errors
    assert "2 images could not be read" in output
    assert json.loads((tmp_path / "metrics.json").read_text())["AR"] < 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_keeps_partial_results(dataset, tmp_path, capsys, monkeypatch, number):
    (tmp_path / "metrics.json").write_text("{}")  # of an earlier run
    oracle = Oracle(*dataset, interrupt_at_call=3, interruption=number)
    assert run_evaluate(dataset, tmp_path, model=oracle, monkeypatch=monkeypatch) == EXIT_INTERRUPTED
    rows = json.loads((tmp_path / "results.json").read_text())
    assert {row["image_id"] for row in rows} == {1, 2}
    assert not (tmp_path / "metrics.json").exists()
    assert "interrupted, results are partial" in capsys.readouterr().out
    resumed = Oracle(*dataset)
    assert run_evaluate(dataset, tmp_path, model=resumed, monkeypatch=monkeypatch) == 0
    assert resumed.calls == 3, "the first two images were done before"
    assert json.loads((tmp_path / "metrics.json").read_text())["AP"] == 1
    assert "2 images are already done; resuming" in capsys.readouterr().err
    files = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert files == {"results.json", "metrics.json", "errors.json", "report.html", "lock"} & files
    assert not (tmp_path / "parts").exists()


def test_partial_results_of_another_run_are_discarded(dataset, tmp_path, capsys, monkeypatch):
    oracle = Oracle(*dataset, interrupt_at_call=3)
    assert run_evaluate(dataset, tmp_path, model=oracle, monkeypatch=monkeypatch) == EXIT_INTERRUPTED
    other = Oracle(*dataset)
    options = ("--limit", "4")
    assert run_evaluate(dataset, tmp_path, *options, model=other, monkeypatch=monkeypatch) == 0
    assert other.calls == 4
    assert "discarded the partial results of a run with other images" in capsys.readouterr().err


def test_a_failed_evaluation_is_repeated_without_the_model(dataset, tmp_path, monkeypatch):
    """The partial results are kept until all files are written."""
    oracle = Oracle(*dataset)

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(report, "write_report", fail)
        assert run_evaluate(dataset, tmp_path, model=oracle, monkeypatch=monkeypatch) == 2
    assert run_evaluate(dataset, tmp_path, model=oracle, monkeypatch=monkeypatch) == 0
    assert oracle.calls == 5
    assert (tmp_path / "report.html").exists()


def test_images_that_fail_in_inference_are_logged_and_missed(dataset, tmp_path, capsys, monkeypatch):
    oracle = Oracle(*dataset, interrupt_at_call=3, interruption=RuntimeError("out of memory"))
    assert run_evaluate(dataset, tmp_path, model=oracle, monkeypatch=monkeypatch) == 1
    rows = json.loads((tmp_path / "results.json").read_text())
    found = {row["image_id"] for row in rows}
    assert len(found) == 4
    assert json.loads((tmp_path / "metrics.json").read_text())["AR"] < 1
    (missed,) = {1, 2, 3, 4, 5} - found
    assert f"{missed:012d}.jpg, frame {missed - 1}: grouping failed: out of memory" in capsys.readouterr().err


def test_metrics_state_settings_checkpoint_versions_and_machine(dataset, tmp_path, monkeypatch):
    def metrics(*options):
        output = tmp_path / "out"
        oracle = Oracle(*dataset)
        assert run_evaluate(dataset, output, *options, model=oracle, monkeypatch=monkeypatch) == 0
        return (output / "metrics.json").read_bytes()

    first = metrics()
    assert metrics() == first, "the same command writes the same file"
    values = json.loads(first)
    checkpoint = find_model("imhn_mobile").read_bytes()
    assert values["sha256"] == {"model": hashlib.sha256(checkpoint).hexdigest()}
    settings = Settings()
    assert values["settings"]["inference"]["height"] == settings.inference.height
    assert values["settings"]["grouping"]["peak_threshold"] == settings.grouping.peak_threshold
    assert values["options"]["device"] == "cpu"
    machine = values["environment"]
    assert {"simplepose", "torch", "numpy", "opencv", "pycocotools"} <= machine.keys()
    assert machine["processor"]
    assert machine["threads"] >= 1
    assert "started" not in machine
    subset = json.loads(metrics("--subset", "2"))
    assert subset["subset"] == 2
    assert subset["image_ids"] == coco_eval.choose_subset(
        coco_eval.read_annotations(dataset[0]), range(1, 6), 2
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--model", "fastpose_mobile"], {"model": "fastpose_mobile", "detector": "imhn_mobile"}),
        (["--refine", "fastpose_mobile"], {"model": "imhn_mobile", "refine": "fastpose_mobile"}),
        (["--preset", "accurate"], {"model": "imhn_mobile", "refine": "fastpose_mobile"}),
        (
            ["--model", "fastpose_mobile", "--detector", "boxes.json"],
            {"model": "fastpose_mobile", "detector": "boxes.json"},
        ),
    ],
)
def test_metrics_have_a_checksum_of_every_file_that_the_results_depend_on(
    dataset, tmp_path, monkeypatch, options, expected
):
    monkeypatch.chdir(tmp_path)
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 100, 200], "score": 0.9}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    small = ["--device", "cpu", "--runtime", "torch", "--limit", "1", "--set", "inference.height=64"]
    assert run_evaluate(dataset, tmp_path / "out", *options, *small) == 0
    checksums = json.loads((tmp_path / "out/metrics.json").read_text())["sha256"]
    paths = {key: find_model(name) for key, name in expected.items()}
    assert checksums == {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in paths.items()}


# Images without annotations, for COCO's server


@pytest.fixture
def info(dataset):
    """The json without annotations, under the name of COCO's, and the images."""
    rewrite(dataset[0], lambda content: content.pop("annotations"))
    return dataset[0].rename(dataset[0].with_name("image_info_test-dev2017.json")), dataset[1]


class Crowd(FakePredictor):
    """Finds 25 people in each image, the best ones last."""

    def people(self, image):
        keypoints = np.ones((25, 17, 3), np.float32)
        return People(keypoints, np.linspace(0.1, 0.9, 25))


def test_images_without_annotations_give_the_server_file(info, tmp_path, capsys, monkeypatch):
    for name in ("metrics.json", "results.json"):
        (tmp_path / name).write_text("{}")  # of an earlier run
    assert run_evaluate(info, tmp_path, "--name", "ours", model=Crowd(), monkeypatch=monkeypatch) == 0
    path = tmp_path / "person_keypoints_test-dev2017_ours_results.json"
    rows = json.loads(path.read_text())
    counts = Counter(row["image_id"] for row in rows)
    assert counts == dict.fromkeys(range(1, 6), MAX_PEOPLE)
    assert min(row["score"] for row in rows) > 0.25, "the best people are kept"
    output, errors = capsys.readouterr()
    assert "125 people in 5 of 5 images, at most 25 in an image; scores 0.1 to 0.9" in output
    assert "5 images with more than 20 people; COCO counts the 20 best" in errors
    assert "upload the zip file" in output
    with zipfile.ZipFile(path.with_suffix(".zip")) as archive:
        assert archive.namelist() == [path.name]
        assert archive.read(path.name) == path.read_bytes()
    assert not (tmp_path / "metrics.json").exists()
    assert not (tmp_path / "results.json").exists()


def test_all_people_are_kept_on_request(info, tmp_path, monkeypatch):
    assert run_evaluate(info, tmp_path, "--all-people", model=Crowd(), monkeypatch=monkeypatch) == 0
    (path,) = tmp_path.glob("person_keypoints_*.json")
    assert len(json.loads(path.read_text())) == 125


def test_results_of_others_are_validated_and_packed_for_the_server(info, tmp_path, capsys, monkeypatch):
    (tmp_path / "own").mkdir()
    assert run_evaluate(info, tmp_path / "own", model=Crowd(), monkeypatch=monkeypatch) == 0
    (path,) = (tmp_path / "own").glob("*_results.json")
    theirs = tmp_path / "theirs.json"
    theirs.write_bytes(path.read_bytes())
    assert run_evaluate(info, tmp_path / "packed", "--results", str(theirs)) == 0
    (packed,) = (tmp_path / "packed").glob("*.zip")
    assert packed.read_bytes() == path.with_suffix(".zip").read_bytes(), "the same archive, without a date"
    rows = json.loads(path.read_text())
    theirs.write_text(json.dumps([*rows, {**rows[0], "category_id": 3}]))
    assert run_evaluate(info, tmp_path / "packed", "--results", str(theirs)) == 2
    assert "result 100, image 1: expected category_id 1 (person), got 3" in capsys.readouterr().err


def test_missing_inputs_are_reported(dataset, tmp_path, capsys, monkeypatch):
    missing = tmp_path / "missing"
    assert (
        run_evaluate((missing, dataset[1]), tmp_path, model=NoPeoplePredictor(), monkeypatch=monkeypatch) == 2
    )
    assert (
        run_evaluate((dataset[0], missing), tmp_path, model=NoPeoplePredictor(), monkeypatch=monkeypatch) == 2
    )
    missing.mkdir()
    assert (
        run_evaluate((dataset[0], missing), tmp_path, model=NoPeoplePredictor(), monkeypatch=monkeypatch) == 2
    )
    errors = capsys.readouterr().err
    assert f"error: no annotations at {missing}" in errors
    assert f"error: {missing}: expected a folder of COCO images" in errors
    assert "error: none of the 5 images could be read" in errors
    assert not (tmp_path / "metrics.json").exists()
