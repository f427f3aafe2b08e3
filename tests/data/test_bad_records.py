"""A damaged record in training is logged once, counted once, and replaced by another sample."""

import logging
import pickle
from dataclasses import replace

import h5py
import pytest
from prepared_images import assert_records_equal, header, write_and_prepare
from torch.utils.data import DataLoader, Dataset

from simplepose.data.dataset import FaultTolerantRecords
from simplepose.data.hdf5.reader import DamagedRecordError, SampleFile
from simplepose.data.hdf5.writer import build_file


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_and_prepare(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture
def file(images, tmp_path):
    """A file in which the first, third and last images are damaged."""
    damaged_ids = [p.image_id for p in (images[0], images[2], images[-1])]
    (tmp_path / "a.h5").write_bytes(build_file(header(), images, []))
    with h5py.File(tmp_path / "a.h5", "r+") as content:
        for row, image_id in enumerate(content["pictures/image_id"]):
            if image_id in damaged_ids:
                content["pictures/data"][content["pictures/data_end"][row] - 3] ^= 1
    return SampleFile(tmp_path / "a.h5")


def damaged(file: SampleFile) -> list[int]:
    """The indices of the unreadable samples."""
    indices = []
    for index in range(len(file)):
        try:
            file[index]
        except DamagedRecordError:
            indices.append(index)
    return indices


def messages(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_damaged_record_is_always_replaced_by_the_next_readable_one(file, caplog):
    damaged_indices = damaged(file)
    assert {0, len(file) - 1} < set(damaged_indices)
    records = FaultTolerantRecords(file)
    for _ in range(2):
        for index in range(len(file)):
            expected = index
            while expected in damaged_indices:
                expected = (expected + 1) % len(file)
            assert_records_equal(records[index], file[expected])


def test_each_damaged_image_is_logged_and_counted_once(file, images, caplog):
    records = FaultTolerantRecords(file)
    assert records.damaged_images == 0
    for _ in range(2):
        for index in range(len(file)):
            records[index]
    assert len(damaged(file)) > 3 == records.damaged_images
    assert len(messages(caplog)) == 3
    for image_id, line in zip([1, 3, 99], sorted(messages(caplog)), strict=True):
        assert f"another sample replaces a damaged one: {file.path}: sample " in line
        assert f"of image {image_id}, is damaged" in line


class _ImageIds(Dataset):
    def __init__(self, records: FaultTolerantRecords) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records.file)

    def __getitem__(self, index: int) -> int:
        return self.records[index].image_id


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_share_what_was_logged(file, tmp_path, workers):
    handler = logging.FileHandler(tmp_path / "log")
    logging.getLogger("simplepose").addHandler(handler)
    try:
        records = FaultTolerantRecords(file)
        loader = DataLoader(_ImageIds(records), num_workers=workers, multiprocessing_context="fork")
        epochs = [[int(image_id) for image_id in loader] for _ in range(2)]
    finally:
        logging.getLogger("simplepose").removeHandler(handler)
    assert epochs[0] == epochs[1]
    assert not {1, 3, 99} & set(epochs[0])
    assert records.damaged_images == 3
    assert len((tmp_path / "log").read_text().splitlines()) == 3


def test_strict_raises_at_the_first_damaged_record(file):
    records = FaultTolerantRecords(file, strict=True)
    good = next(index for index in range(len(file)) if index not in damaged(file))
    assert_records_equal(records[good], file[good])
    with pytest.raises(DamagedRecordError, match="sample 0, of image 1, is damaged"):
        records[0]


def test_a_completely_damaged_file_raises(images, tmp_path, caplog):
    (tmp_path / "a.h5").write_bytes(build_file(header(), images, []))
    with h5py.File(tmp_path / "a.h5", "r+") as content:
        content["pictures/data"][...] = 0
    records = FaultTolerantRecords(SampleFile(tmp_path / "a.h5"))
    with pytest.raises(DamagedRecordError, match=r"\d+ consecutive samples are damaged: .*a\.h5: sample"):
        records[2]
    assert len(messages(caplog)) == len(images)


def test_bytes_that_match_their_checksum_but_are_not_an_image_are_replaced(images, tmp_path):
    """The checksum matches, but the decoder fails."""
    broken = replace(images[0], encoded=b"not an image")
    (tmp_path / "a.h5").write_bytes(build_file(header(), [broken, *images[1:]], []))
    records = FaultTolerantRecords(SampleFile(tmp_path / "a.h5"))
    assert records[0].image_id == 2


def test_records_can_be_pickled(file):
    records = pickle.loads(pickle.dumps(FaultTolerantRecords(file)))
    assert records[0].image_id == 2
