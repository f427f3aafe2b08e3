"""FastPose trains on crops through the same files, trainer and command as the bottom-up network."""

import json

import numpy as np
import pytest
import torch
from records import blank_record
from repo_paths import CONFIGS
from trainers import make_batch, make_settings

from simplepose import config, targets
from simplepose.cli import run_command, train
from simplepose.config import TargetSettings, TrainSettings
from simplepose.data.dataset import TrainingSamples
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.transforms import augment
from simplepose.data.transforms.augment import AugmentParams
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.training.optim import learning_rate_at
from simplepose.training.trainer import Trainer

CPU = torch.device("cpu")
CROPS = (
    *("network=fastpose", "fastpose.encoder=mobilenet_v2", "fastpose.encoder_multiplier=0.2"),
    *("fastpose.widths=[16,8,8]", "loss.kind=l2", "loss.scale_weights=[1.0]", "targets.keypoint_sigma=8"),
    *("augment.framing=crop", "augment.person_height=0.8", "augment.size=[64,64]"),
)


def make_joints(points, people=1):
    """(1, P, J, 3) joints; all people have the same labeled keypoints, {name: (x, y)}."""
    keypoints = np.zeros((people, 17, 3), np.float32)
    for name, point in points.items():
        keypoints[:, COCO.annotated.index(name)] = (*point, 2)
    return torch.from_numpy(COCO.to_network(keypoints))[None]


def test_only_the_main_person_is_drawn():
    joints = make_joints({"nose": (17.5, 29.5), "left_hip": (40, 40)}, people=2)
    joints[0, 1, :, :2] += 20
    maps, weights = targets.draw_crops(joints, (16, 16), COCO, TargetSettings(keypoint_sigma=8), CPU)
    alone, _ = targets.draw_crops(joints[:, :1], (16, 16), COCO, TargetSettings(keypoint_sigma=8), CPU)
    assert maps.shape == weights.shape == (1, 17, 16, 16)
    assert torch.equal(maps, alone)
    nose = maps[0, COCO.annotated.index("nose")]
    assert (nose.max(), nose.argmax()) == (1, 7 * 16 + 4)  # cell k is at 4 k + 1.5
    assert nose[7, 6] == pytest.approx(np.exp(-0.5))  # sigma is 2 cells
    labeled = [COCO.annotated.index(name) for name in ("nose", "left_hip")]
    assert weights[0, :, 0, 0].nonzero().flatten().tolist() == labeled


@pytest.mark.parametrize(
    "point", [(-0.6, 9), (9, -5), (63.5, 9), (9, 200), (float("nan"), 9), (9, float("inf"))]
)
def test_joints_outside_the_crop_do_not_count(point):
    maps, weights = targets.draw_crops(
        make_joints({"nose": point, "left_eye": (63.4, 63.4), "right_eye": (-0.5, -0.5)}),
        (16, 16),
        COCO,
        TargetSettings(),
        CPU,
    )
    counts = weights[0, :, 0, 0].tolist()
    assert counts[:3] == [0, 1, 1]
    assert not maps[0, 0].any()


def test_samples_without_people_have_no_weight():
    maps, weights = targets.draw_crops(torch.zeros(2, 0, 18, 3), (16, 16), COCO, TargetSettings(), CPU)
    assert maps.shape == weights.shape == (2, 17, 16, 16)
    assert not weights.any()


def test_every_person_gives_a_crop(samples_file):
    main, every = SampleFile(samples_file), SampleFile(samples_file, every_person=True)
    assert len(every) == every.contents().people >= len(main)
    settings = make_settings(*CROPS)
    samples = TrainingSamples(samples_file, settings, COCO, augmented=False)
    assert len(samples) == len(every)
    for index in range(len(samples)):
        record = every[index]
        assert every.image_ids[every.sample_image_rows[index]] == record.image_id
        joints = samples[(0, index)].joints[0]
        x, y = joints[joints[:, 2] > 0, :2].T
        assert min(x.min(), y.min()) > 0  # the annotated box surrounds the keypoints
        assert max(x.max(), y.max()) < 63


@pytest.mark.parametrize(("width", "height"), [(50, 100), (100, 50), (10, 100), (0, 100), (75, 100)])
def test_box_is_the_largest_that_fits_the_margin(width, height):
    settings = make_settings(*CROPS, "augment.size=[256,192]").augment
    record = blank_record(people=1, width=float(width), height=float(height), center_xy=(70.0, 90.0))
    matrix = augment.affine_matrix(record, AugmentParams(), settings)
    extent = matrix[:, :2] @ (width, height) / (192, 256)
    assert extent.max() == pytest.approx(0.8)
    assert matrix @ (70, 90, 1) == pytest.approx((95.5, 127.5))


def test_milestones_multiply_the_learning_rate():
    settings = TrainSettings(milestones=(90, 120), step_factor=0.1, warmup_epochs=0, learning_rate=1e-3)
    rates = [learning_rate_at(epoch * 7 + 6, 7, settings) for epoch in (0, 89, 90, 119, 120, 139)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_loss_falls_on_a_few_crops(samples_file):
    settings = make_settings(*CROPS)
    torch.manual_seed(0)
    trainer = Trainer(Model(checkpoints.build_network(settings, COCO), settings, COCO), CPU)
    batch = make_batch(settings, samples_file, count=4)
    before = trainer.validate([batch])
    for _ in range(60):
        trainer.step([batch], 3e-3)
    assert trainer.validate([batch]) < 0.5 * before


def test_command_trains_validates_and_resumes(samples_file, tmp_path, capsys):
    settings = [*CROPS, "train.workers=0", "train.checkpoint_steps=1", "train.warmup_epochs=0"]
    config_file, run = tmp_path / "crops.yaml", tmp_path / "run"
    config_file.write_text(config.to_text(make_settings(*CROPS)))
    args = ["--config", str(config_file), "--train", str(samples_file), "--val", str(samples_file)]
    args += ["--output", str(run), "--device", "cpu", "--set", *settings]
    assert run_command(train.main, [*args, "train.epochs=1"]) == 0
    assert run_command(train.main, [*args, "train.epochs=2", "--resume"]) == 0
    lines = [json.loads(line) for line in next(run.glob("*.jsonl")).read_text().splitlines()]
    epochs = [line for line in lines if line.get("kind") == "epoch"]
    assert len(epochs) == 2
    (network,) = run.glob("*.safetensors")
    model = checkpoints.load(network)
    assert model.settings.network == "fastpose"
    assert model.network.maps.out_channels == 17


@pytest.mark.parametrize("name", ["r50_256x192", "r101_320x256", "mobile_256x192"])
def test_configs_build_their_networks(name):
    settings = config.load(CONFIGS / f"fastpose_{name}.yaml")
    with torch.device("meta"):
        network = checkpoints.build_network(settings, COCO)
        ((maps,),) = network(torch.zeros(1, 3, *settings.augment.size))
    assert maps.shape == (1, 17, settings.augment.size[0] // 4, settings.augment.size[1] // 4)
    assert settings.targets.keypoint_sigma == 2 * settings.targets.stride


def test_sample_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"train.image_log_steps: expected 0 for network fastpose"):
        make_settings(*CROPS, "train.image_log_steps=5")
