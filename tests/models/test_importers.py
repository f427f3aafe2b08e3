"""Encoders from other projects: features equal the TensorFlow graph's, and invalid files are errors."""

import json
import math
import re

import numpy as np
import pytest
import tfjs_models
import torch
from slow_tfjs import SlowGraphModel

from simplepose.cli import convert_checkpoint, run_command
from simplepose.models import IMHN, checkpoints
from simplepose.models.encoders import MobileNetV2
from simplepose.models.importers import import_movenet, read_graph_model
from simplepose.models.transfer import transfer

GRAPH = "StatefulPartitionedCall/"
ROOT = f"{GRAPH}center_net_mobile_net_v2fpn_feature_extractor/model_1/"
FEATURES = [
    [
        *(f"{ROOT}model/block_2_add/add", f"{ROOT}re_lu_2/Relu"),
        *(f"{GRAPH}kpt_heatmap_0/re_lu_6/Relu", f"{GRAPH}kpt_regress_0/re_lu_7/Relu"),
    ],
    [f"{ROOT}model/block_5_add/add", f"{ROOT}re_lu_1/Relu"],
    [f"{ROOT}model/block_12_add/add", f"{ROOT}re_lu/Relu"],
    [f"{ROOT}model/out_relu/Relu6"],
]
"""The graph's nodes that equal the encoder's features at strides 4, 8, 16 and 32."""

FIRST = f"{ROOT}model/Conv1/Conv2D_weights"
KERNEL = f"{ROOT}model/block_3_depthwise/depthwise_weights"
CONSTANTS = {
    "half": np.array([[0.5, -1.25, 3.0]], np.float16),
    "full": np.array([[[1e-6], [2.0]], [[math.pi], [-4.0]]], np.float32),
    "count": np.array([2, -(2**31)], np.int32),
    "scalar": np.array(7, np.int32),
    "none": np.zeros((0, 4), np.float32),
}


@pytest.fixture(scope="module")
def movenet():
    return tfjs_models.movenet(np.random.default_rng(0))


@pytest.fixture
def movenet_file(movenet, tmp_path):
    return tfjs_models.write(tmp_path, movenet[0])


