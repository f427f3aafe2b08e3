"""Files of training samples that point elsewhere, state huge sizes, or have samples that cannot be drawn."""

import json
import os
import re
import zlib

import h5py
import numpy as np
import pytest
from prepared_images import header, write_and_prepare
from published_hdf5 import write_published
from torch.utils.data import DataLoader

from simplepose.config import Settings
from simplepose.data.dataset import FaultTolerantRecords, TrainingSamples
from simplepose.data.hdf5 import layout
from simplepose.data.hdf5.reader import DamagedRecordError, SampleFile
from simplepose.data.hdf5.writer import build_file
from simplepose.skeleton import COCO


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_and_prepare(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture
def path(images, tmp_path):
    (tmp_path / "a.h5").write_bytes(build_file(header(), images, []))
    return tmp_path / "a.h5"


def replace_column(file, name, values):
    """Replace a column by other values, with their checksum."""
    del file[name]
    file[name] = values
    file[name].attrs["crc32"] = zlib.crc32(np.ascontiguousarray(values).data)


def replace_image(file, row, image_bytes):
    """Replace the bytes of an image, with a matching checksum; its size must not grow."""
    ends, count = file["pictures/data_end"][()], len(image_bytes)
    start = 0 if row == 0 else ends[row - 1]
    assert count <= ends[row] - start
    data = file["pictures/data"]
    data[start : start + count] = np.frombuffer(image_bytes, np.uint8)
    sizes = file["pictures/image_bytes"][()]
    sizes[row] = count
    replace_column(file, "pictures/image_bytes", sizes)
    update_checksum(file, row)


def update_checksum(file, row):
    start = 0 if row == 0 else file["pictures/data_end"][row - 1]
    first = 0 if row == 0 else file["pictures/people_end"][row - 1]
    people = slice(first, file["pictures/people_end"][row])
    sums = file["pictures/checksum"][()]
    sums[row] = layout.checksum(
        file["pictures/data"][start : file["pictures/data_end"][row]],
        file["people/keypoints"][people],
        file["people/box_xywh"][people],
    )
    replace_column(file, "pictures/checksum", sums)


def external_link(file):
    del file["pictures/data"]
    file["pictures/data"] = h5py.ExternalLink("/dev/zero", "/x")


def soft_link(file):
    del file["pictures/size_hw"]
    file["pictures/size_hw"] = h5py.SoftLink("/samples/picture")


def external_storage(file):
    length = len(file["pictures/data"])
    del file["pictures/data"]
    file.create_dataset("pictures/data", (length,), np.uint8, external=[("/dev/zero", 0, length)])


def virtual(file):
    length = len(file["pictures/data"])
    del file["pictures/data"]
    target = h5py.VirtualLayout((length,), np.uint8)
    target[:] = h5py.VirtualSource("/dev/zero", "x", (length,))
    file.create_virtual_dataset("pictures/data", target)


def compound(file):
    count = len(file["pictures/image_id"])
    del file["pictures/image_id"]
    file["pictures/image_id"] = np.zeros(count, [("a", np.int64), ("b", np.int8)])


def unwritten_terabytes(file):
    del file["pictures/image_id"]
    file.create_dataset("pictures/image_id", (10**12,), np.int64).attrs["crc32"] = 0


def huge_chunk(file):
    del file["pictures/data"]
    file.create_dataset("pictures/data", (2**31,), np.uint8, chunks=(2**31,), compression="gzip")


def short_column(file):
    replace_column(file, "pictures/image_bytes", file["pictures/image_bytes"][()][:-1])


def row_out_of_range(file):
    replace_column(file, "samples/picture", file["samples/picture"][()] + 1000)


def negative_main_person(file):
    replace_column(file, "samples/main_person", file["samples/main_person"][()] - 5)


def ends_in_disorder(file):
    replace_column(file, "pictures/data_end", file["pictures/data_end"][()][::-1].copy())


def data_shorter_than_its_ends(file):
    data = file["pictures/data"][:100]
    del file["pictures/data"]
    file["pictures/data"] = data


def huge_size(file):
    replace_column(file, "pictures/size_hw", np.full_like(file["pictures/size_hw"][()], 2**31 - 1))


FILE_FAULTS = (
    *(external_link, soft_link, external_storage, virtual, compound, unwritten_terabytes, huge_chunk),
    *(short_column, row_out_of_range, negative_main_person, ends_in_disorder, data_shorter_than_its_ends),
    huge_size,
)


@pytest.mark.parametrize("fault", FILE_FAULTS, ids=lambda fault: fault.__name__)
def test_a_file_that_points_elsewhere_or_contradicts_itself_is_refused_when_opened(path, fault):
    with h5py.File(path, "r+") as file:
        fault(file)
    with pytest.raises(ValueError, match=r"a\.h5: damaged .*prepare_coco\.py"):
        SampleFile(path)


def test_a_named_pipe_is_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(ValueError, match=r"pipe\.h5: expected a regular file, got a named pipe"):
        SampleFile(tmp_path / "pipe.h5")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("dataset", ["people/keypoints", "people/box_xywh"])
@pytest.mark.parametrize("workers", [0, 1])
def test_values_that_are_not_coordinates_are_a_bad_record(path, value, dataset, workers):
    with h5py.File(path, "r+") as file:
        file[dataset][: file["pictures/people_end"][0]] = value
        update_checksum(file, 0)
    samples = TrainingSamples(path, Settings(), COCO)
    loader = DataLoader(samples, sampler=[(0, i) for i in range(3)], batch_size=None, num_workers=workers)
    assert all(np.isfinite(np.asarray(sample.joints)).all() for sample in loader)
    assert samples.damaged_images == 1


def test_a_mask_larger_than_its_image_is_a_bad_record_without_inflating_it(path, images):
    bomb = zlib.compress(bytes(50_000_000), 9)
    with pytest.raises(ValueError, match="expected masks of 7 x 13 pixels"):
        layout.unpack_masks(bomb, 7, 13)


def test_an_image_of_another_size_than_stated_is_a_bad_record(path, images):
    with h5py.File(path, "r+") as file:
        replace_image(file, 0, images[-1].encoded)
    with pytest.raises(DamagedRecordError, match="sample 0, of image 1, is damaged"):
        SampleFile(path)[0]
    assert FaultTolerantRecords(SampleFile(path))[0].image_id != 1


@pytest.mark.parametrize(
    "change",
    [
        {"joints": [[[float("nan"), 1, 1]] * 17]},
        {"joints": [[1, 2, 3]]},
        {"joints": 10**400},
        {"joints": None},
        {"joints": "many"},
        {"joints": [[["1", "2", "1"]] * 17]},
        {"joints": [[[1, 2, 1]] * 17, [[1, 2, 1]]]},
        {"objpos": "here"},
        {"objpos": [1, 2]},
        {"scale_provided": ["x"]},
        {"objpos": [[float("inf"), 0]]},
        {"scale_provided": [0]},
        {"scale_provided": []},
        {"image": "../000000000042"},
        {"image": 42},
        {"image": "9" * 30},
    ],
)
def test_a_hostile_published_sample_is_a_bad_record(tmp_path, change, caplog):
    path = tmp_path / "p.h5"
    write_published(path)
    with h5py.File(path, "r+") as file:
        sample = {**json.loads(file["dataset/0000000"][()]), **change}
        del file["dataset/0000000"]
        file["dataset/0000000"] = json.dumps(sample)
    with pytest.raises(DamagedRecordError) as error:
        SampleFile(path)[0]
    (key,) = change
    assert re.search(
        rf"{key}: expected .*, got |is damaged \(a keypoint is|main person's box is", str(error.value)
    )
    records = FaultTolerantRecords(SampleFile(path))
    assert records[0].image_id == 42
    assert records.damaged_images == 1


def published_link(file, name):
    file[name] = h5py.ExternalLink("/dev/zero", "/x")


def published_size(file, name):
    file.create_dataset(name, (20_000, 20_000, 3), np.uint8, compression="gzip")


def published_type(file, name):
    file[name] = np.zeros((48, 64, 3), np.float64)


@pytest.mark.parametrize("fault", [published_link, published_size, published_type], ids=lambda f: f.__name__)
def test_a_hostile_published_image_is_a_bad_record(tmp_path, fault):
    path, name = tmp_path / "p.h5", f"images/{42:012d}"
    write_published(path)
    with h5py.File(path, "r+") as file:
        del file[name]
        fault(file, name)
    with pytest.raises(DamagedRecordError, match="sample 0, of image 42, is damaged"):
        SampleFile(path)[0]
    assert FaultTolerantRecords(SampleFile(path))[0].image_id == 7
