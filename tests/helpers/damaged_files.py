"""Damage some images of a file of training samples."""

from pathlib import Path

import h5py


def damage(path: Path, image_rows: list[int]) -> list[int]:
    """Flip the bits of a byte in the middle of each of these images; returns their ids."""
    with h5py.File(path, "r+") as file:
        ends, data = file["pictures/data_end"][()], file["pictures/data"]
        for row in image_rows:
            position = int(ends[row]) - int(file["pictures/image_bytes"][row]) // 2
            data[position] = data[position] ^ 0xFF
        return file["pictures/image_id"][()][image_rows].tolist()