def test_features_equal_the_graph(shared, rng):
    path = shared / "movenet/movenet-multipose.json"
    if not path.is_file():
        pytest.skip(f"MoveNet's weights not found at {path.parent}")
    encoder = MobileNetV2()
    encoder.load_state_dict(import_movenet(path).state)
    rgb = rng.integers(0, 256, (64, 96, 3))
    names = [name for level in FEATURES for name in level]
    values = dict(zip(names, SlowGraphModel(path).evaluate(rgb, names), strict=True))
    with torch.inference_mode():
        images = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None]
        features = encoder(images.flip(1))
        swapped = encoder(images)
    for stride, level, feature, other in zip((4, 8, 16, 32), FEATURES, features, swapped, strict=True):
        parts = feature.split([values[name].shape[3] for name in level], 1)
        for name, part in zip(level, parts, strict=True):
            expected = values[name].transpose(0, 3, 1, 2)
            assert part.shape == (1, expected.shape[1], 64 // stride, 96 // stride)
            assert np.abs(expected).max() > 0.1
            assert np.abs(part.numpy() - expected).max() < 1e-3 * np.abs(expected).max(), name
        assert (feature - other).abs().max() > 0.02 * feature.abs().max()  # the order of colors matters


@pytest.mark.parametrize("cuts", [(), (3,), (6, 6, 21)])
def test_constants_are_read_from_one_or_several_files(tmp_path, cuts):
    found = read_graph_model(tfjs_models.write(tmp_path, CONSTANTS, cuts))
    assert found.keys() == CONSTANTS.keys()
    for name, expected in CONSTANTS.items():
        wide = np.float32 if expected.dtype.kind == "f" else np.int32
        assert (found[name].dtype, found[name].shape) == (wide, expected.shape)
        assert np.array_equal(found[name], expected), name


def test_several_groups_of_constants(tmp_path):
    arrays = {"a": np.arange(3, dtype=np.float32), "b": np.arange(2, dtype=np.int32)}
    manifest = []
    for name, array in arrays.items():
        (tmp_path / f"{name}.bin").write_bytes(array.tobytes())
        manifest.append({"paths": [f"{name}.bin"], "weights": [tfjs_models.make_entry(name, array)]})
    found = read_graph_model(tfjs_models.write_json(tmp_path, manifest))
    assert {name: array.tolist() for name, array in found.items()} == {"a": [0, 1, 2], "b": [0, 1]}


def test_binary_files_of_another_size_are_errors(tmp_path):
    path, last = tfjs_models.write(tmp_path, CONSTANTS, (6, 22)), tmp_path / "part2.bin"
    content = last.read_bytes()
    last.write_bytes(content[:-1])
    with pytest.raises(
        ValueError, match=r"model\.json: scalar: expected bytes 30 to 34, got 33 .*; truncated"
    ):
        read_graph_model(path)
    last.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match=r"model\.json: expected 34 bytes of weights, got 35"):
        read_graph_model(path)
    last.unlink()
    with pytest.raises(FileNotFoundError, match=r"part2\.bin not found; model\.json lists it"):
        read_graph_model(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.json not found"):
        read_graph_model(path)


@pytest.mark.parametrize("name", ["../x.bin", "/etc/hostname", "a/../x.bin", "a/x.bin", "..", ".", ""])
def test_files_outside_the_folder_are_errors(tmp_path, name):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "x.bin").write_bytes(b"")
    path = tfjs_models.write_json(folder, [{"paths": [name], "weights": []}])
    with pytest.raises(
        ValueError, match=r"model\.json: expected a binary file in the same folder, got the path"
    ):
        read_graph_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable JSON file"),
        (b"\xff\xfe\x00", "not a readable JSON file"),
        (b"[" * 100_000, "not a readable JSON file"),
        (b"[]", '"format": "graph-model"'),
        (b'{"format": "layers-model", "weightsManifest": []}', '"format": "graph-model"'),
        (b'{"format": "graph-model"}', "expected weightsManifest to be a list, got NoneType"),
    ],
)
def test_other_json_files_are_errors(tmp_path, content, message):
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_graph_model(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "group",
    [None, [], {}, {"paths": []}, {"paths": "x.bin", "weights": []}, {"paths": [3], "weights": []}],
    ids=str,
)
def test_malformed_group_is_an_error(tmp_path, group):
    path = tfjs_models.write_json(tmp_path, [{"paths": [], "weights": []}, group])
    with pytest.raises(ValueError, match=r"model\.json: weightsManifest\[1\]: expected paths .* got "):
        read_graph_model(path)


@pytest.mark.parametrize(
    "entry",
    [
        "invalid",
        {"shape": [1], "dtype": "float32"},
        {"name": 5, "shape": [1], "dtype": "float32"},
        {"name": "invalid", "dtype": "float32"},
        {"name": "invalid", "shape": [1]},
        {"name": "invalid", "shape": [1], "dtype": 7},
        {"name": "invalid", "shape": 1, "dtype": "float32"},
        {"name": "invalid", "shape": [-1], "dtype": "float32"},
        {"name": "invalid", "shape": [-1, -1], "dtype": "float32"},
        {"name": "invalid", "shape": [True], "dtype": "float32"},
        {"name": "invalid", "shape": [1.0], "dtype": "float32"},
        {"name": "invalid", "shape": [float("nan")], "dtype": "float32"},
        {"name": "invalid", "shape": [2**31, 0], "dtype": "float32"},
        {"name": "invalid", "shape": [1] * 65, "dtype": "float32"},
        {"name": "invalid", "shape": [1], "dtype": "float32", "quantization": None},
    ],
    ids=str,
)
def test_malformed_entry_is_an_error(tmp_path, entry):
    valid = {"name": "valid", "shape": [1], "dtype": "float32"}
    (tmp_path / "x.bin").write_bytes(bytes(8))
    path = tfjs_models.write_json(tmp_path, [{"paths": ["x.bin"], "weights": [valid, entry]}])
    message = r"model\.json: weightsManifest\[0\]\.weights\[1\]: expected a name, a shape .* got "
    with pytest.raises(ValueError, match=message) as error:
        read_graph_model(path)
    assert len(str(error.value)) < len(str(path)) + 300


