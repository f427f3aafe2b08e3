"""FastPose: outputs equal to the published networks, their checkpoints, and the fused form."""

import fixed_weights
import numpy as np
import pytest
import torch
from repo_paths import CONFIGS
from torch.utils.flop_counter import FlopCounterMode

from simplepose import config
from simplepose.cli import convert_checkpoint, run_command
from simplepose.config import FastPoseSettings, Settings
from simplepose.inference.predictor import Predictor
from simplepose.models import FastPose, checkpoints, importers
from simplepose.models.checkpoints import Model
from simplepose.models.encoders import MEAN_BGR, MobileNetV2
from simplepose.models.fused import fuse
from simplepose.models.transfer import transfer
from simplepose.skeleton import COCO

PUBLISHED = {
    "fastpose_v02": ("resnet101", 33, (320, 256)),
    "fastpose_master_r50": ("resnet50", 17, (256, 192)),
}
SMALL = FastPoseSettings(encoder="mobilenet_v2", encoder_multiplier=0.2, widths=(16, 8, 8))


def make_images(size_hw):
    """The reference input as the network reads it: BGR in place of RGB, before the mean is subtracted."""
    rgb = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 3, *size_hw)).astype(np.float32)
    return torch.from_numpy(rgb).flip(1) + torch.tensor(MEAN_BGR)[:, None, None]


def build_published(name):
    encoder, channels, size = PUBLISHED[name]
    with torch.device("meta"):
        network = FastPose(channels, encoder).eval()
    network.to_empty(device="cpu")
    state = importers.from_fastpose_state(fixed_weights.published_weights(name), network)
    checkpoints.load_state_strictly(network, state, name)
    return network, make_images(size)


def resnet_state(name="fastpose_master_r50"):
    """A torchvision ResNet's state: the published names without the prefix and squeeze-and-excitation."""
    weights = fixed_weights.published_weights(name)
    state = {key.removeprefix("preact."): t for key, t in weights.items() if key.startswith("preact.")}
    state = {key: tensor for key, tensor in state.items() if ".se." not in key}
    return {**state, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_output_equals_the_published_network(name):
    network, images = build_published(name)
    with torch.inference_mode():
        ((maps,),) = network(images)
    with np.load(fixed_weights.REFERENCE / f"{name}_outputs.npz") as expected:
        assert maps.shape == expected["output"].shape
        assert np.abs(maps.numpy() - expected["output"]).max() < 1e-4


@pytest.mark.parametrize(("name", "prefix"), [("fastpose_v02", ""), ("fastpose_master_r50", "module.")])
def test_published_checkpoint_loads_with_coco_keypoints(name, prefix, tmp_path):
    path, (encoder, _, size) = tmp_path / "published.pth", PUBLISHED[name]
    weights = fixed_weights.published_weights(name)
    torch.save({prefix + key: tensor for key, tensor in weights.items()}, path)
    model = checkpoints.load(path)
    assert (model.settings.network, model.settings.fastpose.encoder) == ("fastpose", encoder)
    assert (model.settings.augment.size, model.skeleton) == (size, COCO)
    assert torch.equal(model.network.maps.weight, weights["conv_out.weight"][:17])
    target = tmp_path / "network.safetensors"
    assert run_command(convert_checkpoint.main, [str(path), str(target)]) == 0
    again = checkpoints.load(target)
    assert again.settings == model.settings
    state = model.network.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in again.network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("duc1.conv.weight"), "1 missing: duc1.conv.conv.weight"),
        (lambda state: state.update(more=torch.zeros(1)), "1 extra: more"),
        (lambda state: state.update({"conv_out.bias": torch.zeros(16)}), "1 of another shape: maps.bias"),
        (
            lambda state: state.update({"conv_out.bias": 3}),
            r"expected named tensors, got conv_out.bias \(int",
        ),
        (lambda state: state.pop("preact.layer4.2.conv1.weight") is state.pop("x", 0), "1 missing"),
        (
            lambda state: [state.pop(key) for key in list(state) if ".layer4.2." in key],
            "expected FastPose with a ResNet-50, -101 or -152, got other blocks",
        ),
    ],
)
def test_another_checkpoint_is_an_error(change, message, tmp_path):
    state = dict(fixed_weights.published_weights("fastpose_master_r50"))
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=message) as error:
        checkpoints.load(tmp_path / "other.pth")
    assert "other.pth" in str(error.value)


