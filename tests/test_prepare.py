"""The command `prepare`: what it writes, what it says, how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from drawn_coco import write_drawn_coco

from simplepose.cli import INTERRUPTED, door, prepare
from simplepose.data.hdf5 import SampleFile

TOOL = Path(__file__).resolve().parents[1] / "tools/prepare_coco.py"


def arguments(annotations: Path, images: Path, output: Path, *more: str) -> list[str]:
    return ["--annotations", str(annotations), "--images", str(images), "--output", str(output), *more]


@pytest.fixture
def drawn(tmp_path):
    return write_drawn_coco(tmp_path / "coco", pictures=5)


def summary(text: str) -> dict[str, str]:
    """The lines of the summary: name -> value."""
    return dict(map(str.strip, line.split("  ", 1)) for line in map(str.strip, text.splitlines()))


def test_the_summary_counts_what_was_written(drawn, tmp_path, capsys):
    output = tmp_path / "out" / "a.h5"
    assert prepare.main(arguments(*drawn, output)) == 0
    said, progress = capsys.readouterr()
    assert "preparing a.h5" in progress
    labelled = sum(a["num_keypoints"] > 0 for a in json.loads(drawn[0].read_text())["annotations"])
    file = SampleFile(output)
    assert summary(said) == {
        "pictures": "5 of 5",
        "people with keypoints": str(labelled),
        "samples": str(len(file)),
        "skipped pictures": "0",
        "bytes": f"{output.stat().st_size:,} in {output}",
    }
    assert len(file.pictures) == 5


def test_faults_are_told_counted_and_in_the_exit_status(drawn, tmp_path, capsys):
    images = drawn[1]
    (images / "000000000002.jpg").unlink()
    damaged = images / "000000000004.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert prepare.main(arguments(*drawn, tmp_path / "a.h5")) == 1
    said, told = capsys.readouterr()
    assert "skipped picture 2: picture missing: " in told
    assert "skipped picture 4: picture damaged: " in told
    counts = summary(said)
    assert counts["pictures"] == "3 of 5"
    assert (counts["skipped pictures"], counts["picture missing"], counts["picture damaged"]) == (
        "2",
        "1",
        "1",
    )
    assert SampleFile(tmp_path / "a.h5").pictures == [1, 3, 5]


def test_a_picture_without_a_main_person_is_no_fault(drawn, tmp_path, capsys):
    content = json.loads(drawn[0].read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 3]
    drawn[0].write_text(json.dumps(content))
    assert prepare.main(arguments(*drawn, tmp_path / "a.h5")) == 0
    said, told = capsys.readouterr()
    assert "skipped" not in told
    assert summary(said)["no main person"] == "1"
    assert SampleFile(tmp_path / "a.h5").pictures == [1, 2, 4, 5]


def test_first_and_rest_are_a_split(drawn, tmp_path, capsys):
    assert prepare.main(arguments(*drawn, tmp_path / "first.h5", "--only-first", "2")) == 0
    assert summary(capsys.readouterr().out)["pictures"] == "2 of 2 (the json lists 5)"
    assert prepare.main(arguments(*drawn, tmp_path / "rest.h5", "--skip-first", "2")) == 0
    assert prepare.main(arguments(*drawn, tmp_path / "one.h5", "--skip-first", "2", "--only-first", "1")) == 0
    written = [SampleFile(tmp_path / f"{name}.h5").pictures for name in ("first", "rest", "one")]
    assert written == [[1, 2], [3, 4, 5], [3]]


@pytest.mark.parametrize("number", ["-1", "1.5", "few"])
def test_an_odd_number_of_pictures_is_refused(drawn, tmp_path, number, capsys):
    with pytest.raises(SystemExit, match="2"):
        prepare.main(arguments(*drawn, tmp_path / "a.h5", f"--only-first={number}"))
    assert f"a number of pictures, at least 0, is expected, got '{number}'" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--skip-first", "5"], ["--only-first", "0"]])
def test_no_sample_at_all_is_an_error_and_leaves_no_file(drawn, tmp_path, more):
    with pytest.raises(ValueError, match="not one training sample from 0 pictures"):
        prepare.main(arguments(*drawn, tmp_path / "out/a.h5", *more))
    assert list((tmp_path / "out").iterdir()) == []


def test_the_wrong_folder_is_an_error_that_says_why(drawn, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status = door(prepare.main, arguments(drawn[0], tmp_path / "empty", tmp_path / "a.h5"))
    assert status == 2
    assert "not one training sample from 5 pictures: 5 picture missing; nothing" in capsys.readouterr().err


def test_ctrl_c_leaves_what_was_there(drawn, tmp_path, monkeypatch):
    output = tmp_path / "out" / "a.h5"
    output.parent.mkdir()
    output.write_text("an older file")
    done = []

    def interrupted(picture, images):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(picture)
        return original(picture, images)

    original = prepare.prepare_picture
    monkeypatch.setattr(prepare, "prepare_picture", interrupted)
    assert door(prepare.main, arguments(*drawn, output)) == INTERRUPTED
    assert [(file.name, file.read_text()) for file in output.parent.iterdir()] == [("a.h5", "an older file")]


def test_the_tool_makes_a_file_and_tells_what_is_missing_in_one_line(drawn, tmp_path):
    def tool(*args: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, TOOL, *args], capture_output=True, text=True, check=False)

    assert tool(*arguments(*drawn, tmp_path / "a.h5")).returncode == 0
    assert len(SampleFile(tmp_path / "a.h5").pictures) == 5
    missing = tool(*arguments(drawn[0], tmp_path / "absent", tmp_path / "b.h5"))
    assert missing.returncode == 2
    assert missing.stderr.splitlines() == [
        f"error: no folder of pictures at {tmp_path / 'absent'}; COCO's is expected, see data/README.md"
    ]
