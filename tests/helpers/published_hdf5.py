"""A small file of training samples in the layout of the published code."""

import json

import h5py
import numpy as np


def write_published(path, crop=512):
    """Write a file in the published layout: image 42 with two samples, then image 7 with one."""
    rng = np.random.default_rng(1)
    joints = rng.uniform(0, 40, (3, 17, 3)).round(1)
    joints[..., 2] = rng.integers(0, 3, (3, 17))
    joints[2] = (0, 0, 2)
    images = {42: rng.integers(0, 256, (48, 64, 3), np.uint8), 7: rng.integers(0, 256, (30, 20, 3), np.uint8)}
    with h5py.File(path, "w") as file:
        for number, (image_id, order) in enumerate([(42, [0, 1, 2]), (42, [1, 0, 2]), (7, [0])]):
            sample = {
                "image": f"{image_id:012d}",
                "joints": joints[order].tolist(),
                "objpos": [[10.5 * (person + 1), 20.25] for person in order],
                "scale_provided": [64 * (person + 1) / crop for person in order],
            }
            dataset = file.create_dataset(f"dataset/{number:07d}", data=json.dumps(sample))
            dataset.attrs["meta"] = json.dumps({**sample, "dataset": "COCO", "isValidation": 0})
        for image_id, image in images.items():
            masks = np.zeros((*image.shape[:2], 2), np.uint8)
            masks[..., 0], masks[4:9, 3:8, 1] = 255, 255
            file[f"images/{image_id:012d}"] = image
            file[f"masks/{image_id:012d}"] = masks
    return images, joints
