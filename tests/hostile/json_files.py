"""Hostile annotations in COCO's form. `prepare` and `evaluate` read them by the same rules."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import base_inputs
import numpy as np
from base_inputs import NETWORK, SMALL_INPUT, SPECIAL_FILES, created
from case import Case, Expected, or_value, refusal, reported, skip, value

from simplepose.cli import evaluate, prepare_coco
from simplepose.data.hdf5.reader import SampleFile

FILE = "people.json"
IMAGE, PERSON = r"(000000000002|image 2\b|image id 2\b)", r"annotation"
Change = Callable[[dict[str, Any]], Any]


def prepare_args(*more: str) -> list[str]:
    """Arguments of `prepare` for the case's annotations."""
    return [
        "--annotations",
        FILE,
        "--images",
        "../base/images",
        "--output",
        "out.h5",
        "--workers",
        "1",
        *more,
    ]


def evaluate_args() -> list[str]:
    """Arguments of `evaluate` for the case's annotations."""
    return ["--annotations", FILE, "--images", "../base/images", "--output", "out", *NETWORK, *SMALL_INPUT]


COMMANDS = {"prepare": (prepare_coco.main, prepare_args), "evaluate": (evaluate.main, evaluate_args)}


def prepared_as_healthy(folder: Path) -> None:
    """The file of samples is that of the healthy annotations."""
    made, healthy = SampleFile(folder / "out.h5"), SampleFile(folder.parent / "base/compressed.h5")
    assert len(made) == len(healthy), f"{len(made)} samples, expected {len(healthy)}"
    for a, b in zip(made, healthy, strict=True):
        assert np.array_equal(a.keypoints, b.keypoints), "other keypoints"
        assert np.array_equal(a.mask_miss, b.mask_miss), "another mask"


def prepared_all_people(folder: Path) -> None:
    """The file of samples has all people of the healthy annotations."""
    paths = folder / "out.h5", folder.parent / "base/compressed.h5"
    counts = [SampleFile(path).contents().people for path in paths]
    assert counts[0] == counts[1], f"{counts[0]} people, expected {counts[1]}"


def evaluated(folder: Path) -> None:
    """The AP is one of annotated people."""
    metrics = json.loads((folder / "out/metrics.json").read_text())
    assert 0 <= metrics["AP"] <= 1, f"AP {metrics['AP']}"


def wrote_samples(folder: Path) -> None:
    """Samples of the other images were written."""
    assert len(SampleFile(folder / "out.h5")) > 0


HEALTHY = {"prepare": value(prepared_as_healthy), "evaluate": value(evaluated)}
ALL_PEOPLE = {"prepare": value(prepared_all_people), "evaluate": value(evaluated)}
REFUSED = dict.fromkeys(COMMANDS, refusal(FILE))
# Preparation skips an image with malformed annotations; AP needs all images.
REFUSED_PERSON = {"prepare": reported(PERSON, "image"), "evaluate": refusal(FILE, PERSON, "image")}
# A segmentation is read by prepare only; it is checked by both, or left alone by evaluate.
SEGMENTATION = {"prepare": reported(PERSON, IMAGE), "evaluate": or_value(reported(FILE, PERSON))}
LARGE_SEGMENTATION = {name: or_value(expected) for name, expected in SEGMENTATION.items()}
IMAGE_FILE = {"prepare": reported("image"), "evaluate": reported("image")}


def each(list_name: str, **entries: Any) -> Change:
    """Set keys of all entries of a list; a function is called with the entry."""

    def change(content: dict[str, Any]) -> None:
        for entry in content[list_name]:
            entry.update({key: v(entry) if callable(v) else v for key, v in entries.items()})

    return change


def of_people(**entries: Any) -> Change:
    """Set keys of all annotations."""
    return each("annotations", **entries)


def of_one(**entries: Any) -> Change:
    """Set keys of the first annotation of image 2."""

    def change(content: dict[str, Any]) -> None:
        person = next(entry for entry in content["annotations"] if entry["image_id"] == 2)
        person.update({key: v(person) if callable(v) else v for key, v in entries.items()})

    return change


def of_image(**entries: Any) -> Change:
    """Set keys of image 2."""
    return lambda content: content["images"][1].update(entries)


