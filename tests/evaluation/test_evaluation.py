"""COCO's AP: what it is of the truth, of nothing, of errors; and the command `evaluate`."""

import contextlib
import io
import json
import signal

import pytest
from drawn_coco import write_drawn_coco
from oracle import Nobody, Oracle, labelled_people
from pycocotools.cocoeval import COCOeval

import simplepose
from simplepose.cli import INTERRUPTED, door, evaluate
from simplepose.evaluation import coco_eval


@pytest.fixture
def drawn(tmp_path):
    return write_drawn_coco(tmp_path / "coco", pictures=5)


def rows_of_truth(annotations: coco_eval.Annotations) -> list[dict]:
    return [row for i in annotations.imgs for row in labelled_people(annotations, i).to_coco_rows(i)]


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# The measure


def test_the_truth_scores_one_and_rows_are_left_alone(drawn):
    annotations = coco_eval.read_annotations(drawn[0])
    rows = rows_of_truth(annotations)
    before = json.dumps(rows)
    metrics = coco_eval.evaluate_rows(drawn[0], rows)
    assert tuple(metrics) == coco_eval.METRICS
    assert metrics["AP"] == metrics["AR"] == 1
    assert json.dumps(rows) == before


def test_the_truth_of_real_photographs_scores_one(shared):
    annotations = coco_eval.read_annotations(shared / "minicoco/annotations/person_keypoints_val.json")
    metrics = coco_eval.evaluate_rows(annotations, rows_of_truth(annotations))
    assert metrics["AP"] == metrics["AR"] == 1
    # A person of one size range may be taken for a like one of the other, at the same score.
    assert min(metrics.values()) > 0.999


def test_nothing_found_scores_zero(drawn):
    assert coco_eval.evaluate_rows(drawn[0], [])["AP"] == 0
    assert coco_eval.evaluate_rows(drawn[0], [])["AR"] == 0


def test_pictures_of_nobody_have_no_score(drawn):
    rewrite(drawn[0], lambda content: content["images"].append({"id": 99, "file_name": "none.jpg"}))
    assert set(coco_eval.evaluate_rows(drawn[0], [], [99]).values()) == {-1}


def test_only_the_pictures_asked_for_count(drawn):
    annotations = coco_eval.read_annotations(drawn[0])
    rows = [row for row in rows_of_truth(annotations) if row["image_id"] in (1, 2)]
    assert coco_eval.evaluate_rows(annotations, rows, [1, 2])["AP"] == 1
    assert coco_eval.evaluate_rows(annotations, rows)["AR"] < 1


def test_joints_that_are_off_cost_and_wider_sigmas_forgive(drawn):
    annotations = coco_eval.read_annotations(drawn[0])
    rows = rows_of_truth(annotations)
    for row in rows:
        row["keypoints"] = [x + 6 * (i % 3 == 0) for i, x in enumerate(row["keypoints"])]
    off = coco_eval.evaluate_rows(annotations, rows)
    assert 0 < off["AP"] < 0.9
    assert off["AP75"] < off["AP50"]
    assert coco_eval.evaluate_rows(annotations, rows, sigmas=[1.0] * 17)["AP"] == 1


def test_the_table_is_that_of_pycocotools(drawn):
    annotations = coco_eval.read_annotations(drawn[0])
    rows = rows_of_truth(annotations)[::2]
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(annotations, annotations.loadRes([dict(row) for row in rows]), "keypoints")
        evaluator.evaluate()
        evaluator.accumulate()
    with contextlib.redirect_stdout(printed):
        evaluator.summarize()
    assert coco_eval.table(coco_eval.evaluate_rows(annotations, rows)) == printed.getvalue().rstrip("\n")


def test_ids_that_pycocotools_trips_over(drawn):
    def spoil(content):
        for annotation in content["annotations"]:
            annotation["id"] = 0

    rewrite(drawn[0], spoil)
    annotations = coco_eval.read_annotations(drawn[0])
    assert coco_eval.evaluate_rows(annotations, rows_of_truth(annotations))["AP"] == 1


