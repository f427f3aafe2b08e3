"""The command `compare`, and `evaluate --results`: no network runs."""

import json

import pytest
from planted_errors import perfect_rows, plant, write_annotations

from simplepose.cli import compare, evaluate, run_command


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Annotations, and evaluations of perfect results and of results with jitter."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "images").mkdir()
    truth = write_annotations(folder / "person_keypoints.json")
    for name, rows in (("perfect", perfect_rows(truth)), ("jitter", plant(truth, "jitter", 0.5)[0])):
        (folder / f"{name}.json").write_text(json.dumps(rows))
        assert evaluate_results(folder, folder / f"{name}.json", folder / name) == 0
    return folder


def evaluate_results(folder, results, output, *options):
    arguments = ["--annotations", folder / "person_keypoints.json", "--images", folder / "images"]
    arguments += ["--results", results, "--output", output, *options]
    return run_command(evaluate.main, [str(argument) for argument in arguments])


def test_results_of_others_are_evaluated(folders):
    metrics = json.loads((folders / "perfect/metrics.json").read_text())
    assert metrics["AP"] == pytest.approx(1)
    assert metrics["results"] == str(folders / "perfect.json")
    assert json.loads((folders / "jitter/errors.json").read_text())["gains"]["jitter"]["AP"] > 0.1
    assert (folders / "jitter/report.html").stat().st_size > 10_000


def test_differences_and_changed_images_are_printed(folders, capsys):
    assert compare.main([str(folders / "jitter"), str(folders / "perfect")]) == 0
    lines = capsys.readouterr().out.splitlines()
    ap = next(line for line in lines if line.startswith("AP "))
    assert " 1.000 " in ap
    assert ap.endswith("*")
    assert sum(".jpg" in line for line in lines) == compare.MAX_CHANGED_IMAGES


def test_equal_evaluations_do_not_differ(folders, capsys):
    assert compare.main([str(folders / "jitter"), str(folders / "jitter")]) == 0
    output = capsys.readouterr().out
    assert "no image changed" in output
    assert "]  *" not in output


def test_evaluations_of_other_images_are_refused(folders, tmp_path, capsys):
    assert evaluate_results(folders, folders / "jitter.json", tmp_path / "part", "--limit", "5") == 0
    assert run_command(compare.main, [str(tmp_path / "part"), str(folders / "jitter")]) == 2
    assert "expected evaluations of the same images" in capsys.readouterr().err


def test_a_report_shows_the_differences_from_a_chosen_evaluation(folders, tmp_path, capsys):
    output, chosen = tmp_path / "run", str(folders / "perfect")
    assert evaluate_results(folders, folders / "jitter.json", output, "--compare-to", chosen) == 0
    text = (output / "report.html").read_text()
    assert f"against {chosen}" in text
    assert "95 % interval" in text
    options = ("--limit", "5", "--compare-to", chosen)
    assert evaluate_results(folders, folders / "jitter.json", tmp_path / "part", *options) == 2
    assert "expected evaluations of the same images" in capsys.readouterr().err
    assert not (tmp_path / "part/report.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda row: row.update(image_id="1"),
            "result 1: expected the id of an image in the annotations, got '1'",
        ),
        (
            lambda row: row.update(image_id=99),
            "result 1: expected the id of an image in the annotations, got 99",
        ),
        (lambda row: row.update(keypoints=[1, 2]), "result 1, image 1: expected 51 finite keypoint values"),
        (
            lambda row: row.update(score=None),
            "result 1, image 1: expected 51 finite keypoint values and a score",
        ),
        (lambda row: row["keypoints"].__setitem__(0, float("nan")), "result 1, image 1"),
        (lambda row: row["keypoints"].__setitem__(0, 10**400), "result 1, image 1: expected 51 finite"),
        (lambda row: row["keypoints"].__setitem__(0, True), "result 1, image 1: expected 51 finite"),
    ],
)
def test_malformed_results_are_refused_by_entry(folders, tmp_path, capsys, change, message):
    rows = json.loads((folders / "perfect.json").read_text())
    change(rows[1])
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    assert evaluate_results(folders, tmp_path / "rows.json", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
