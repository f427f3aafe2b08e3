"""Settings: strict parsing, errors that name the key and line, and valid files in configs/."""

import logging
from dataclasses import replace

import pytest
from repo_paths import CONFIGS

from simplepose import config
from simplepose.config import DEPRECATED_NAMES, Settings
from simplepose.models import IMHN
from simplepose.utils.deprecation import log_deprecated


@pytest.fixture(autouse=True)
def forget_logged_names():
    """Log each deprecated name again, as in a new process."""
    log_deprecated.cache_clear()


def with_old_names(text: str) -> str:
    """Replace the new names in settings that `to_text` wrote by the old ones."""
    for old, new in DEPRECATED_NAMES.items():
        if new == "":
            text = text.replace(
                f"{old.split('.')[0]}:\n", f"{old.replace('.', ':' + chr(10) + '  ')}: [1.0]\n", 1
            )
            continue
        section, name = new.split(".")
        start = text.index(f"{section}:")
        before, after = name.replace("=", ": "), old.partition(".")[2].replace("=", ": ")
        assert before in text[start:]
        text = text[:start] + text[start:].replace(before, after, 1)
    return text


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.name)
def test_released_settings_files_load_and_round_trip(path):
    settings = config.load(path)
    assert config.from_text(config.to_text(settings), "again") == settings


def test_empty_text_gives_the_defaults():
    assert config.from_text("", "empty") == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  epochs: 3\n  epochz: 4\n", r"x.yaml, line 3: train: unknown key 'epochz'"),
        ("model:\n  stacks: two\n", r"x.yaml, line 2: model.stacks: expected int, got 'two'"),
        ("model:\n  stacks: 2.5\n", r"line 2: model.stacks: expected int"),
        ("model:\n  stacks: true\n", r"line 2: model.stacks: expected int"),
        ("model: 3\n", r"line 1: model: expected a mapping of keys to values"),
        ("augment:\n  size: [512]\n", r"line 2: augment.size: expected a list of 2 values"),
        ("augment:\n  size: [500, 512]\n", r"line 2: augment: size: expected multiples of 64"),
        ("loss:\n  kind: l3\n", r"line 2: loss.kind: expected one of focal_l2, l2"),
        ("model:\n  stacks: 0\n", r"stacks: expected a value >= 1"),
        ("train: {epochs: 3, epochs: 4}\n", r"given twice"),
        ("- 1\n", r"expected a mapping of keys to values, got a list"),
        ("model: [1\n", r"not valid YAML"),
        ("train:\n  epochs: \x01\n", r"x.yaml, line 2: not valid YAML"),
        ("[" * 3000, r"x.yaml: not valid YAML"),
        ("train:\n  epochs: !foo 3\n", r"x.yaml, line 2: train.epochs: expected int, got !foo '3'"),
        ("train:\n  epochs: !!int three\n", r"x.yaml, line 2: train.epochs: expected int, got 'three'"),
        ("train:\n  epochs: 2026-13-45\n", r"x.yaml, line 2: train.epochs: expected int"),
        (f"train:\n  learning_rate: {'9' * 400}\n", r"line 2: train.learning_rate: expected float"),
        (
            "train:\n  [1, 2]: 3\n",
            r"x.yaml, line 2: train: expected a setting name as key, got a list",
        ),
    ],
)
def test_invalid_text_is_reported_by_key_and_line(text, message):
    with pytest.raises(ValueError, match=message):
        config.from_text(text, "x.yaml")