def test_people_without_a_category_are_people(drawn):
    rewrite(drawn[0], lambda content: [a.pop("category_id") for a in content["annotations"]])
    annotations = coco_eval.read_annotations(drawn[0])
    assert coco_eval.evaluate_rows(annotations, rows_of_truth(annotations))["AP"] == 1


def test_rows_that_do_not_fit_are_refused(drawn):
    row = {"image_id": 77, "category_id": 1, "keypoints": [0.0] * 51, "score": 1.0}
    with pytest.raises(ValueError, match=r"do not list: \[77\]"):
        coco_eval.evaluate_rows(drawn[0], [row])
    with pytest.raises(
        ValueError, match=r"17 joints, 3 values each, expected everywhere; got lists of \[54\]"
    ):
        coco_eval.evaluate_rows(drawn[0], [{**row, "image_id": 1, "keypoints": [0.0] * 54}])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"images": [', "not a whole json file"),
        (b"[]", "holds no list of 'images'"),
        (b'{"images": [{"id": 1}]}', r"images\[0\] lacks 'file_name'"),
        (b'{"images": [5]}', r"images\[0\] is no mapping"),
        (b'{"images": [], "annotations": [5]}', r"annotations\[0\] is no mapping"),
        (b'{"images": [], "annotations": {"a": 5}}', "no list of 'annotations'"),
        (
            b'{"images": [], "annotations": [{"image_id": 1, "keypoints": 5, "num_keypoints": 1, '
            b'"bbox": [0, 0, 1, 1], "area": 1}]}',
            "keypoints, num_keypoints, bbox, area are not all numbers",
        ),
        (
            b'{"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [], "area": 1}]}',
            "people without keypoints; COCO",
        ),
        (b'{"images": [], "annotations": [{"image_id": 1, "category_id": 3}]}', "people without keypoints"),
    ],
)
def test_a_json_of_another_kind_is_refused(tmp_path, content, said):
    path = tmp_path / "instances.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        coco_eval.read_annotations(path)


# The command


def run(drawn, output, *more, model=None, monkeypatch=None):
    if model is not None:
        monkeypatch.setattr(simplepose, "load", lambda *_, **__: model)
    paths = ["--annotations", str(drawn[0]), "--images", str(drawn[1]), "--output", str(output)]
    return door(evaluate.main, ["--model", "any", *paths, *more])


def test_the_weights_that_are_asked_for_are_evaluated(drawn, tmp_path, capsys):
    assert run(drawn, tmp_path / "out", "--model", "imhn_mobile", "--weights", "swa") == 2
    assert "imhn_mobile.safetensors has no swa weights; it has raw" in capsys.readouterr().err


def test_it_writes_rows_and_metrics_and_prints_the_table(drawn, tmp_path, capsys, monkeypatch):
    assert run(drawn, tmp_path / "out", model=Oracle(*drawn), monkeypatch=monkeypatch) == 0
    rows = json.loads((tmp_path / "out/results.json").read_text())
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    scores = coco_eval.evaluate_rows(drawn[0], rows)
    assert metrics == {"preset": "default", **scores}
    assert metrics["AP"] == 1
    assert set(rows[0]) == {"image_id", "category_id", "keypoints", "score"}
    said = capsys.readouterr().out
    assert coco_eval.table(scores) in said
    assert f"5 pictures, {len(rows)} people" in said


def test_nobody_found_is_a_result(drawn, tmp_path, monkeypatch):
    assert run(drawn, tmp_path, model=Nobody(), monkeypatch=monkeypatch) == 0
    assert json.loads((tmp_path / "results.json").read_text()) == []
    assert json.loads((tmp_path / "metrics.json").read_text())["AP"] == 0


