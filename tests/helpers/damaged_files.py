"""Files of training samples in which some pictures are damaged."""

from pathlib import Path

import h5py


def damage(path: Path, pictures: list[int]) -> list[int]:
    """Turn the bits of a byte amid each of these pictures; returns their ids."""
    with h5py.File(path, "r+") as file:
        ends, data = file["pictures/data_end"][()], file["pictures/data"]
        for picture in pictures:
            place = int(ends[picture]) - int(file["pictures/image_bytes"][picture]) // 2
            data[place] = data[place] ^ 0xFF
        return file["pictures/image_id"][()][pictures].tolist()