def without(list_name: str, key: str) -> Change:
    """Remove a key from all entries of a list."""
    return lambda content: [entry.pop(key, None) for entry in content[list_name]]


def replaced(**entries: Any) -> Change:
    """Replace lists of the json."""
    return lambda content: content.update(entries)


def with_category(number: Any, name: str = "person") -> Change:
    """Give all annotations and the category another id."""

    def change(content: dict[str, Any]) -> None:
        of_people(category_id=number)(content)
        content["categories"][0].update(id=number, name=name)

    return change


def with_dogs(content: dict[str, Any]) -> None:
    """Turn the last annotation into one of another category."""
    content["categories"].append({"id": 18, "name": "dog"})
    content["annotations"][-1]["category_id"] = 18


def scaled_to_one(person: dict[str, Any]) -> list[float]:
    """Keypoints as fractions of an image of 400 x 400 pixels."""
    return [v / 400 if i % 3 < 2 else v for i, v in enumerate(person["keypoints"])]


def normalized(content: dict[str, Any]) -> None:
    """All coordinates as fractions."""
    of_people(keypoints=scaled_to_one, bbox=lambda p: [v / 400 for v in p["bbox"]], segmentation=[])(content)


def corners(person: dict[str, Any]) -> list[float]:
    """A box as its two corners."""
    x, y, width, height = person["bbox"]
    return [x, y, x + width, y + height]


def rle(counts: Any, size: Any = None) -> Change:
    """Give the person in image 2 these run lengths; a function is called with the number of pixels."""

    def change(content: dict[str, Any]) -> None:
        image = content["images"][1]
        height, width = image["height"], image["width"]
        runs = counts(height * width) if callable(counts) else counts
        shape = [height, width] if size is None else size
        of_one(segmentation={"size": shape, "counts": runs})(content)

    return change


def polygon(*values: Any) -> Change:
    """Give the person in image 2 this outline."""
    return of_one(segmentation=[list(values)])


def zigzag(points: int, extent: float = 90_000) -> Change:
    """An outline that crosses a large area with every point."""
    xy = [(0 if i % 2 else extent, extent * i / points) for i in range(points)]
    return polygon(*(value for point in xy for value in point))


