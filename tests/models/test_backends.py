"""Inference runtimes: same maps and people as torch, the choice of `auto`, and errors."""

import functools
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_fused import randomize_weights

import simplepose
from simplepose.cli import benchmark, demo_image, demo_video, evaluate, run_command
from simplepose.inference import concurrency
from simplepose.models import backends
from simplepose.models.backends import PACKAGES, build_backend
from simplepose.models.fused import fuse
from simplepose.models.imhn import IMHN
from simplepose.synthetic.scenes import draw_scene

SHAPES = [(1, 64, 64), (3, 64, 128), (2, 192, 64), (1, 128, 192), (1, 96, 160), (1, 64, 64)]
SMALL = ["inference.height=128"]
OPTIONS = {
    demo_image: [],
    benchmark: [],
    demo_video: ["--source", "a.mp4"],
    evaluate: ["--model", "m", "--annotations", "a.json", "--images", "i", "--output", "o"],
}


def installed(runtime):
    """Return the runtime; skip the test if it is not installed."""
    for package in PACKAGES[runtime]:
        pytest.importorskip(package, reason=f"{package} is not installed: pip install -r requirements.txt")
    return runtime


@pytest.fixture(params=PACKAGES)
def runtime(request):
    return installed(request.param)


@pytest.fixture
def absent(monkeypatch):
    """absent("openvino", ...): make these packages look not installed."""

    def absent(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    backends._warn_once.cache_clear()
    return absent


NETWORKS = {"stem": {"stacks": 2}, "encoder": {"stacks": 1, "encoder": "mobilenet_v2"}}
"""Together they have every kind of layer."""


@functools.cache
def build_network(kind):
    torch.manual_seed(0)
    return randomize_weights(IMHN(**NETWORKS[kind], width=16, growth=8, head_width=16, reduction=4)).eval()


@functools.cache
def get_backend(kind, runtime):
    """Convert a network once for all tests: it takes one or two seconds."""
    return build_backend(build_network(kind), runtime)


@pytest.fixture
def stub_runtimes(monkeypatch):
    """Replace the runtimes' networks by torch's, because conversion takes a second."""

    def build(fused, *_):
        return fused

    monkeypatch.setattr(backends, "export_onnx", lambda fused: fused)
    monkeypatch.setattr(backends, "NETWORKS", dict.fromkeys(PACKAGES, build))


def make_images(count, height, width):
    generator = torch.Generator().manual_seed(height + width)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def difference(found, expected):
    """Return the largest difference, relative to the largest value."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("kind", NETWORKS)
def test_maps_equal_torch_for_all_shapes(kind, runtime):
    """Also in several threads at once, each with all cores or with a part of them."""
    backend = get_backend(kind, runtime)
    assert (backend.runtime, backend.precision) == (runtime, "fp32")
    fused = fuse(build_network(kind))
    cases = [(make_images(*shape), fused(make_images(*shape))) for shape in SHAPES]
    for images, expected in cases:
        assert difference(backend.network(images), expected) < 1e-4
    for threads in (ThreadPoolExecutor(3), concurrency.forward_thread_pool(3)):
        with threads:
            all_maps = list(threads.map(backend.network, [images for images, _ in 2 * cases]))
            for maps, (_, expected) in zip(all_maps, 2 * cases, strict=True):
                assert difference(maps, expected) < 1e-4


def test_next_call_does_not_change_earlier_maps(runtime):
    network = get_backend("stem", runtime).network
    first = network(make_images(1, 64, 64))
    before = first.clone()
    network(255 - make_images(1, 64, 64))
    assert torch.equal(first, before)


def test_images_may_be_a_view(runtime):
    network, images = get_backend("stem", runtime).network, make_images(1, 64, 128)
    view = images.transpose(1, 2)
    assert torch.equal(network(view), network(view.contiguous()))


def test_fewer_stacks_equal_torch(runtime):
    network, images = build_network("stem"), make_images(1, 64, 64)
    found = build_backend(network, runtime, stacks=1).network(images)
    assert difference(found, fuse(network, stacks=1)(images)) < 1e-4


def test_people_equal_torch(runtime):
    image = draw_scene(np.random.default_rng(546), (480, 640), 3).image
    overrides = ["inference.height=256"]
    expected = simplepose.load("imhn_mobile", settings_overrides=overrides, runtime="torch")
    predictor = simplepose.load("imhn_mobile", settings_overrides=overrides, runtime=runtime)
    assert (predictor.runtime, predictor.precision) == (runtime, "fp32")
    maps, wanted = predictor.maps(image).values, expected.maps(image).values
    assert np.abs(maps - wanted).max() < 1e-4 * np.abs(wanted).max()
    found, people = predictor(image), expected(image)
    assert len(found) == len(people) > 0
    assert found.keypoints == pytest.approx(people.keypoints, abs=0.01)
    assert found.scores == pytest.approx(people.scores, abs=1e-4)


def test_openvino_supports_bf16():
    installed("openvino")
    network, images = build_network("stem"), make_images(1, 64, 64)
    backend = build_backend(network, "openvino", "bf16")
    assert backend.precision == "bf16"
    assert difference(backend.network(images), fuse(network)(images)) < 0.04


def test_auto_chooses_the_fastest_installed_runtime(stub_runtimes, absent, caplog):
    installed("openvino"), installed("onnx")
    for missing, expected in ([], "openvino"), (["openvino"], "onnx"), (["onnxruntime"], "torch"):
        absent(*missing)
        assert build_backend(build_network("stem")).runtime == expected
    assert not caplog.records


def test_auto_needs_no_optional_package(absent, caplog):
    absent("openvino", "onnxruntime", "onnx")
    network, images = build_network("stem"), make_images(1, 64, 64)
    backend = build_backend(network, precision="fp32")
    assert (backend.runtime, backend.precision) == ("torch", "fp32")
    assert torch.equal(backend.network(images), fuse(network)(images))
    assert not caplog.records


@pytest.mark.parametrize("fault", ["import", "maps"])
def test_auto_warns_once_about_a_broken_package_and_uses_another_runtime(
    fault, monkeypatch, stub_runtimes, absent, caplog
):
    installed("openvino")
    network = build_network("stem")
    absent("onnxruntime")

    def fail(*_):
        raise OSError("libfoo.so: no such file\nmore of it")

    build = fail if fault == "import" else lambda *_: lambda images: torch.zeros(1, 1)
    monkeypatch.setitem(backends.NETWORKS, "openvino", build)
    with caplog.at_level(logging.WARNING):
        assert [build_backend(network).runtime for _ in range(3)] == ["torch"] * 3
    (record,) = caplog.records
    why = "OSError: libfoo.so: no such file;" if fault == "import" else "ValueError: expected torch's maps"
    assert f"runtime 'openvino' does not work here: {why}" in record.message
    with pytest.raises(
        ValueError, match=r"'openvino' does not work here.*'simplepose\[openvino\]', or choose"
    ):
        build_backend(network, "openvino")


def test_auto_is_torch_on_a_gpu_compiled_or_in_fp16(monkeypatch):
    built = []
    monkeypatch.setattr(backends, "fuse", lambda *_, **options: built.append(options))
    arguments = [{"device": "cuda"}, {"run": "compile"}, {"precision": "fp16"}]
    assert [build_backend(None, **argument).runtime for argument in arguments] == ["torch"] * 3
    assert [str(options["dtype"])[6:] for options in built] == ["float32", "float32", "float16"]


@pytest.mark.parametrize("runtime", PACKAGES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "cuda:1"}, "expected device cpu, got cuda; choose that, or runtime torch"),
        ({"run": "compile"}, "expected run eager, got compile; choose"),
        ({"run": "graphs"}, "expected run eager, got graphs; choose"),
        ({"precision": "fp16"}, "expected precision fp32.*, got fp16; choose"),
    ],
)
def test_unsupported_arguments_are_errors(runtime, arguments, message):
    with pytest.raises(ValueError, match=f"runtime '{runtime}': {message}"):
        build_backend(None, runtime, **arguments)


def test_onnx_runtime_has_no_bf16():
    with pytest.raises(ValueError, match="runtime 'onnx': expected precision fp32, got bf16"):
        build_backend(None, "onnx", "bf16")


def test_unknown_runtime_is_an_error():
    with pytest.raises(ValueError, match="runtime: expected one of auto, torch, openvino, onnx, got 'tf'"):
        build_backend(None, "tf")


@pytest.mark.parametrize(("runtime", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_requested_runtime_that_is_not_installed_is_an_error(runtime, package, absent, capsys):
    absent(package)
    arguments = ["--device", "cpu", "--runtime", runtime, "--set", *SMALL]
    assert run_command(benchmark.main, arguments) == 2
    err = capsys.readouterr().err
    assert f"'{runtime}': expected the packages {package} and onnx, got no {package}; run: pip" in err
    assert f"'simplepose[{runtime}]'" in err


@pytest.mark.parametrize("command", OPTIONS, ids=lambda command: command.__name__.rpartition(".")[2])
def test_commands_have_the_runtime_option(command, capsys):
    parse = command.build_parser().parse_args
    assert parse(OPTIONS[command]).runtime == "auto"
    assert parse(OPTIONS[command]).precision == "fp32"
    assert parse([*OPTIONS[command], "--runtime", "onnx"]).runtime == "onnx"
    with pytest.raises(SystemExit):
        parse([*OPTIONS[command], "--runtime", "tf"])


def test_benchmark_reports_the_runtime(runtime, capsys):
    arguments = ["--device", "cpu", "--runtime", runtime, "--seconds", "0.01", "--batch", "1"]
    assert benchmark.main([*arguments, "--set", "inference.height=64", "inference.flip=false"]) == 0
    assert f", {runtime}, fp32, eager, preset default;" in capsys.readouterr().out


_SIGNAL_AFTER_FREEING = """
import gc, os, signal, sys, threading
import numpy as np, torch
import simplepose
from simplepose.models.backends import build_backend

def run(count):
    model = simplepose.load("imhn_mobile", runtime="torch").network
    networks = [build_backend(model, "openvino").network for _ in range(count)]
    for network in networks:
        network(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    return networks

signal.signal(signal.SIGUSR1, lambda *_: None)
networks = run(2)
thread = threading.Thread(target=lambda: (networks.clear(), gc.collect()))
thread.start(), thread.join()
blocks = [bytearray(b"x" * n) for n in range(1000, 40000, 100)]  # reuses the freed memory
copies = [bytes(block) for block in blocks]
os.kill(os.getpid(), signal.SIGUSR1)
assert all(block == copy for block, copy in zip(blocks, copies)), "a signal overwrote memory"
"""


@pytest.mark.slow
def test_a_signal_after_an_openvino_network_is_freed_in_another_thread_harms_nothing():
    """OpenVINO moves the thread's signal stack into its own memory; see `_openvino_core`."""
    installed("openvino")
    run = subprocess.run(
        [sys.executable, "-c", _SIGNAL_AFTER_FREEING], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, f"{run.returncode}: {run.stderr[-2000:]}"