@pytest.mark.parametrize("shape", [[2**31 - 1] * 8, [10**6, 10**6], [3]], ids=str)
def test_shapes_beyond_the_file_are_errors_before_memory_is_allocated(tmp_path, shape):
    (tmp_path / "x.bin").write_bytes(bytes(8))
    entry = {"name": "huge", "shape": shape, "dtype": "float32"}
    path = tfjs_models.write_json(tmp_path, [{"paths": ["x.bin"], "weights": [entry]}])
    with pytest.raises(
        ValueError, match=r"model\.json: huge: expected bytes 0 to .*, got 8 bytes in the binary files;"
    ):
        read_graph_model(path)


@pytest.mark.parametrize(
    ("dtype", "more", "message"),
    [
        ("complex64", {}, "expected dtype float32, .* got complex64"),
        ("string", {}, "expected dtype float32, .* got string"),
        ("float32", {"dtype": "uint8", "scale": 0.1, "min": 0.0}, "float16, got float32 quantized as uint8"),
        (
            "float32",
            {"dtype": "uint16", "scale": 0.1, "min": 0.0},
            "float16, got float32 quantized as uint16",
        ),
        ("float32", {"scale": 0.1}, "float16, got float32 quantized as None"),
        ("float32", {"dtype": ["float16"]}, r"float16, got float32 quantized as \['float16'\]"),
        ("int32", {"dtype": "float16"}, "float16, got int32 quantized as float16"),
    ],
)
def test_unsupported_dtypes_are_errors(tmp_path, dtype, more, message):
    (tmp_path / "x.bin").write_bytes(bytes(64))
    entry = {"name": "invalid", "shape": [8], "dtype": dtype, **({"quantization": more} if more else {})}
    path = tfjs_models.write_json(tmp_path, [{"paths": ["x.bin"], "weights": [entry]}])
    with pytest.raises(ValueError, match=rf"model\.json: invalid: .*{message}"):
        read_graph_model(path)


def test_duplicate_name_is_an_error(tmp_path):
    (tmp_path / "x.bin").write_bytes(bytes(8))
    entry = {"name": "double", "shape": [1], "dtype": "float32"}
    path = tfjs_models.write_json(tmp_path, [{"paths": ["x.bin"], "weights": [entry, entry]}])
    with pytest.raises(ValueError, match=r"model\.json: double: expected one constant of this name, got two"):
        read_graph_model(path)


def test_encoder_is_imported_in_torch_layout(movenet, movenet_file):
    encoder = import_movenet(movenet_file)
    assert encoder.state.keys() == movenet[1].keys()
    for name, expected in movenet[1].items():
        assert encoder.state[name].dtype == torch.float32
        assert np.array_equal(encoder.state[name].numpy(), expected), name
    assert (encoder.multiplier, encoder.source, encoder.unused) == (1.5, "model.json", (f"{GRAPH}size",))
    MobileNetV2(encoder.multiplier).load_state_dict(encoder.state)