def test_limit_judges_the_first_pictures_alone(drawn, tmp_path, monkeypatch):
    oracle = Oracle(*drawn)
    assert run(drawn, tmp_path, "--limit", "2", model=oracle, monkeypatch=monkeypatch) == 0
    assert oracle.calls == 2
    assert json.loads((tmp_path / "metrics.json").read_text())["AP"] == 1


def test_unreadable_pictures_are_told_counted_and_missed(drawn, tmp_path, capsys, monkeypatch):
    oracle = Oracle(*drawn)
    (drawn[1] / "000000000001.jpg").unlink()
    cut = drawn[1] / "000000000002.jpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    assert run(drawn, tmp_path, model=oracle, monkeypatch=monkeypatch) == 1
    said, told = capsys.readouterr()
    assert "000000000001.jpg: No such file" in told
    assert "000000000002.jpg: " in told
    assert "2 pictures could not be read" in said
    assert json.loads((tmp_path / "metrics.json").read_text())["AR"] < 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_what_was_found(drawn, tmp_path, capsys, monkeypatch, number):
    (tmp_path / "metrics.json").write_text("{}")  # of an earlier run
    oracle = Oracle(*drawn, ending=3, end=number)
    assert run(drawn, tmp_path, model=oracle, monkeypatch=monkeypatch) == INTERRUPTED
    rows = json.loads((tmp_path / "results.json").read_text())
    assert {row["image_id"] for row in rows} == {1, 2}
    assert not (tmp_path / "metrics.json").exists()
    assert "interrupted, this is a part" in capsys.readouterr().out


def test_a_picture_that_the_network_fails_on_is_told_and_missed(drawn, tmp_path, capsys, monkeypatch):
    oracle = Oracle(*drawn, ending=3, end=RuntimeError("out of memory"))
    assert run(drawn, tmp_path, model=oracle, monkeypatch=monkeypatch) == 1
    rows = json.loads((tmp_path / "results.json").read_text())
    found = {row["image_id"] for row in rows}
    assert len(found) == 4
    assert json.loads((tmp_path / "metrics.json").read_text())["AR"] < 1
    (missed,) = {1, 2, 3, 4, 5} - found
    assert f"{missed:012d}.jpg, frame {missed - 1}: grouping failed: out of memory" in capsys.readouterr().err


def test_pictures_alone_give_the_servers_file(drawn, tmp_path, capsys, monkeypatch):
    oracle = Oracle(*drawn)
    rewrite(drawn[0], lambda content: content.pop("annotations"))
    for name in ("metrics.json", "results.json"):
        (tmp_path / name).write_text("{}")  # of an earlier run
    info = drawn[0].rename(drawn[0].with_name("image_info_test-dev2017.json"))
    assert run((info, drawn[1]), tmp_path, "--name", "ours", model=oracle, monkeypatch=monkeypatch) == 0
    rows = json.loads((tmp_path / "person_keypoints_test-dev2017_ours_results.json").read_text())
    assert {row["image_id"] for row in rows} == {1, 2, 3, 4, 5}
    assert "zip this file and upload it" in capsys.readouterr().out
    assert not (tmp_path / "metrics.json").exists()
    assert not (tmp_path / "results.json").exists()


def test_what_is_missing_is_named(drawn, tmp_path, capsys, monkeypatch):
    missing = tmp_path / "missing"
    assert run((missing, drawn[1]), tmp_path, model=Nobody(), monkeypatch=monkeypatch) == 2
    assert run((drawn[0], missing), tmp_path, model=Nobody(), monkeypatch=monkeypatch) == 2
    missing.mkdir()
    assert run((drawn[0], missing), tmp_path, model=Nobody(), monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert f"error: no annotations at {missing}" in told
    assert f"error: no folder of pictures at {missing}" in told
    assert "error: none of the 5 pictures could be read" in told
    assert not (tmp_path / "metrics.json").exists()
