"""A damaged record in training: told once, counted once, and another sample stands in for it."""

import logging
import pickle
from dataclasses import replace

import h5py
import pytest
from prepared_pictures import assert_same, header, write_and_prepare
from torch.utils.data import DataLoader, Dataset

from simplepose.data.dataset import GoodRecords
from simplepose.data.hdf5.reader import BadRecord, SampleFile
from simplepose.data.hdf5.writer import small_file


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_and_prepare(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def file(pictures, tmp_path):
    """A file of which the first, third and last pictures are damaged."""
    odd = [p.image_id for p in (pictures[0], pictures[2], pictures[-1])]
    (tmp_path / "a.h5").write_bytes(small_file(header(), pictures, []))
    with h5py.File(tmp_path / "a.h5", "r+") as content:
        for row, image_id in enumerate(content["pictures/image_id"]):
            if image_id in odd:
                content["pictures/data"][content["pictures/data_end"][row] - 3] ^= 1
    return SampleFile(tmp_path / "a.h5")


def damaged(file: SampleFile) -> list[int]:
    """The samples that cannot be read."""
    indices = []
    for index in range(len(file)):
        try:
            file[index]
        except BadRecord:
            indices.append(index)
    return indices


def told(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_next_that_can_be_read_stands_in_the_same_one_each_time(file, caplog):
    bad = damaged(file)
    assert {0, len(file) - 1} < set(bad)
    records = GoodRecords(file)
    for _ in range(2):
        for index in range(len(file)):
            expected = index
            while expected in bad:
                expected = (expected + 1) % len(file)
            assert_same(records[index], file[expected])


def test_each_damaged_picture_is_told_once_and_counted_once(file, pictures, caplog):
    records = GoodRecords(file)
    assert records.damaged_pictures == 0
    for _ in range(2):
        for index in range(len(file)):
            records[index]
    assert len(damaged(file)) > 3 == records.damaged_pictures
    assert len(told(caplog)) == 3
    for image_id, line in zip([1, 3, 99], sorted(told(caplog)), strict=True):
        assert f"another sample stands in: {file.path}: sample " in line
        assert f"of picture {image_id}, is damaged" in line


class _Read(Dataset):
    def __init__(self, records: GoodRecords) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records.file)

    def __getitem__(self, index: int) -> int:
        return self.records[index].image_id


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_share_what_was_told(file, tmp_path, workers):
    handler = logging.FileHandler(tmp_path / "log")
    logging.getLogger("simplepose").addHandler(handler)
    try:
        records = GoodRecords(file)
        loader = DataLoader(_Read(records), num_workers=workers, multiprocessing_context="fork")
        epochs = [[int(image_id) for image_id in loader] for _ in range(2)]
    finally:
        logging.getLogger("simplepose").removeHandler(handler)
    assert epochs[0] == epochs[1]
    assert not {1, 3, 99} & set(epochs[0])
    assert records.damaged_pictures == 3
    assert len((tmp_path / "log").read_text().splitlines()) == 3


def test_strictness_stops_at_the_first(file):
    records = GoodRecords(file, stop=True)
    good = next(index for index in range(len(file)) if index not in damaged(file))
    assert_same(records[good], file[good])
    with pytest.raises(BadRecord, match="sample 0, of picture 1, is damaged"):
        records[0]


def test_a_file_of_which_nothing_can_be_read(pictures, tmp_path, caplog):
    (tmp_path / "a.h5").write_bytes(small_file(header(), pictures, []))
    with h5py.File(tmp_path / "a.h5", "r+") as content:
        content["pictures/data"][...] = 0
    records = GoodRecords(SampleFile(tmp_path / "a.h5"))
    with pytest.raises(BadRecord, match=r"\d+ samples in a row: .*a\.h5: sample"):
        records[2]
    assert len(told(caplog)) == len(pictures)


def test_damage_that_a_decoder_alone_would_notice(pictures, tmp_path):
    """Bytes that are those that were written, and no picture."""
    odd = replace(pictures[0], encoded=b"no picture")
    (tmp_path / "a.h5").write_bytes(small_file(header(), [odd, *pictures[1:]], []))
    records = GoodRecords(SampleFile(tmp_path / "a.h5"))
    assert records[0].image_id == 2


def test_it_can_be_pickled(file):
    records = pickle.loads(pickle.dumps(GoodRecords(file)))
    assert records[0].image_id == 2
