"""Call the C++ bindings with valid and with randomly changed arguments: each call returns a valid result or
raises ValueError. A call depends only on its number.

    python tests/helpers/fuzz_bindings.py FIRST END

tests/grouping/test_grouping_fuzz.py runs it with an extension that is built with sanitizers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from simplepose.config import GroupingSettings
from simplepose.grouping import _grouping

JOINTS = 3
LIMB_ENDS = np.array([[0, 1], [1, 2], [2, 0]], np.int32)
SPECIAL_VALUES = [0, -1, 1, 2, np.nan, np.inf, -np.inf, 1e-30, 1e30, 2**31 - 1]
INVALID_OBJECTS = [
    None,
    "3",
    1.5,
    -1,
    0,
    2**31,
    2**63,
    10**5000,
    (),
    {},
    [[0, 1]],
    np.int64(2),
    np.float32("nan"),
]
DTYPES = ["f4", "f8", ">f4", "f2", "i4", "i8", ">i4", "u1", "c8", "O", "S4", "?"]
SETTINGS = {name: value for name, value in vars(GroupingSettings()).items() if name != "rules"}

Arguments = dict[str, Any]


def sample_maps(rng: np.random.Generator, channels: int, size: tuple[int, int]) -> np.ndarray:
    maps = rng.uniform(-0.2, 1.1, (channels, *size)).astype(np.float32)
    return maps.round(int(rng.integers(1, 4)))  # plateaus


def sample_settings(rng: np.random.Generator) -> GroupingSettings:
    return GroupingSettings(
        rules=("simplepose", "reference")[rng.integers(2)],
        max_peaks=int(rng.integers(1, 20)),
        max_connections=int(rng.integers(1, 20)),
        min_person_keypoints=int(rng.integers(1, 3)),
        min_person_score=float(rng.choice([0, 0.45])),
        score_area_exponent=float(rng.choice([0, 0.1, 1])),
    )


def sample_group(rng: np.random.Generator) -> Arguments:
    size = (int(rng.integers(1, 9)), int(rng.integers(1, 9)))
    maps = {name: sample_maps(rng, JOINTS, size) for name in ("limb_maps", "keypoint_maps")}
    return {**maps, "limb_ends": LIMB_ENDS.copy(), "settings": sample_settings(rng)}


def sample_find_peaks(rng: np.random.Generator) -> Arguments:
    arguments = sample_group(rng)
    return {name: arguments[name] for name in ("keypoint_maps", "settings")}


def sample_refine_maxima(rng: np.random.Generator) -> Arguments:
    height, width, count = (int(n) for n in rng.integers(1, 9, 3))
    cells = rng.integers(0, [JOINTS, height, width], (count, 3)).astype(np.int32)
    values = sample_maps(rng, 1, (count, 13))[0]
    values[:, 6] = rng.uniform(0.5, 1, count)
    sizes = {"joints": JOINTS, "height": height, "width": width}
    return {"cells": cells, "values": values, **sizes, "settings": sample_settings(rng)}


def sample_assemble_poses(rng: np.random.Generator) -> Arguments:
    height, width = (int(n) for n in rng.integers(1, 9, 2))
    counts = rng.integers(1, 4, JOINTS).astype(np.int32)
    peaks = rng.uniform([-0.5, -0.5, 0.1], [width - 0.5, height - 0.5, 1], (counts.sum(), 3))
    limbs = rng.integers(0, len(LIMB_ENDS), int(rng.integers(0, 9)))
    ends = np.column_stack([limbs, rng.integers(0, counts[LIMB_ENDS[limbs]]).reshape(-1, 2)]).astype(np.int32)
    connections = {"ends": ends, "scores": rng.uniform(0.1, 1, len(ends)), "limb_ends": LIMB_ENDS.copy()}
    sizes = {"height": height, "width": width}
    return {"peaks": peaks, "counts": counts, **connections, **sizes, "settings": sample_settings(rng)}


SAMPLERS: dict[str, Callable[[np.random.Generator], Arguments]] = {
    "group": sample_group,
    "find_peaks": sample_find_peaks,
    "refine_maxima": sample_refine_maxima,
    "assemble_poses": sample_assemble_poses,
}


def misalign(array: np.ndarray) -> np.ndarray:
    """Copy an array to an address that is not a multiple of its item size."""
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    memory[:] = np.frombuffer(array.tobytes(), np.uint8)
    return memory.view(array.dtype).reshape(array.shape)


def change_values(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """Replace a value, or a column, by a special value; integers also by a neighbor."""
    changed = array.copy()
    if changed.size == 0:
        return changed
    index = tuple(rng.integers(changed.shape))
    if changed.dtype.kind == "i" and rng.integers(2):
        changed[index] = (changed[index] + rng.choice([-1, 1])).astype(changed.dtype)  # may wrap around
        return changed
    value = SPECIAL_VALUES[rng.integers(len(SPECIAL_VALUES))]
    with np.errstate(all="ignore"):
        changed[(..., *index[1:]) if rng.integers(4) == 0 else index] = np.array(value).astype(changed.dtype)
    return changed


def change_shape(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """Remove or add rows, columns or axes."""
    axis = int(rng.integers(array.ndim))
    changes: list[Callable[[], np.ndarray]] = [
        lambda: np.delete(array, 0, axis) if array.shape[axis] else array,
        lambda: np.concatenate([array, array], axis),
        lambda: np.take(array, [], axis),
        lambda: array[None],
        lambda: array.reshape(-1),
        lambda: np.repeat(array, 600 if axis == 0 and array.size < 500 else 1, axis),
    ]
    return np.ascontiguousarray(changes[rng.integers(len(changes))]())


def change_array(rng: np.random.Generator, array: np.ndarray) -> object:
    changes: list[Callable[[], object]] = [
        lambda: change_values(rng, array),
        lambda: change_values(rng, array),
        lambda: change_shape(rng, array),
        lambda: np.zeros(array.shape, DTYPES[rng.integers(len(DTYPES))]),
        lambda: misalign(array),
        lambda: np.repeat(array, 2, -1)[..., ::2],
        lambda: array[..., ::-1],
        lambda: array.T,
        lambda: array.tolist(),
    ]
    return changes[rng.integers(len(changes))]()


def change_settings(rng: np.random.Generator, settings: GroupingSettings) -> GroupingSettings:
    """Set a field to a value that GroupingSettings refuses, as an assignment around its checks does."""
    values = [*SPECIAL_VALUES, *INVALID_OBJECTS]
    name = list(SETTINGS)[rng.integers(len(SETTINGS))]
    object.__setattr__(settings, name, values[rng.integers(len(values))])
    return settings


def change(rng: np.random.Generator, argument: object) -> object:
    if rng.integers(8) == 0:
        return INVALID_OBJECTS[rng.integers(len(INVALID_OBJECTS))]
    if isinstance(argument, np.ndarray):
        return change_array(rng, argument)
    if isinstance(argument, GroupingSettings):
        return change_settings(rng, argument)
    return (
        INVALID_OBJECTS[rng.integers(len(INVALID_OBJECTS))] if rng.integers(2) else int(rng.integers(0, 12))
    )


def check_result(name: str, arguments: Arguments, result: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = result
    if name in ("group", "assemble_poses"):
        joints = len(arguments["keypoint_maps" if name == "group" else "counts"])
        assert first.shape == (len(second), joints, 3)
        assert not np.isnan(first).any()
        assert not np.isnan(second).any()
        assert (second[1:] <= second[:-1]).all()
    else:
        assert first.shape == (second.sum(), 3)
        assert np.isfinite(first).all()
        assert (first[:, 2] > 0).all()


def run(number: int) -> bool:
    """Make the call with a number; return whether its arguments are valid."""
    rng = np.random.default_rng(number)
    name = list(SAMPLERS)[number % len(SAMPLERS)]
    arguments = SAMPLERS[name](rng)
    num_changes = int(rng.integers(0, 4))
    for _ in range(num_changes):
        key = list(arguments)[rng.integers(len(arguments))]
        arguments[key] = change(rng, arguments[key])
    try:
        result = getattr(_grouping, name)(**arguments)
    except ValueError as error:
        if num_changes == 0 or ": expected " not in str(error):
            raise
        return False
    check_result(name, arguments, result)
    return True


def main() -> None:
    first, end = int(sys.argv[1]), int(sys.argv[2])
    num_valid = 0
    for number in range(first, end):
        try:
            num_valid += run(number)
        except Exception as error:
            raise AssertionError(f"call {number} failed") from error
    print(f"{_grouping.__file__}: calls {first} to {end - 1} passed, {num_valid} with valid arguments")


if __name__ == "__main__":
    main()
