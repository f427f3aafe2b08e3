"""Settings: strict, told by name and line, and each file in configs/ is good."""

import pytest
from places import CONFIGS

from simplepose import config
from simplepose.config import Settings
from simplepose.models import IMHN


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.name)
def test_the_files_that_ship_are_good_and_survive_writing(path):
    settings = config.load(path)
    assert config.from_text(config.to_text(settings), "again") == settings


def test_an_empty_text_gives_the_defaults():
    assert config.from_text("", "empty") == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train:\n  epochs: 3\n  epochz: 4\n", r"x.yaml, line 3: train: unknown key 'epochz'"),
        ("model:\n  stacks: two\n", r"x.yaml, line 2: model.stacks: int expected, got 'two'"),
        ("model:\n  stacks: 2.5\n", r"line 2: model.stacks: int expected"),
        ("model:\n  stacks: true\n", r"line 2: model.stacks: int expected"),
        ("model: 3\n", r"line 1: model: a mapping of keys to values expected"),
        ("augment:\n  size: [512]\n", r"line 2: augment.size: a list of 2 expected"),
        ("augment:\n  size: [500, 512]\n", r"line 2: augment: size in multiples of 64"),
        ("loss:\n  kind: l3\n", r"line 2: loss.kind: one of focal_l2, l2 expected"),
        ("model:\n  stacks: 0\n", r"stacks of at least 1"),
        ("train: {epochs: 3, epochs: 4}\n", r"given twice"),
        ("- 1\n", r"a mapping of keys to values expected, got a list"),
        ("model: [1\n", r"not valid YAML"),
        ("train:\n  epochs: \x01\n", r"x.yaml, line 2: not valid YAML"),
        ("[" * 3000, r"x.yaml: not valid YAML"),
        ("train:\n  epochs: !foo 3\n", r"x.yaml, line 2: train.epochs: int expected, got !foo '3'"),
        ("train:\n  epochs: !!int three\n", r"x.yaml, line 2: train.epochs: int expected, got 'three'"),
        ("train:\n  epochs: 2026-13-45\n", r"x.yaml, line 2: train.epochs: int expected"),
        (f"train:\n  learning_rate: {'9' * 400}\n", r"line 2: train.learning_rate: float expected"),
        (
            "train:\n  [1, 2]: 3\n",
            r"x.yaml, line 2: train: the name of a setting expected as key, got a list",
        ),
    ],
)
def test_what_is_wrong_is_told_by_name_and_line(text, told):
    with pytest.raises(ValueError, match=told):
        config.from_text(text, "x.yaml")