# What is wrong: (change of the annotations, expected outcome by command).
CHANGES: dict[str, tuple[Change, dict[str, Expected]]] = {
    "image_id_text": (of_people(image_id=lambda p: str(p["image_id"])), HEALTHY),
    "ids_text": (
        lambda c: (
            of_people(image_id=lambda p: str(p["image_id"]), id=lambda p: str(p["id"]))(c),
            each("images", id=lambda i: str(i["id"]))(c),
        ),
        HEALTHY,
    ),
    "ids_float": (of_people(image_id=lambda p: float(p["image_id"]), id=lambda p: float(p["id"])), HEALTHY),
    "ids_repeated": (
        of_people(id=1),
        {name: or_value(REFUSED[name], HEALTHY[name].check) for name in HEALTHY},
    ),
    "ids_absent": (without("annotations", "id"), HEALTHY),
    "iscrowd_null": (of_people(iscrowd=None), HEALTHY),
    "iscrowd_text_0": (of_people(iscrowd="0"), HEALTHY),
    "iscrowd_text_false": (of_people(iscrowd="false"), HEALTHY),
    "iscrowd_false": (of_people(iscrowd=False), HEALTHY),
    "iscrowd_absent": (without("annotations", "iscrowd"), HEALTHY),
    "iscrowd_list": (of_one(iscrowd=[0]), REFUSED_PERSON),
    "iscrowd_word": (of_one(iscrowd="perhaps"), REFUSED_PERSON),
    "iscrowd_nan": (of_one(iscrowd=float("nan")), REFUSED_PERSON),
    "area_0": (of_people(area=0), ALL_PEOPLE),
    "area_absent": (without("annotations", "area"), ALL_PEOPLE),
    "area_null": (of_people(area=None), ALL_PEOPLE),
    "area_nan": (of_one(area=float("nan")), {name: or_value(REFUSED_PERSON[name]) for name in COMMANDS}),
    "area_infinite": (of_one(area=float("inf")), {name: or_value(REFUSED_PERSON[name]) for name in COMMANDS}),
    "area_word": (of_one(area="large"), REFUSED_PERSON),
    "area_negative": (of_one(area=-5), {name: or_value(REFUSED_PERSON[name]) for name in COMMANDS}),
    "num_keypoints_0": (of_people(num_keypoints=0), HEALTHY),
    "num_keypoints_99": (of_people(num_keypoints=99), HEALTHY),
    "num_keypoints_absent": (without("annotations", "num_keypoints"), HEALTHY),
    "num_keypoints_word": (of_people(num_keypoints="many"), HEALTHY),
    "category_7": (with_category(7), HEALTHY),
    "category_text": (with_category("1"), HEALTHY),
    "category_absent": (without("annotations", "category_id"), HEALTHY),
    "category_dog_only": (with_category(18, "dog"), dict.fromkeys(COMMANDS, refusal(FILE, "person|categor"))),
    "category_dog_too": (
        with_dogs,
        {"prepare": value(wrote_samples, "categor"), "evaluate": value(evaluated)},
    ),
    "categories_number": (replaced(categories=5), dict.fromkeys(COMMANDS, refusal(FILE, "categories"))),
    "categories_of_numbers": (
        replaced(categories=[1, 2]),
        dict.fromkeys(COMMANDS, or_value(refusal(FILE, "categories"))),
    ),
    "category_keypoints_of_numbers": (
        lambda c: c["categories"][0].update(keypoints=list(range(17))),
        dict.fromkeys(COMMANDS, refusal(FILE, "keypoints")),
    ),
    "images_number": (replaced(images=5), dict.fromkeys(COMMANDS, refusal(FILE, "images"))),
    "images_of_numbers": (replaced(images=[1, 2]), dict.fromkeys(COMMANDS, refusal(FILE, r"images\[0\]"))),
    "images_empty": (replaced(images=[]), REFUSED),
    "annotations_object": (
        replaced(annotations={"1": 2}),
        dict.fromkeys(COMMANDS, refusal(FILE, "annotations")),
    ),
    "annotations_of_null": (
        replaced(annotations=[None]),
        dict.fromkeys(COMMANDS, refusal(FILE, r"annotations\[0\]")),
    ),
    "image_twice": (of_image(id=1), dict.fromkeys(COMMANDS, refusal(FILE, "duplicate|twice|repeated"))),
    "image_twice_as_text": (
        of_image(id="1"),
        dict.fromkeys(COMMANDS, refusal(FILE, "duplicate|twice|repeated")),
    ),
    "image_id_fraction": (of_image(id=2.5), REFUSED),
    "image_id_nan": (of_image(id=float("nan")), REFUSED),
    "image_id_large": (of_image(id=2**70), REFUSED),
    "image_id_list": (of_image(id=[2]), REFUSED),
    "image_height_0": (
        of_image(height=0),
        {"prepare": refusal(FILE, "height"), "evaluate": or_value(refusal(FILE))},
    ),
    "image_height_1e9": (
        of_image(height=10**9),
        {"prepare": reported(IMAGE), "evaluate": or_value(reported(IMAGE))},
    ),
    "image_height_nan": (
        of_image(height=float("nan")),
        {"prepare": refusal(FILE, "height"), "evaluate": or_value(refusal(FILE))},
    ),
    "image_height_word": (
        of_image(height="tall"),
        {"prepare": refusal(FILE, "height"), "evaluate": or_value(refusal(FILE))},
    ),
    "image_of_another_size": (
        of_image(height=64, width=64),
        {"prepare": reported(IMAGE), "evaluate": or_value(reported(IMAGE))},
    ),
    "person_of_no_image": (of_one(image_id=12345), dict.fromkeys(COMMANDS, or_value(refusal(FILE, PERSON)))),
    "person_image_id_absent": (without("annotations", "image_id"), REFUSED),
    "person_image_id_object": (of_one(image_id={}), REFUSED),
    "keypoints_short": (of_one(keypoints=lambda p: p["keypoints"][:-1]), REFUSED_PERSON),
    "keypoints_long": (of_one(keypoints=[1.0] * 100_000), REFUSED_PERSON),
    "keypoints_nan": (of_one(keypoints=[float("nan"), 1, 2] * 17), REFUSED_PERSON),
    "keypoints_infinite": (of_one(keypoints=[float("-inf"), 1, 2] * 17), REFUSED_PERSON),
    "keypoints_1e308": (of_one(keypoints=[1e308, 1, 2] * 17), REFUSED_PERSON),
    "keypoints_large_integer": (of_one(keypoints=[10**400, 1, 2] * 17), REFUSED_PERSON),
    "keypoints_words": (of_one(keypoints=["nose"] * 51), REFUSED_PERSON),
    "keypoints_text": (of_one(keypoints="1" * 51), REFUSED_PERSON),
    "keypoints_null": (of_one(keypoints=[None] * 51), REFUSED_PERSON),
    "keypoints_nested": (of_one(keypoints=[[1, 1, 2]] * 17), REFUSED_PERSON),
    "keypoints_object": (of_one(keypoints={"nose": [1, 1, 2]}), REFUSED_PERSON),
    "keypoints_v_7": (of_one(keypoints=[50, 50, 7] * 17), REFUSED_PERSON),
    "keypoints_v_negative": (of_one(keypoints=[50, 50, -1] * 17), REFUSED_PERSON),
    "keypoints_v_half": (of_one(keypoints=[50, 50, 0.5] * 17), REFUSED_PERSON),
    "bbox_absent": (of_one(bbox=None), REFUSED_PERSON),
    "bbox_short": (of_one(bbox=[1, 2, 3]), REFUSED_PERSON),
    "bbox_nan": (of_one(bbox=[1, 2, float("nan"), 4]), REFUSED_PERSON),
    "bbox_1e300": (of_one(bbox=[0, 0, 1e300, 1e300]), REFUSED_PERSON),
    "bbox_text": (of_one(bbox="1 2 3 4"), REFUSED_PERSON),
    "bbox_object": (of_one(bbox={"x": 1}), REFUSED_PERSON),
    "bbox_corners": (of_people(bbox=corners), dict.fromkeys(COMMANDS, refusal(FILE, "corner"))),
    "normalized": (
        normalized,
        dict.fromkeys(COMMANDS, refusal(FILE, r"0 to 1|0\.\.1|\[0, 1\]|normali|fraction")),
    ),
    "person_large": (of_one(note="x" * 10_000_000, bbox=[1]), REFUSED_PERSON),
    "key_with_escape": (of_one(**{"\x1b[31mred": 1, "bbox": "\x1b[31mred"}), REFUSED_PERSON),
    "all_crowds": (
        of_people(iscrowd=1),
        {"prepare": refusal(FILE + "|no training sample"), "evaluate": or_value(refusal(FILE))},
    ),
    "no_annotations": (replaced(annotations=[]), {"prepare": refusal(FILE), "evaluate": value()}),
    # Run lengths
    "rle_more_runs_than_pixels": (rle(lambda n: [0] * (2 * n) + [n]), SEGMENTATION),
    "rle_fractions": (rle(lambda n: [0.5, n - 0.5]), SEGMENTATION),
    "rle_negative": (rle(lambda n: [-5, n + 5]), SEGMENTATION),
    "rle_large": (rle(lambda n: [2**63, n]), SEGMENTATION),
    "rle_wraps_32_bits": (rle(lambda n: [2**32, n]), SEGMENTATION),
    "rle_short": (rle([1, 2, 3]), SEGMENTATION),
    "rle_words": (rle(["a", "b"]), SEGMENTATION),
    "rle_nested": (rle([[1], [2]]), SEGMENTATION),
    "rle_booleans": (rle(lambda n: [True, n - 1]), LARGE_SEGMENTATION),
    "rle_nan": (rle(lambda n: [float("nan"), n]), SEGMENTATION),
    "rle_null": (rle(None), SEGMENTATION),
    "rle_object": (rle({}), SEGMENTATION),
    "rle_text_of_1e6": (rle("o" * 1_000_000), SEGMENTATION),
    "rle_text_without_end": (rle("P" * 1_000_000), SEGMENTATION),
    "rle_text_beyond_ascii": (rle("\u00e9\u20ac"), SEGMENTATION),
    "rle_text_control": (rle("\x00\x01\x1b"), SEGMENTATION),
    "rle_text_spaces": (rle("0 0 0"), SEGMENTATION),
    "rle_size_1e6": (rle([10**12], [10**6, 10**6]), SEGMENTATION),
    "rle_size_negative": (rle([1], [-1, -1]), SEGMENTATION),
    "rle_size_word": (rle([1], "large"), SEGMENTATION),
    "rle_size_null": (lambda c: of_one(segmentation={"counts": [1]})(c), SEGMENTATION),
    "rle_size_nested": (rle([1], [[240], [320]]), SEGMENTATION),
    # Polygons
    "zigzag_400": (zigzag(400), LARGE_SEGMENTATION),
    "zigzag_30000": (zigzag(30_000), LARGE_SEGMENTATION),
    "zigzag_in_image": (zigzag(200_000, 200), LARGE_SEGMENTATION),
    "polygons_100000": (of_one(segmentation=[[1, 1, 5, 1, 5, 5]] * 100_000), LARGE_SEGMENTATION),
    "polygon_nan": (polygon(1, 1, float("nan"), 5, 5, 9), SEGMENTATION),
    "polygon_infinite": (polygon(1, 1, float("inf"), 5, 5, 9), SEGMENTATION),
    "polygon_1e300": (polygon(1, 1, 1e300, 5, 5, 9), SEGMENTATION),
    "polygon_odd": (polygon(1, 1, 5, 5, 9, 9, 3), SEGMENTATION),
    "polygon_words": (polygon("a", "b", "c", "d", "e", "f"), SEGMENTATION),
    "polygon_nested": (polygon([1, 1], [5, 1], [5, 5], [1, 5], [2, 2], [3, 3]), SEGMENTATION),
    "polygon_null": (of_one(segmentation=[None]), SEGMENTATION),
    "segmentation_number": (of_one(segmentation=5), SEGMENTATION),
    "segmentation_text": (of_one(segmentation="1 2 3 4 5 6"), SEGMENTATION),
    # File names
    "file_name_number": (of_image(file_name=5), REFUSED),
    "file_name_empty": (of_image(file_name=""), IMAGE_FILE),
    "file_name_folder": (of_image(file_name="."), IMAGE_FILE),
    "file_name_above": (of_image(file_name="../person_keypoints.json"), IMAGE_FILE),
    "file_name_absolute": (of_image(file_name="/etc/hostname"), IMAGE_FILE),
    "file_name_device": (of_image(file_name="/dev/zero"), IMAGE_FILE),
    "file_name_device_relative": (of_image(file_name="../../../../../../../../dev/zero"), IMAGE_FILE),
    "file_name_long": (of_image(file_name="a" * 5000), IMAGE_FILE),
    "file_name_missing": (of_image(file_name="missing.jpg"), IMAGE_FILE),
    "file_name_nul": (of_image(file_name="a\0b.jpg"), IMAGE_FILE),
    "file_name_surrogate": (of_image(file_name="\ud800.jpg"), IMAGE_FILE),
    "file_name_escape": (of_image(file_name="\x1b[31mred\n.jpg"), IMAGE_FILE),
}