@pytest.mark.parametrize(
    ("part", "setting", "message"),
    [
        ("targets", "stride: 0", "stride: expected a value >= 1, got 0"),
        ("targets", "keypoint_sigma: 0", "keypoint_sigma: expected a value > 0"),
        ("targets", "limb_sigma: -1", "limb_sigma: expected a value > 0"),
        ("targets", "limb_sigma: .nan", "limb_sigma: expected a value > 0, got nan"),
        ("targets", "threshold: 1", "threshold: expected a value between 0 and 1"),
        ("targets", "limb_floor: -0.1", "limb_floor: expected a value >= 0"),
        ("train", "step_epochs: 0", "step_epochs: expected a value > 0"),
        ("train", "restart_step_epochs: 0", "restart_step_epochs: expected a value > 0"),
        ("train", "workers: -1", "workers: expected a value >= 0"),
        ("train", "learning_rate: -1e-3", "learning_rate: expected a value >= 0"),
        ("train", "warmup_epochs: -1", "warmup_epochs: expected a value >= 0"),
        ("train", "ema_decay: 1", "ema_decay: expected a value in \\[0, 1\\)"),
        ("train", "max_consecutive_skips: 0", "max_consecutive_skips: expected a value >= 1"),
        ("train", "checkpoint_minutes: 0", "checkpoint_minutes: expected a value > 0"),
        ("train", "seed: -1", "seed: expected a value >= 0"),
        ("model", "dilations: [2, 0]", "dilations: expected values >= 1"),
        ("augment", "shift: -1", "shift: expected a value >= 0"),
        ("augment", "rotation: -1", "rotation: expected a value >= 0"),
        ("augment", "flip_probability: 1.1", "flip_probability: expected a value from 0 to 1"),
        ("augment", "person_height: 0", "person_height: expected a value >= 0.01"),
        (
            "augment",
            "half_body_probability: -0.1",
            "half_body_probability: expected a value from 0 to 1, got -0.1",
        ),
        ("augment", "gray_probability: .nan", "gray_probability: expected a value from 0 to 1, got nan"),
        ("augment", "jpeg_quality: [0, 90]", "jpeg_quality: expected values >= 1, got 0"),
        ("augment", "jpeg_quality: [30, 101]", "jpeg_quality: expected values <= 100, got 101"),
        ("augment", "copy_paste_people: [2, 1]", "copy_paste_people: expected the first value <= the second"),
        (
            "augment",
            "copy_paste_height: [0, 1]",
            "copy_paste_height: expected values >= 0.01",
        ),
        ("augment", "copy_paste_rotation: -1", "copy_paste_rotation: expected a value >= 0"),
        ("augment", "erase_area: [0, 1.5]", "erase_area: expected values <= 1, got 1.5"),
        ("augment", "blur_sigma: [-1, 2]", "blur_sigma: expected values >= 0, got -1"),
        ("augment", "blur_sigma: [0, .inf]", "blur_sigma: expected values <= 100, got inf"),
        ("loss", "stack_weights: [0, 0]", "stack_weights: expected a sum > 0"),
    ],
)
def test_values_out_of_range_are_rejected(part, setting, message):
    with pytest.raises(ValueError, match=rf"x.yaml, line 2: {part}: {message}"):
        config.from_text(f"{part}:\n  {setting}\n", "x.yaml")


def test_compile_and_activation_checkpointing_exclude_each_other():
    with pytest.raises(
        ValueError, match="compile and activation_checkpointing: expected at most one of them"
    ):
        config.from_text("train: {compile: true, activation_checkpointing: true}", "x.yaml")


def test_strides_of_targets_and_grouping_must_be_equal():
    with pytest.raises(ValueError, match=r"grouping.stride: expected targets.stride, which is 8, got 4"):
        config.from_text("targets: {stride: 8}", "x.yaml")
    assert config.from_text("{targets: {stride: 8}, grouping: {stride: 8}}", "x.yaml").targets.stride == 8


@pytest.mark.parametrize("text", ["train: {epochs: 3, epochs: 4}", "train: {}\ntrain: {}"])
def test_duplicate_keys_are_rejected_with_overrides_too(text):
    with pytest.raises(ValueError, match=r"x.yaml, line [12]: .*given twice"):
        config.from_text(text, "x.yaml", ["train.epochs=5"])


def test_a_list_as_key_is_rejected_with_overrides_too():
    with pytest.raises(ValueError, match=r"x.yaml, line 1: train: expected a setting name"):
        config.from_text("train: {[1]: 2}", "x.yaml", ["train.epochs=5"])


def test_text_in_another_encoding_is_rejected(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"skeleton: \xff")
    with pytest.raises(ValueError, match=r"x.yaml: expected UTF-8 text"):
        config.load(tmp_path / "x.yaml")


