"""The batch loader with several files, damaged files, no people, both start methods; its memory."""

import gc
import itertools
import json
import logging
import multiprocessing
import shutil
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from damaged_files import damage
from repo_paths import CONFIGS
from synthetic_coco import write_synthetic_coco

from simplepose import config, targets
from simplepose.cli import prepare_coco, run_command, train
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.data.hdf5.reader import DamagedRecordError, SampleFile
from simplepose.data.loader import SLOTS_PER_WORKER, BatchLoader
from simplepose.data.mixing import DatasetSource
from simplepose.skeleton import COCO


def make(sources, *overrides):
    settings = config.load(CONFIGS / "smoke.yaml", ["train.batch_size=2", *overrides])
    return TrainingSamples(sources, settings, COCO)


@pytest.fixture
def damaged(samples_file, tmp_path):
    """A file whose images 1 and 4 are damaged, and their ids."""
    path = Path(shutil.copy(samples_file, tmp_path / "damaged.h5"))
    return path, damage(path, [1, 4])


@pytest.fixture(scope="module")
def file_without_people(tmp_path_factory):
    """Samples of three synthetic images and of one without people."""
    folder = tmp_path_factory.mktemp("empty")
    annotations, images = write_synthetic_coco(folder, num_images=3)
    cv2.imwrite(str(images / "empty.png"), np.full((100, 150, 3), 77, np.uint8))
    content = json.loads(annotations.read_text())
    content["images"].append({"id": 99, "file_name": "empty.png", "height": 100, "width": 150})
    annotations.write_text(json.dumps(content))
    path = folder / "some.h5"
    args = ["--annotations", str(annotations), "--images", str(images), "--output", str(path), "--negatives"]
    assert prepare_coco.main(args) == 0
    return path


@pytest.fixture(params=["forkserver", "spawn"])
def start_method(request, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: [request.param])


def batches_of(samples, epoch=0, rank=0, size=1):
    sampler = EpochSampler(len(samples), 0, 2, rank, size)
    sampler.epoch = epoch
    return list(BatchLoader(samples, sampler))


def same(first, second):
    pairs = zip(first, second, strict=True)
    return all(torch.equal(x, y) for a, b in pairs for x, y in zip(a, b, strict=True))


def test_mixed_and_damaged_files_give_the_same_batches_with_any_workers(
    samples_file, damaged, file_without_people, start_method
):
    """Also if this process has read the files before its workers start."""
    sources = [
        DatasetSource(samples_file),
        DatasetSource(damaged[0], 0.5),
        DatasetSource(file_without_people, 2),
    ]
    in_process = make(sources, "train.workers=0")
    in_workers = make(sources, "train.workers=3")
    assert in_workers[(0, 0)].image.shape == (128, 192, 3)
    assert same(batches_of(in_process, 1), batches_of(in_workers, 1))
    assert 1 <= in_workers.damaged_images == in_process.damaged_images <= 2


def test_batches_stay_unchanged_while_workers_continue(samples_file):
    """More batches than slots; a slow consumer, and one that stops early; the last batch is smaller."""
    in_process, in_workers = (make(samples_file, f"train.workers={n}", "train.batch_size=3") for n in (0, 2))
    keys = [(epoch, index) for epoch in range(12) for index in range(len(in_process))][:-1]
    assert len(keys) % 3
    expected, batches = list(BatchLoader(in_process, keys)), BatchLoader(in_workers, keys)
    assert len(batches) == len(expected) > 3 * 2 * SLOTS_PER_WORKER
    loaded = list(itertools.islice(batches, 5))
    for batch in batches:
        time.sleep(0.01)
        loaded.append(batch)
    assert same(loaded[:5], expected[:5])
    assert same(loaded[5:], expected)