# Contents that are not annotations.
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "number": b"3",
    "null": b"null",
    "list": b"[]",
    "results": json.dumps([{"image_id": 1, "keypoints": [1.0] * 51, "score": 1.0}]).encode(),
    "text": b"this is text",
    "binary": bytes(range(256)),
    "truncated": b'{"images": [{"id": 1, "file_na',
    "nested": b"[" * 200_000,
    "nested_objects": b'{"a":' * 100_000,
    "long_number": b'{"images": [], "annotations": [' + b"9" * 1_000_000 + b"]}",
    "gzip": gzip.compress(b'{"images": []}'),
    "lines": b'{"images": []}\n{"images": []}\n',
    "escape": b'\x1b[31m{"images": []}',
    "utf16_half": '{"images": []}'.encode("utf-16")[:-1],
}


def write_changed(change: Change, arguments: Callable[[], Sequence[str]]) -> Callable[[Path], Sequence[str]]:
    """Return a function that writes changed annotations."""

    def write(folder: Path) -> Sequence[str]:
        content = base_inputs.annotations(folder)
        change(content)
        (folder / FILE).write_text(json.dumps(content))
        return arguments()

    return write


def write_content(content: bytes, arguments: Callable[[], Sequence[str]]) -> Callable[[Path], Sequence[str]]:
    """Return a function that writes these bytes."""

    def write(folder: Path) -> Sequence[str]:
        (folder / FILE).write_bytes(content)
        return arguments()

    return write