def test_unknown_keys_can_be_ignored_with_a_warning(caplog):
    settings = config.from_text("train: {epochs: 3, warp: 9}\nextra: 1", "x.yaml", unknown="warn")
    assert settings == config.from_text("train: {epochs: 3}", "y.yaml")
    assert "x.yaml, line 1: train: unknown key 'warp'" in caplog.text
    assert "x.yaml, line 2: unknown key 'extra'" in caplog.text
    with pytest.raises(ValueError, match="epochs: expected int"):
        config.from_text("train: {epochs: three}", "x.yaml", unknown="warn")


def test_overrides_take_precedence_over_the_file():
    overrides = [
        "train.epochs=7",
        "train.learning_rate=1e-3",
        "model.dilations=[]",
        "train.restart_epoch=null",
    ]
    settings = config.from_text("train: {epochs: 3, batch_size: 9}", "x.yaml", overrides)
    assert (settings.train.epochs, settings.train.batch_size, settings.train.learning_rate) == (7, 9, 1e-3)
    assert settings.model.dilations == ()
    assert settings.train.restart_epoch is None


@pytest.mark.parametrize("override", ["train.epocs=3", "train.epochs", "train.epochs=", "=3"])
def test_invalid_overrides_are_rejected(override):
    with pytest.raises(ValueError, match="--set"):
        config.from_text("", "x.yaml", [override])


def test_a_missing_file_is_reported():
    with pytest.raises(FileNotFoundError, match="configs/"):
        config.load("configs/nothing.yaml")


def test_the_published_settings_give_the_published_network_size():
    settings = config.load(CONFIGS / "imhn4_512.yaml")
    network = IMHN.from_settings(settings.model, 50)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 129.0


@pytest.fixture
def renamed_settings() -> Settings:
    """Settings that have each value with an old name."""
    settings = Settings()
    return replace(settings, augment=replace(settings.augment, framing="image"))


