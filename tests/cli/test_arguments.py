"""Command-line options that several commands share."""

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
    plot_run,
    plot_schedule,
    train,
)
from simplepose.utils.deprecation import log_deprecated

REQUIRED_ARGUMENTS = {
    evaluate: ["--model", "imhn_mobile", "--annotations", "a.json", "--images", "i", "--output", "o"],
    demo_video: ["--source", "a.mp4"],
    draw_targets: ["--config", "c", "--samples", "s", "--output", "o"],
    train: ["--config", "c", "--train", "t", "--output", "o"],
    plot_schedule: ["c.yaml"],
    demo_image: [],
    benchmark: [],
}
ALL_COMMANDS = pytest.mark.parametrize(
    "command", REQUIRED_ARGUMENTS, ids=lambda command: command.__name__.rpartition(".")[2]
)


def parse(command, *words):
    return command.build_parser().parse_args(words)


@ALL_COMMANDS
@pytest.mark.parametrize(
    "words",
    [
        ["--set", "a.b=1", "c.d=[1, 2]", "e = x=y"],
        ["--set", "a.b=1", "--set", "c.d=[1, 2]", "--set", "e = x=y"],
        ["--set=a.b=1", "--set", "c.d=[1, 2]", "e = x=y"],
    ],
)
def test_set_takes_several_settings_or_is_repeated(command, words):
    expected = ["a.b=1", "c.d=[1, 2]", "e = x=y"]
    assert parse(command, *REQUIRED_ARGUMENTS[command], *words).set == expected
    assert parse(command, *words, *REQUIRED_ARGUMENTS[command]).set == expected
    assert parse(command, *REQUIRED_ARGUMENTS[command]).set == []


@pytest.mark.parametrize("command", [demo_image, benchmark])
def test_paths_after_a_setting_are_paths(command):
    paths = ["images/", "a b.jpg", "/data/run=3/x.png"]
    for words in (["--set", "a.b=1", *paths], ["--set", "a.b=1", "c.d=2", "--batch", "2", *paths]):
        args = parse(command, *words)
        assert args.paths == paths
        assert args.set == [word for word in ("a.b=1", "c.d=2") if word in words]


def test_settings_files_after_a_setting_are_not_settings():
    args = parse(plot_schedule, "--set", "train.epochs=3", "a.yaml", "b.yaml")
    assert (args.configs, args.set) == (["a.yaml", "b.yaml"], ["train.epochs=3"])


def test_weighted_files_are_not_settings():
    args = parse(train, *REQUIRED_ARGUMENTS[train], "--train", "a.h5", "b.h5=0.5", "--set", "a=1")
    assert [str(source.path) for source in args.train] == ["a.h5", "b.h5"]
    assert args.set == ["a=1"]


def test_set_without_a_setting_is_an_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(demo_image, "--set")
    assert "--set" in capsys.readouterr().err
    args = parse(demo_image, "--set", "images/")
    with pytest.raises(ValueError, match=r"--set 'images/': expected key=value"):
        config.from_text("", "a file", args.set)


def test_set_in_sys_argv_is_parsed_the_same_way(monkeypatch):
    monkeypatch.setattr("sys.argv", ["demo", "--set", "a.b=1", "c.d=2", "images/"])
    args = demo_image.build_parser().parse_args()
    assert (args.paths, args.set) == (["images/"], ["a.b=1", "c.d=2"])


@pytest.mark.parametrize(
    ("requested", "rank", "expected"),
    [
        ("cuda", "6", "cuda:2"),
        ("cuda", "0", "cuda:0"),
        ("cuda", None, "cuda"),
        ("cuda:3", "6", "cuda:3"),
        ("cpu", "6", "cpu"),
    ],
)
def test_each_process_of_a_launcher_gets_its_own_gpu(monkeypatch, requested, rank, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert arguments.device_of_process(torch.device(requested)) == torch.device(expected)


@pytest.mark.parametrize(
    ("command", "words", "old", "new", "value"),
    [
        (demo_image, [], "--colours", "--colors", "limb"),
        (demo_video, REQUIRED_ARGUMENTS[demo_video], "--colours", "--colors", "limb"),
        (plot_run, ["run"], "--along", "--x-axis", "step"),
    ],
)
def test_the_old_name_of_an_option_is_accepted_and_logged_once(
    command, words, old, new, value, caplog, capsys
):
    log_deprecated.cache_clear()
    expected = parse(command, *words, new, value)
    assert not caplog.messages
    for _ in range(2):
        assert parse(command, *words, old, value) == parse(command, *words, f"{old}={value}") == expected
    assert caplog.messages == [f"deprecated: {old} is now {new}"]
    with pytest.raises(SystemExit, match="2"):
        parse(command, *words, old, "other")
    assert f"argument {old}: invalid choice: 'other'" in capsys.readouterr().err
    assert new in command.build_parser().format_help()
    assert f"{old} " not in command.build_parser().format_help()