def write_beside(name: str, content: bytes | None, *more: str) -> Callable[[Path], Sequence[str]]:
    """Return a function that writes healthy annotations and a second file; None: a FIFO."""

    def write(folder: Path) -> Sequence[str]:
        (folder / FILE).write_text(json.dumps(base_inputs.annotations(folder)))
        path = folder / name
        os.mkfifo(path) if content is None else path.write_bytes(content)
        return prepare_args(*more)

    return write


def results(**changes: Any) -> bytes:
    """A results file of one person."""
    return json.dumps(
        [{"image_id": 1, "category_id": 1, "keypoints": [5.0, 5, 1] * 17, "score": 1, **changes}]
    ).encode()


RESULTS = {
    "empty": b"",
    "object": b"{}",
    "number": b"[3]",
    "nested": b"[" * 200_000,
    "keypoints_nan": results(keypoints=[float("nan"), 1, 1] * 17),
    "keypoints_1e300": results(keypoints=[1e300, 1, 1] * 17),
    "keypoints_word": results(keypoints="nose"),
    "score_nan": results(score=float("nan")),
    "image_id_infinite": results(image_id=float("inf")),
    "image_id_object": results(image_id={}),
    "fifo": None,
}
SPLITS = {
    "binary": bytes(range(256)),
    "words": b"one two",
    "empty": b"",
    "long_number": b"9" * 100_000,
    "fifo": None,
}


