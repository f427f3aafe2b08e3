"""The command `benchmark`: what it prints and writes; which batches are tried."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from places import ROOT

import simplepose
from simplepose.cli import benchmark, door

TOOL = ROOT / "tools/benchmark.py"
SMALL = ["--seconds", "0.02", "--set", "inference.height=128", "inference.flip=false"]
CPU = torch.device("cpu")


class Network:
    """In place of predictor and clock: says how long a batch takes, and has memory for some pictures."""

    passes, no_memory = 1, torch.OutOfMemoryError("CUDA out of memory")

    def __init__(self, seconds, memory=10**9):
        self.seconds, self.memory, self.now = seconds, memory, 0.0

    def perf_counter(self):
        return self.now

    def frame(self, image):
        return image

    def see(self, pictures):
        if len(pictures) > self.memory:
            raise self.no_memory
        self.now += self.seconds(len(pictures))


@pytest.fixture
def tried(monkeypatch):
    """tried(network) -> pictures a second by batch."""

    def tried(network, largest=benchmark.LARGEST):
        monkeypatch.setattr(benchmark, "time", network)
        rates = benchmark.throughput(network, np.zeros((4, 4, 3)), CPU, 1.0, largest)
        return {rate.batch: rate.pictures_per_second for rate in rates}

    return tried


def test_without_arguments_it_measures_the_samples(tmp_path):
    told = tmp_path / "told.json"
    command = [sys.executable, str(TOOL), *SMALL, "--json", str(told), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    values = json.loads(told.read_text())
    assert list(values["steps_ms"]) == list(benchmark.STEPS)
    for name, times in values["steps_ms"].items():
        assert 0 < times["p50"] <= times["p95"]
        assert f"\n{name} " in done.stdout
    rates = values["pictures_per_second"]
    assert list(rates)[:3] == ["1", "2", "4"]
    assert rates[str(values["best_batch"])] == max(rates.values())
    assert f"--batch {values['best_batch']}\n" in done.stdout
    assert values["machine"]["torch"] == torch.__version__
    assert values["network_hw"] == [128, 96]


def test_the_steps_make_up_the_whole(tmp_path):
    """Of own pictures of any size, each taken as often."""
    paths = []
    for number, size in enumerate([(90, 120), (200, 64)]):
        paths.append(tmp_path / f"{number}.jpg")
        cv2.imwrite(str(paths[-1]), np.full((*size, 3), 99, np.uint8))
    predictor = simplepose.load("imhn_mobile", settings_overrides=SMALL[3:])
    drawn = []
    timings = benchmark.latency(predictor, paths, lambda image, people: drawn.append(image.shape), CPU, 0.01)
    assert drawn[::2] == [(90, 120, 3)] * (len(drawn) // 2)
    assert drawn[1::2] == [(200, 64, 3)] * (len(drawn) // 2)
    assert {timing.count for timing in timings.values()} == {len(drawn) - 2}
    parts = sum(timings[step].total for step in benchmark.STEPS[:-1])
    assert parts == pytest.approx(timings["total"].total, rel=1e-6)


def test_batches_grow_while_they_gain(tried):
    told = tried(Network(lambda count: 0.5), largest=16)
    assert told == pytest.approx({1: 2, 2: 4, 4: 8, 8: 16, 16: 32})


@pytest.mark.parametrize(
    ("share", "batches"),
    [
        ({}, [1, 2, 4]),
        ({4: 0.99}, [1, 2, 4]),
        ({2: 1.2, 4: 0.9}, [1, 2, 4, 8, 16]),  # one was slow by chance
    ],
)
def test_two_batches_in_a_row_without_gain_are_the_last(share, batches, tried):
    told = tried(Network(lambda count: count * share.get(count, 1.0)))
    assert list(told) == batches


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 TB"),
        MemoryError(),
    ],
)
def test_a_batch_that_exceeds_the_memory_is_the_end(tried, error):
    network = Network(lambda count: 0.5, memory=5)
    network.no_memory = error
    assert list(tried(network)) == [1, 2, 4]


def test_other_failures_are_told(tried):
    network = Network(lambda count: 0.5, memory=5)
    network.no_memory = RuntimeError("an illegal instruction was encountered")
    with pytest.raises(RuntimeError, match="illegal instruction"):
        tried(network)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["no.jpg"], "no.jpg: No such file"), (["{tmp}"], "no picture in this folder")],
)
def test_a_mistake_is_one_line(arguments, told, tmp_path, capsys):
    assert door(benchmark.main, [word.replace("{tmp}", str(tmp_path)) for word in arguments]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.strip().splitlines()) == 1


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["--json", str(tmp_path / "none/told.json")])
    told = capsys.readouterr()
    assert "a file in a folder that is there expected" in told.err
    assert told.out == ""


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x"])
def test_seconds_must_be_some(seconds, capsys):
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["--seconds", seconds])
    assert f"seconds above 0 expected, got '{seconds}'" in capsys.readouterr().err