@pytest.mark.parametrize(
    ("part", "setting", "told"),
    [
        ("targets", "stride: 0", "stride of at least 1 expected, got 0"),
        ("targets", "keypoint_sigma: 0", "keypoint_sigma above 0 expected"),
        ("targets", "limb_sigma: -1", "limb_sigma above 0 expected"),
        ("targets", "limb_sigma: .nan", "limb_sigma above 0 expected, got nan"),
        ("targets", "threshold: 1", "threshold between 0 and 1 expected"),
        ("targets", "limb_floor: -0.1", "limb_floor of at least 0 expected"),
        ("train", "step_epochs: 0", "step_epochs above 0 expected"),
        ("train", "restart_step_epochs: 0", "restart_step_epochs above 0 expected"),
        ("train", "workers: -1", "workers of at least 0 expected"),
        ("train", "learning_rate: -1e-3", "learning_rate of at least 0 expected"),
        ("train", "warmup_epochs: -1", "warmup_epochs of at least 0 expected"),
        ("train", "ema_decay: 1", "ema_decay from 0 to below 1 expected"),
        ("train", "skips_in_a_row: 0", "skips_in_a_row of at least 1 expected"),
        ("train", "checkpoint_minutes: 0", "checkpoint_minutes above 0 expected"),
        ("train", "seed: -1", "seed of at least 0 expected"),
        ("model", "dilations: [2, 0]", "dilations of at least 1 expected"),
        ("augment", "shift: -1", "shift of at least 0 expected"),
        ("augment", "rotation: -1", "rotation of at least 0 expected"),
        ("augment", "flip_probability: 1.1", "flip_probability from 0 to 1 expected"),
        ("augment", "person_height: 0", "person_height above 0 expected"),
        ("augment", "half_body_probability: -0.1", "half_body_probability from 0 to 1 expected, got -0.1"),
        ("augment", "grey_probability: .nan", "grey_probability from 0 to 1 expected, got nan"),
        ("augment", "jpeg_quality: [0, 90]", "jpeg_quality: values of at least 1 expected, got 0"),
        ("augment", "jpeg_quality: [30, 101]", "jpeg_quality: values of at most 100 expected, got 101"),
        ("augment", "copy_paste_people: [2, 1]", "copy_paste_people: the first value must not exceed"),
        (
            "augment",
            "copy_paste_height: [0, 1]",
            "copy_paste_height: values of at least 0.01 expected",
        ),
        ("augment", "copy_paste_rotation: -1", "copy_paste_rotation of at least 0 expected"),
        ("augment", "erase_area: [0, 1.5]", "erase_area: values of at most 1 expected, got 1.5"),
        ("augment", "noise_sigma: [-1, 2]", "noise_sigma: values of at least 0 expected, got -1"),
        ("augment", "blur_sigma: [0, .inf]", "blur_sigma: values of at most 100 expected, got inf"),
        ("loss", "stack_weights: [0, 0]", "stack_weights must have a positive sum"),
    ],
)
def test_impossible_values_are_told(part, setting, told):
    with pytest.raises(ValueError, match=rf"x.yaml, line 2: {part}: {told}"):
        config.from_text(f"{part}:\n  {setting}\n", "x.yaml")


def test_a_step_is_compiled_or_recomputed_not_both():
    with pytest.raises(ValueError, match="compile and recompute: one of them"):
        config.from_text("train: {compile: true, recompute: true}", "x.yaml")


def test_the_stride_is_one():
    with pytest.raises(ValueError, match=r"grouping.stride of 4 and targets.stride of 8: the same expected"):
        config.from_text("targets: {stride: 8}", "x.yaml")
    assert config.from_text("{targets: {stride: 8}, grouping: {stride: 8}}", "x.yaml").targets.stride == 8


@pytest.mark.parametrize("text", ["train: {epochs: 3, epochs: 4}", "train: {}\ntrain: {}"])
def test_a_key_given_twice_is_told_beside_overrides_too(text):
    with pytest.raises(ValueError, match=r"x.yaml, line [12]: .*given twice"):
        config.from_text(text, "x.yaml", ["train.epochs=5"])


def test_a_list_as_key_is_told_beside_overrides_too():
    with pytest.raises(ValueError, match=r"x.yaml, line 1: train: the name of a setting expected"):
        config.from_text("train: {[1]: 2}", "x.yaml", ["train.epochs=5"])


def test_a_text_in_another_encoding_is_told(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"skeleton: \xff")
    with pytest.raises(ValueError, match=r"x.yaml: a text in UTF-8 expected"):
        config.load(tmp_path / "x.yaml")


def test_unknown_keys_can_be_left_out_with_a_warning(caplog):
    settings = config.from_text("train: {epochs: 3, warp: 9}\nextra: 1", "x.yaml", unknown="warn")
    assert settings == config.from_text("train: {epochs: 3}", "y.yaml")
    assert "x.yaml, line 1: train: unknown key 'warp'" in caplog.text
    assert "x.yaml, line 2: unknown key 'extra'" in caplog.text
    with pytest.raises(ValueError, match="epochs: int expected"):
        config.from_text("train: {epochs: three}", "x.yaml", unknown="warn")


def test_overrides_win_over_the_file():
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
def test_a_bad_override_is_told(override):
    with pytest.raises(ValueError, match="--set"):
        config.from_text("", "x.yaml", [override])


def test_a_missing_file_is_told():
    with pytest.raises(FileNotFoundError, match="configs/"):
        config.load("configs/nothing.yaml")


def test_the_published_row_has_the_published_size():
    settings = config.load(CONFIGS / "imhn4_512.yaml")
    network = IMHN.from_settings(settings.model, 50)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 129.0