def test_torchvision_resnet_initializes_the_encoder(tmp_path):
    path, state = tmp_path / "resnet50.pth", resnet_state()
    torch.save(state, path)
    network = FastPose(17, "resnet50")
    report = transfer(network, checkpoints.load_weights(path), "resnet50.pth")
    assert report.unused == ()
    skipped = {name.split(".")[0] for name in report.missing if ".squeeze." not in name}
    assert skipped == {"duc1", "duc2", "maps"}
    first = network.state_dict()["stem.encoder.conv.conv.weight"]
    assert torch.equal(first.flip(1), state["conv1.weight"])


@pytest.mark.parametrize("encoder", ["resnet50", "mobilenet_v2"])
def test_sizes_and_channels_follow_the_settings(encoder):
    widths = (512, 8, 8) if encoder == "resnet50" else (16, 8, 8)
    network = FastPose(21, encoder, 0.2, widths=widths).eval()
    with torch.inference_mode():
        ((maps,),) = network(torch.rand(2, 3, 64, 96))
    assert maps.shape == (2, 21, 16, 24)


def test_all_parameters_get_gradients():
    network = FastPose.from_settings(SMALL, 17)
    ((maps,),) = network(torch.rand(2, 3, 64, 64))
    maps.square().sum().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_activation_checkpointing_gives_the_same_gradients():
    torch.manual_seed(0)
    network, images = FastPose.from_settings(SMALL, 3), torch.rand(2, 3, 64, 64)
    gradients = []
    for network.activation_checkpointing in (False, True):
        network.zero_grad()
        network(images)[0][0].square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "resnet50"])
def test_fused_network_equals_the_plain_one(encoder, rng):
    torch.manual_seed(0)
    if encoder == "resnet50":
        network, _ = build_published("fastpose_master_r50")
    else:
        network = FastPose.from_settings(SMALL, 17).eval()
        torch.nn.init.normal_(network.maps.weight)
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    images = torch.from_numpy(rng.integers(0, 256, (2, 64, 96, 3), dtype=np.uint8))
    with torch.inference_mode():
        expected = network(images.permute(0, 3, 1, 2) / 255)[0][0]
        maps = fuse(network)(images)
    assert expected.std() > 0
    assert (maps - expected).abs().max() < 1e-4 * expected.abs().max()


def test_coarse_expansion_changes_only_the_hidden_channels_at_stride_32():
    full, narrow = (MobileNetV2(1.75, expansion).state_dict() for expansion in (6, 2))
    assert full.keys() == narrow.keys()
    changed = {name.rsplit(".", 2)[0] for name in full if full[name].shape != narrow[name].shape}
    assert changed == {f"blocks.{number}" for number in (13, 14, 15, 16)}
    assert narrow["blocks.16.depthwise.bias"].shape == (2 * 280,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": (256, 128, 64)}, "widths: expected 512 at stride 16 for a ResNet"),
        ({"widths": (512, 128)}, "widths: expected a list of 3 values, got 2"),
        ({"coarse_expansion": 0}, "coarse_expansion: expected a value >= 1, got 0"),
        ({"origin": float("nan")}, "origin: expected a value >= -64, got nan"),
    ],
)
def test_unusable_settings_are_errors(values, message):
    with pytest.raises(ValueError, match=message):
        FastPoseSettings(**values)


def test_bottom_up_predictor_refuses_the_network():
    settings = Settings(network="fastpose", fastpose=SMALL)
    model = Model(checkpoints.build_network(settings, COCO).eval(), settings, COCO)
    with pytest.raises(ValueError, match="expected a bottom-up network, got FastPose"):
        Predictor(model, runtime="torch")


def test_mobile_network_is_small():
    settings = config.load(CONFIGS / "fastpose_mobile_256x192.yaml")
    network = checkpoints.build_network(settings, COCO).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(torch.zeros(1, 3, *settings.augment.size))
    assert counter.get_total_flops() == pytest.approx(1.65e9, rel=0.01)  # as documented
    assert 2 * sum(tensor.numel() for tensor in network.state_dict().values()) <= 8.0e6
