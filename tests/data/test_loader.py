"""The loader over files as they are: several, damaged, of nobody; by both kinds of worker; and its memory."""

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
from drawn_coco import write_drawn_coco
from places import CONFIGS

from simplepose import config, targets
from simplepose.cli import door, prepare_coco, train
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.data.hdf5.reader import BadRecord, SampleFile
from simplepose.data.loader import SLOTS, Loader
from simplepose.data.mixing import Source
from simplepose.skeleton import COCO


def make(sources, *overrides):
    settings = config.load(CONFIGS / "smoke.yaml", ["train.batch_size=2", *overrides])
    return TrainingSamples(sources, settings, COCO)


@pytest.fixture
def damaged(samples_file, tmp_path):
    """A file whose pictures 1 and 4 are damaged, and their ids."""
    path = Path(shutil.copy(samples_file, tmp_path / "damaged.h5"))
    return path, damage(path, [1, 4])


@pytest.fixture(scope="module")
def with_nobody(tmp_path_factory):
    """Samples of three drawn pictures and of one that shows nobody."""
    folder = tmp_path_factory.mktemp("nobody")
    annotations, images = write_drawn_coco(folder, pictures=3)
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
    return list(Loader(samples, sampler))


def same(first, second):
    pairs = zip(first, second, strict=True)
    return all(torch.equal(x, y) for a, b in pairs for x, y in zip(a, b, strict=True))


def test_mixed_and_damaged_files_give_the_same_batches_however_they_are_read(
    samples_file, damaged, with_nobody, start_method
):
    """Also where this process has read of the files before its workers are started."""
    sources = [Source(samples_file), Source(damaged[0], 0.5), Source(with_nobody, 2)]
    alone = make(sources, "train.workers=0")
    together = make(sources, "train.workers=3")
    assert together[(0, 0)].image.shape == (128, 192, 3)
    assert same(batches_of(alone, 1), batches_of(together, 1))
    assert 1 <= together.damaged_pictures == alone.damaged_pictures <= 2


def test_batches_keep_what_they_hold_while_workers_go_on(samples_file):
    """Many more than there are slots, the consumer now slow, now gone before the end; the last is smaller."""
    alone, together = (make(samples_file, f"train.workers={n}", "train.batch_size=3") for n in (0, 2))
    places = [(epoch, index) for epoch in range(12) for index in range(len(alone))][:-1]
    assert len(places) % 3
    expected, batches = list(Loader(alone, places)), Loader(together, places)
    assert len(batches) == len(expected) > 3 * 2 * SLOTS
    taken = list(itertools.islice(batches, 5))
    for batch in batches:
        time.sleep(0.01)
        taken.append(batch)
    assert same(taken[:5], expected[:5])
    assert same(taken[5:], expected)


def test_over_ranks_and_workers_an_epoch_is_every_sample_once(samples_file):
    """As many as fill whole steps; a sample is known by its pixels."""
    plain = [f"augment.{name}=0" for name in ("rotation", "shift", "scale_probability", "tint_probability")]
    samples = make(samples_file, "train.workers=2", "augment.flip_probability=0", *plain)
    every = Counter(samples[(0, i)].image.tobytes() for i in range(len(samples)))
    seen = Counter()
    for rank in range(2):
        for batch in batches_of(samples, 3, rank, 2):
            seen.update(image.numpy().tobytes() for image in batch.images)
    assert not seen - every
    assert sum(seen.values()) == len(samples) // 4 * 4 >= 4


def test_a_damaged_picture_is_told_once_and_another_stands_in(damaged, caplog):
    path, ids = damaged
    samples = make(path)
    with caplog.at_level(logging.WARNING):
        for epoch in range(3):
            for index in range(len(samples)):
                assert samples.record((epoch, index)).image_id not in ids
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == samples.damaged_pictures == len(ids)
    assert all(any(f"of picture {image_id}, is damaged" in line for line in told) for image_id in ids)


def test_damage_that_workers_meet_is_counted_here(damaged):
    samples = make(damaged[0], "train.workers=2")
    assert len(batches_of(samples)) == len(samples) // 2
    assert samples.damaged_pictures >= 1


def test_strict_stops_at_damage(damaged):
    samples = make(damaged[0], "train.strict=true", "train.workers=0")
    places = [(0, index) for index in range(len(samples))]
    with pytest.raises(BadRecord, match="is damaged"):
        list(Loader(samples, places))


def test_where_nothing_can_be_read_the_run_ends(samples_file, tmp_path):
    path = Path(shutil.copy(samples_file, tmp_path / "all.h5"))
    damage(path, list(range(len(SampleFile(path).pictures))))
    with pytest.raises(BadRecord, match="samples in a row"):
        make(path)[(0, 0)]


@pytest.mark.parametrize("strict", [False, True])
def test_a_run_tells_of_damage_in_its_end(damaged, tmp_path, capsys, strict):
    args = ["--config", CONFIGS / "smoke.yaml", "--train", damaged[0], "--output", tmp_path / "run"]
    args += ["--device", "cpu", "--set", "train.epochs=1", "train.workers=1", "train.batch_size=2"]
    status = door(train.main, [str(arg) for arg in [*args, f"train.strict={str(strict).lower()}"]])
    out, err = capsys.readouterr()
    if strict:
        last = err.strip().splitlines()[-1]
        assert status == 2
        assert last.startswith(f"error: {damaged[0]}: sample ")
        assert "is damaged" in last
    else:
        assert status == 0
        assert "damaged pictures: " in out


def test_pictures_of_nobody_teach_that_nobody_is_there(with_nobody):
    samples = make(with_nobody, "train.batch_size=1")
    (batch,) = (b for b in Loader(samples, [(0, i) for i in range(len(samples))]) if b.joints.shape[1] == 0)
    assert (batch.images == 77).any()
    assert not batch.person_mask.any()
    maps = targets.draw(batch.joints, batch.person_mask.float() / 255, COCO, samples.settings.targets)
    assert maps.shape == (1, COCO.channels, 32, 48)
    assert not maps.any()


def test_reading_on_takes_no_more_memory(samples_file):
    """2,000 samples after the first 200 leave less behind than 30 of them take."""
    samples = make(samples_file, "train.workers=0")

    def read(count):
        for number in range(count):
            samples[(number // len(samples), number % len(samples))]
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = read(200)
    assert read(2000) - before < 2 * 2**20