def write_linked_image(create: Callable[[Path], Any], command: str) -> Callable[[Path], Sequence[str]]:
    """Return a function that replaces image 2 by a special file."""

    def write(folder: Path) -> Sequence[str]:
        (folder / "images").mkdir()
        content = base_inputs.annotations(folder)
        for entry in content["images"]:
            path = folder / "images" / entry["file_name"]
            path.write_bytes((folder.parent / "base/images" / entry["file_name"]).read_bytes())
        path = folder / "images" / content["images"][1]["file_name"]
        path.unlink()
        create(path)
        (folder / FILE).write_text(json.dumps(content))
        arguments = COMMANDS[command][1]()
        return ["images" if word == "../base/images" else word for word in arguments]

    return write


def _json_cases() -> list[Case]:
    cases = []
    for command, (main, arguments) in COMMANDS.items():
        for name, (change, expected) in CHANGES.items():
            cases.append(
                Case(f"json/{command}/{name}", write_changed(change, arguments), main, expected[command])
            )
        for name, content in CONTENTS.items():
            cases.append(
                Case(f"json/{command}/content_{name}", write_content(content, arguments), main, refusal(FILE))
            )
        for name, create in SPECIAL_FILES.items():
            cases.append(
                Case(f"json/{command}/{name}", created(create, FILE, arguments()), main, refusal(FILE))
            )
            cases.append(
                Case(
                    f"json/{command}/image_{name}",
                    write_linked_image(create, command),
                    main,
                    skip("000000000002"),
                )
            )
    for name in ("rle_more_runs_than_pixels", "rle_fractions", "zigzag_30000"):
        change, expected = CHANGES[name]
        arguments_2 = lambda: [*prepare_args(), "--workers", "2"]  # noqa: E731
        cases.append(
            Case(
                f"json/prepare/workers_{name}",
                write_changed(change, arguments_2),
                prepare_coco.main,
                expected["prepare"],
            )
        )
    for name, content in RESULTS.items():
        write = write_beside("results.json", content, "--unlabeled", "results.json")
        cases.append(Case(f"json/unlabeled/{name}", write, prepare_coco.main, refusal("results.json")))
    for name, content in SPLITS.items():
        write = write_beside("split.txt", content, "--split", "split.txt")
        cases.append(Case(f"json/split/{name}", write, prepare_coco.main, refusal("split.txt")))
    return cases


CASES = _json_cases()