@pytest.mark.parametrize("multiplier", [1.0, 1.75])
def test_encoders_of_other_widths_and_layer_numbers_are_imported(rng, tmp_path, multiplier):
    constants, expected = tfjs_models.movenet(rng, multiplier)
    numbered = {re.sub(r"(kpt_\w+/separable_conv2d)/", r"\1_4/", name): a for name, a in constants.items()}
    assert numbered.keys() != constants.keys()
    encoder = import_movenet(tfjs_models.write(tmp_path, numbered))
    assert encoder.multiplier == multiplier
    assert all(np.array_equal(encoder.state[name].numpy(), array) for name, array in expected.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: CONSTANTS, r"expected a MoveNet's first convolution, .* got no such constant$"),
        (
            lambda found: {**found, FIRST: found[FIRST][..., :40]},
            r"first convolution, shape \(3, 3, 3, C\) with C in 32, 48, 56, got \(3, 3, 3, 40\)$",
        ),
        (
            lambda found: {FIRST: found[FIRST]},
            r"126 of its 127 constants are missing, for example \S+, \S+, \S+$",
        ),
        (
            lambda found: {**found, KERNEL: found[KERNEL][:2]},
            r"expected shape \(240, 1, 3, 3\) for blocks\.3\.",
        ),
        (lambda found: {**found, KERNEL: found[KERNEL].reshape(-1)}, r"expected shape .* got \(2160,\)"),
        (
            lambda found: {**found, KERNEL: found[KERNEL].astype(np.int32)},
            "expected dtype float32 .* got int32",
        ),
        (lambda found: {**found, KERNEL: found[KERNEL] * np.float16("nan")}, "expected finite weights"),
        (lambda found: {**found, KERNEL: found[KERNEL] / np.float16(0)}, "expected finite weights"),
    ],
    ids=["other", "width", "missing", "shape", "rank", "dtype", "NaN", "infinity"],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_another_model_is_an_error(movenet, tmp_path, change, message):
    path = tfjs_models.write(tmp_path, change(movenet[0]))
    with pytest.raises(ValueError, match=message) as error:
        import_movenet(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "missing" in message or KERNEL in str(error.value) or FIRST in str(error.value)


def test_missing_constant_is_listed(movenet, tmp_path):
    path = tfjs_models.write(tmp_path, {name: a for name, a in movenet[0].items() if name != KERNEL})
    with pytest.raises(ValueError, match=rf"1 of its 127 constants are missing, for example {KERNEL}$"):
        import_movenet(path)


def test_convert_checkpoint_writes_an_encoder_for_init_from(movenet, movenet_file, tmp_path, capsys):
    target = tmp_path / "encoder.safetensors"
    assert run_command(convert_checkpoint.main, [str(movenet_file), str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "model.json: 127 tensors of the MobileNetV2 x 1.5 encoder and its feature pyramid, "
        "4,704,152 parameters; 1 other constants not used"
    )
    assert lines[1] == f"{target}: 127 tensors, {target.stat().st_size:,} bytes"
    weights = checkpoints.load_weights(target)
    network = IMHN(1, 8, 16, 8, 16, 4, (2,), channels=5, encoder="mobilenet_v2")
    report = transfer(network, weights, "encoder.safetensors")
    assert set(report.loaded) == {f"stem.encoder.{name}" for name in movenet[1]}
    assert (report.reset, report.unused) == ({}, ())
    for name, expected in movenet[1].items():
        assert np.array_equal(network.stem.encoder.state_dict()[name].numpy(), expected), name
    with pytest.raises(
        ValueError,
        match=r"encoder\.safetensors: expected a complete network, got only an encoder; .* --init-from",
    ):
        checkpoints.load(target)
    with pytest.raises(ValueError, match=r"no layer matches the network; expected .*, got stem\.encoder\."):
        transfer(IMHN(1, 8, 16, 8, 16, 4, (2,), channels=5), weights, "encoder.safetensors")


def test_unsupported_conversions_are_errors(movenet_file, tmp_path, capsys):
    assert run_command(convert_checkpoint.main, [str(movenet_file), str(tmp_path / "encoder.pth")]) == 2
    assert "expected a name that ends in .safetensors for an encoder" in capsys.readouterr().err
    for option in ("--half", "--finest"):
        assert (
            run_command(convert_checkpoint.main, [str(movenet_file), str(tmp_path / "e.safetensors"), option])
            == 2
        )
        assert f"{option}: expected a network, got an encoder; leave it out" in capsys.readouterr().err
    assert (
        run_command(convert_checkpoint.main, [str(movenet_file), str(tmp_path / "none" / "e.safetensors")])
        == 2
    )
    assert f"expected an existing folder, got {tmp_path / 'none'}; create it" in capsys.readouterr().err
    model = json.loads(movenet_file.read_text())
    movenet_file.write_text(json.dumps({**model, "weightsManifest": []}))
    assert run_command(convert_checkpoint.main, [str(movenet_file), str(tmp_path / "e.safetensors")]) == 2
    assert "expected a MoveNet's first convolution" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors*"))
