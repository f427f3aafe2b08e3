"""The command `benchmark`: its output, its json file, and the batch sizes that it tries."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from repo_paths import ROOT

import simplepose
from simplepose.cli import benchmark, run_command

TOOL = ROOT / "tools/benchmark.py"
SMALL = ["--seconds", "0.02", "--set", "inference.height=128", "inference.flip=false"]
CPU = torch.device("cpu")


class FakePredictor:
    """Replaces predictor and clock: a batch takes a given time, and memory is limited to some images."""

    max_concurrent_forwards, out_of_memory_error = 1, torch.OutOfMemoryError("CUDA out of memory")

    def __init__(self, seconds, max_images=10**9):
        self.seconds, self.max_images, self.now = seconds, max_images, 0.0

    def perf_counter(self):
        return self.now

    def preprocess(self, image):
        return image

    def infer(self, images):
        if len(images) > self.max_images:
            raise self.out_of_memory_error
        self.now += self.seconds(len(images))


@pytest.fixture
def throughput(monkeypatch):
    """throughput(network) -> images per second by batch size."""

    def measure(network, max_batch=benchmark.MAX_BATCH):
        monkeypatch.setattr(benchmark, "time", network)
        rates = benchmark.measure_throughput(network, np.zeros((4, 4, 3)), CPU, 1.0, max_batch)
        return {rate.batch: rate.images_per_second for rate in rates}

    return measure


def test_without_arguments_it_measures_the_sample_images(tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, str(TOOL), *SMALL, "--json", str(report), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    values = json.loads(report.read_text())
    assert list(values["steps_ms"]) == list(benchmark.STAGES)
    for name, times in values["steps_ms"].items():
        assert 0 < times["p50"] <= times["p95"]
        assert f"\n{name} " in done.stdout
    rates = values["pictures_per_second"]
    assert list(rates)[:3] == ["1", "2", "4"]
    assert rates[str(values["best_batch"])] == max(rates.values())
    assert f"--batch {values['best_batch']}\n" in done.stdout
    assert values["machine"]["torch"] == torch.__version__
    assert values["network_hw"] == [128, 96]


def test_stage_times_add_up_to_the_total(tmp_path):
    """Images of any size are used in turn, each equally often."""
    paths = []
    for number, size in enumerate([(90, 120), (200, 64)]):
        paths.append(tmp_path / f"{number}.jpg")
        cv2.imwrite(str(paths[-1]), np.full((*size, 3), 99, np.uint8))
    predictor = simplepose.load("imhn_mobile", settings_overrides=SMALL[3:])
    drawn = []
    timings = benchmark.measure_latency(
        predictor, paths, lambda image, people: drawn.append(image.shape), CPU, 0.01
    )
    assert drawn[::2] == [(90, 120, 3)] * (len(drawn) // 2)
    assert drawn[1::2] == [(200, 64, 3)] * (len(drawn) // 2)
    assert {timing.count for timing in timings.values()} == {len(drawn) - 2}
    parts = sum(timings[step].total for step in benchmark.STAGES[:-1])
    assert parts == pytest.approx(timings["total"].total, rel=1e-6)


def test_batch_size_grows_while_throughput_grows(throughput):
    rates = throughput(FakePredictor(lambda count: 0.5), max_batch=16)
    assert rates == pytest.approx({1: 2, 2: 4, 4: 8, 8: 16, 16: 32})


@pytest.mark.parametrize(
    ("slowdown", "batches"),
    [
        ({}, [1, 2, 4]),
        ({4: 0.99}, [1, 2, 4]),
        ({2: 1.2, 4: 0.9}, [1, 2, 4, 8, 16]),  # one batch was slow by chance
    ],
)
def test_two_batches_in_a_row_without_speedup_stop_the_search(slowdown, batches, throughput):
    rates = throughput(FakePredictor(lambda count: count * slowdown.get(count, 1.0)))
    assert list(rates) == batches


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 TB"),
        MemoryError(),
    ],
)
def test_out_of_memory_stops_the_search(throughput, error):
    network = FakePredictor(lambda count: 0.5, max_images=5)
    network.out_of_memory_error = error
    assert list(throughput(network)) == [1, 2, 4]


def test_errors_that_do_not_depend_on_the_batch_size_are_raised(throughput):
    class BrokenAfterOneError(FakePredictor):
        def infer(self, images):
            if len(images) > 4:
                self.max_images = 0
            super().infer(images)

    network = BrokenAfterOneError(lambda count: 0.5, max_images=5)
    network.out_of_memory_error = RuntimeError("an illegal instruction was encountered")
    with pytest.raises(RuntimeError, match="illegal instruction"):
        throughput(network)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["no.jpg"], "no.jpg: No such file"), (["{tmp}"], "no image in this folder")],
)
def test_an_invalid_path_is_reported_in_one_line(arguments, message, tmp_path, capsys):
    assert run_command(benchmark.main, [word.replace("{tmp}", str(tmp_path)) for word in arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_an_unwritable_json_path_is_reported_at_the_start(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["--json", str(tmp_path / "none/report.json")])
    output = capsys.readouterr()
    assert "expected a file in an existing folder" in output.err
    assert output.out == ""


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x"])
def test_seconds_must_be_positive_and_finite(seconds, capsys):
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["--seconds", seconds])
    assert f"expected seconds > 0, got '{seconds}'" in capsys.readouterr().err