def test_old_names_in_text_are_read_and_each_is_logged_once(renamed_settings, caplog):
    text = with_old_names(config.to_text(renamed_settings))
    for _ in range(2):
        assert config.from_text(text, "x.yaml") == renamed_settings
    assert sorted(caplog.messages) == [
        f"deprecated: {old} is now {new}" if new else f"deprecated: {old} was removed and has no effect"
        for old, new in sorted(DEPRECATED_NAMES.items())
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_old_names_in_stored_settings_are_not_logged(renamed_settings, caplog):
    text = with_old_names(config.to_text(renamed_settings))
    assert config.from_text(text, "x.pt", log_deprecated=False) == renamed_settings
    assert not caplog.messages


@pytest.mark.parametrize(
    ("override", "old", "section", "name", "value"),
    [
        ("train.keep=7", "train.keep", "train", "keep_checkpoints", 7),
        ("grouping={loose_joints: 1}", "grouping.loose_joints", "grouping", "max_unassigned_keypoints", 1),
        ("augment.framing=picture", "augment.framing=picture", "augment", "framing", "image"),
        ("tracking.trust = 2", "tracking.trust", "tracking", "max_lost_ratio", 2),
    ],
)
@pytest.mark.parametrize("text", ["", "train: {keep_checkpoints: 4}", "train: {keep: 4}"])
def test_old_names_in_overrides_are_read_and_logged(override, old, section, name, value, text, caplog):
    expected = config.from_text(text, "x.yaml", log_deprecated=False)
    for settings in (
        config.from_text(text, "x.yaml", [override]),
        config.apply_overrides(expected, [override], "x.yaml"),
    ):
        part = getattr(expected, section)
        assert settings == replace(expected, **{section: replace(part, **{name: value})})
    in_file = {"train.keep"} if text == "train: {keep: 4}" else set()
    assert {message.split()[1] for message in caplog.messages} == {old, *in_file}
    assert len(caplog.messages) == len({old, *in_file})


@pytest.mark.parametrize("new", ["train.keep_checkpoints=5", "train={keep_checkpoints: 5}"])
def test_an_override_with_the_new_name_replaces_the_old_name_in_the_file(new):
    assert config.from_text("train: {keep: 4}", "x.yaml", [new]).train.keep_checkpoints == 5


def test_old_and_new_name_of_one_setting_are_rejected():
    message = "train: 'keep' is the old name of 'keep_checkpoints'; give only 'keep_checkpoints'"
    with pytest.raises(ValueError, match=f"x.yaml, line 3: {message}"):
        config.from_text("train:\n  keep_checkpoints: 3\n  keep: 3\n", "x.yaml")
    overrides = ["train.keep=3", "train.keep_checkpoints=3"]
    with pytest.raises(ValueError, match=f"--set train.keep=3, line 1: {message}"):
        config.from_text("", "x.yaml", overrides)
    with pytest.raises(ValueError, match=f"--set train.keep=3, line 1: {message}"):
        config.apply_overrides(Settings(), overrides, "x.yaml")


def test_errors_about_old_names_state_the_new_names():
    with pytest.raises(ValueError, match=r"line 1: train.keep_checkpoints: expected int, got 'x'"):
        config.from_text("train: {keep: x}", "x.yaml")
    with pytest.raises(
        ValueError, match=r"--set train.keep=0, line 1: train: keep_checkpoints: expected a value"
    ):
        config.from_text("train: {epochs: 3}", "x.yaml", ["train.keep=0"])
    with pytest.raises(ValueError, match=r"unknown key 'kept'; expected one of .*keep_checkpoints"):
        config.from_text("train: {kept: 1}", "x.yaml")


def test_an_old_name_in_another_section_is_unknown():
    with pytest.raises(ValueError, match="grouping: unknown key 'keep'"):
        config.from_text("grouping: {keep: 3}", "x.yaml")


@pytest.mark.parametrize(
    "text", ["train: &a {epochs: *a}", "&a {train: *a}", "train: [1]", "3", "a: {[1]: 2}"]
)
def test_text_of_another_structure_is_rejected(text):
    with pytest.raises(ValueError, match=r"x.yaml, line 1: .*(expected|unknown)"):
        config.from_text(text, "x.yaml")


def test_overrides_of_settings_change_only_what_they_state():
    before = config.from_text("train: {epochs: 3, batch_size: 9}\nskeleton: mpii", "x.yaml")
    overrides = ["train.epochs=7", "model.dilations=[]", "train.restart_epoch=null", "train.epochs=8"]
    settings = config.apply_overrides(before, overrides, "a file")
    assert settings == config.from_text(
        "train: {epochs: 3, batch_size: 9}\nskeleton: mpii", "x.yaml", overrides
    )
    assert (settings.train.epochs, settings.train.batch_size, settings.skeleton) == (8, 9, "mpii")
    assert config.apply_overrides(before, [], "a file") == before


def test_overrides_of_settings_are_checked_together():
    settings = config.apply_overrides(Settings(), ["targets.stride=8", "grouping.stride=8"], "a file")
    assert (settings.targets.stride, settings.grouping.stride) == (8, 8)
    with pytest.raises(
        ValueError, match=r"a file: grouping.stride: expected targets.stride, which is 8, got 4"
    ):
        config.apply_overrides(Settings(), ["targets.stride=8"], "a file")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.epocs=3",
            "--set train.epocs=3, line 1: train: unknown key 'epocs'; expected one of .*epochs",
        ),
        ("train.epochs=x", "--set train.epochs=x, line 1: train.epochs: expected int, got 'x'"),
        ("train.epochs=0", "--set train.epochs=0, line 1: train: epochs: expected a value >= 1, got 0"),
        ("train.epochs", "--set 'train.epochs': expected key=value"),
        ("train=3", "--set train=3, line 1: train: expected a mapping"),
        ("train.epochs.x=3", "--set train.epochs.x=3, line 1: train.epochs: expected int, got a mapping"),
    ],
)
def test_invalid_overrides_of_settings_are_rejected(override, message):
    with pytest.raises(ValueError, match=message):
        config.apply_overrides(Settings(), ["train.batch_size=2", override], "a file")


def test_a_file_without_a_mapping_is_rejected_with_overrides_too():
    with pytest.raises(ValueError, match=r"x.yaml, line 1: expected a mapping of keys to values, got a list"):
        config.from_text("- 1", "x.yaml", ["train.epochs=3"])
