"""Options that several commands take, as their users write them."""

import pytest
import torch

from simplepose import config
from simplepose.cli import (
    arguments,
    benchmark,
    demo_image,
    demo_video,
    draw_targets,
    evaluate,
    plot_schedule,
    train,
)

FILES = {
    evaluate: ["--model", "imhn_mobile", "--annotations", "a.json", "--images", "i", "--output", "o"],
    demo_video: ["--source", "a.mp4"],
    draw_targets: ["--config", "c", "--samples", "s", "--output", "o"],
    train: ["--config", "c", "--train", "t", "--output", "o"],
    plot_schedule: ["c.yaml"],
    demo_image: [],
    benchmark: [],
}
WITH_SET = pytest.mark.parametrize("verb", FILES, ids=lambda verb: verb.__name__.rpartition(".")[2])


def parsed(verb, *words):
    return verb.parser().parse_args(words)


@WITH_SET
@pytest.mark.parametrize(
    "words",
    [
        ["--set", "a.b=1", "c.d=[1, 2]", "e = x=y"],
        ["--set", "a.b=1", "--set", "c.d=[1, 2]", "--set", "e = x=y"],
        ["--set=a.b=1", "--set", "c.d=[1, 2]", "e = x=y"],
    ],
)
def test_settings_follow_one_set_or_each_its_own(verb, words):
    expected = ["a.b=1", "c.d=[1, 2]", "e = x=y"]
    assert parsed(verb, *FILES[verb], *words).set == expected
    assert parsed(verb, *words, *FILES[verb]).set == expected
    assert parsed(verb, *FILES[verb]).set == []


@pytest.mark.parametrize("verb", [demo_image, benchmark])
def test_pictures_after_a_setting_are_pictures(verb):
    paths = ["pictures/", "a b.jpg", "/data/run=3/x.png"]
    for words in (["--set", "a.b=1", *paths], ["--set", "a.b=1", "c.d=2", "--batch", "2", *paths]):
        args = parsed(verb, *words)
        assert args.paths == paths
        assert args.set == [word for word in ("a.b=1", "c.d=2") if word in words]


def test_settings_files_after_a_setting_are_settings_files():
    args = parsed(plot_schedule, "--set", "train.epochs=3", "a.yaml", "b.yaml")
    assert (args.configs, args.set) == (["a.yaml", "b.yaml"], ["train.epochs=3"])


def test_weighted_files_are_no_settings():
    args = parsed(train, *FILES[train], "--train", "a.h5", "b.h5=0.5", "--set", "a=1")
    assert [str(source.path) for source in args.train] == ["a.h5", "b.h5"]
    assert args.set == ["a=1"]


def test_a_set_without_a_setting_is_told(capsys):
    with pytest.raises(SystemExit, match="2"):
        parsed(demo_image, "--set")
    assert "--set" in capsys.readouterr().err
    args = parsed(demo_image, "--set", "pictures/")
    with pytest.raises(ValueError, match=r"--set 'pictures/': expected key=value"):
        config.from_text("", "a file", args.set)


def test_the_command_line_itself_is_read_so(monkeypatch):
    monkeypatch.setattr("sys.argv", ["demo", "--set", "a.b=1", "c.d=2", "pictures/"])
    args = demo_image.parser().parse_args()
    assert (args.paths, args.set) == (["pictures/"], ["a.b=1", "c.d=2"])


@pytest.mark.parametrize(
    ("named", "rank", "own"),
    [
        ("cuda", "6", "cuda:2"),
        ("cuda", "0", "cuda:0"),
        ("cuda", None, "cuda"),
        ("cuda:3", "6", "cuda:3"),
        ("cpu", "6", "cpu"),
    ],
)
def test_processes_of_a_launcher_share_the_gpus_out(monkeypatch, named, rank, own):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert arguments.own_gpu(torch.device(named)) == torch.device(own)