def test_over_ranks_and_workers_an_epoch_has_every_sample_once(samples_file):
    """Samples that fill complete steps; a sample is identified by its pixels."""
    plain = [f"augment.{name}=0" for name in ("rotation", "shift", "scale_probability", "tint_probability")]
    samples = make(samples_file, "train.workers=2", "augment.flip_probability=0", *plain)
    expected = Counter(samples[(0, i)].image.tobytes() for i in range(len(samples)))
    counts = Counter()
    for rank in range(2):
        for batch in batches_of(samples, 3, rank, 2):
            counts.update(image.numpy().tobytes() for image in batch.images)
    assert not counts - expected
    assert sum(counts.values()) == len(samples) // 4 * 4 >= 4


def test_a_damaged_image_is_logged_once_and_replaced(damaged, caplog):
    path, ids = damaged
    samples = make(path)
    with caplog.at_level(logging.WARNING):
        for epoch in range(3):
            for index in range(len(samples)):
                assert samples.record((epoch, index)).image_id not in ids
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == samples.damaged_images == len(ids)
    assert all(any(f"of image {image_id}, is damaged" in line for line in messages) for image_id in ids)


def test_damage_found_by_workers_is_counted_in_the_main_process(damaged):
    samples = make(damaged[0], "train.workers=2")
    assert len(batches_of(samples)) == len(samples) // 2
    assert samples.damaged_images >= 1


def test_strict_raises_on_damage(damaged):
    samples = make(damaged[0], "train.strict=true", "train.workers=0")
    keys = [(0, index) for index in range(len(samples))]
    with pytest.raises(DamagedRecordError, match="is damaged"):
        list(BatchLoader(samples, keys))


def test_a_completely_damaged_file_stops_the_run(samples_file, tmp_path):
    path = Path(shutil.copy(samples_file, tmp_path / "all.h5"))
    damage(path, list(range(len(SampleFile(path).image_ids))))
    with pytest.raises(DamagedRecordError, match="consecutive samples are damaged"):
        make(path)[(0, 0)]


@pytest.mark.parametrize("strict", [False, True])
def test_a_run_reports_damage_at_its_end(damaged, tmp_path, capsys, strict):
    args = ["--config", CONFIGS / "smoke.yaml", "--train", damaged[0], "--output", tmp_path / "run"]
    args += ["--device", "cpu", "--set", "train.epochs=1", "train.workers=1", "train.batch_size=2"]
    status = run_command(train.main, [str(arg) for arg in [*args, f"train.strict={str(strict).lower()}"]])
    out, err = capsys.readouterr()
    if strict:
        last = err.strip().splitlines()[-1]
        assert status == 2
        assert last.startswith(f"error: {damaged[0]}: sample ")
        assert "is damaged" in last
    else:
        assert status == 0
        assert "damaged images: " in out


def test_images_without_people_give_empty_targets(file_without_people):
    samples = make(file_without_people, "train.batch_size=1")
    (batch,) = (
        b for b in BatchLoader(samples, [(0, i) for i in range(len(samples))]) if b.joints.shape[1] == 0
    )
    assert (batch.images == 77).any()
    assert not batch.person_mask.any()
    maps = targets.draw(batch.joints, batch.person_mask.float() / 255, COCO, samples.settings.targets)
    assert maps.shape == (1, COCO.channels, 32, 48)
    assert not maps.any()


def test_reading_does_not_leak_memory(samples_file):
    """Reading 2,000 samples after the first 200 grows the memory by less than 30 samples."""
    samples = make(samples_file, "train.workers=0")

    def read(count):
        for number in range(count):
            samples[(number // len(samples), number % len(samples))]
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = read(200)
    assert read(2000) - before < 2 * 2**20


def test_the_workers_end_when_the_loader_is_deleted(samples_file):
    loader = BatchLoader(make(samples_file, "train.workers=1"), [(0, 0), (0, 1)])
    assert sum(len(batch.images) for batch in loader) == 2
    workers = multiprocessing.active_children()
    assert workers
    gc.disable()
    try:
        del loader
        assert not set(workers) & set(multiprocessing.active_children())
    finally:
        gc.enable()
