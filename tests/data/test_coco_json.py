"""One reader of COCO json for preparation and evaluation: equal values, or a refusal with a name."""

import json
import math
import shutil

import pytest
from annotated_images import person, write_annotated_image, write_rotated_jpeg
from repo_paths import CONFIGS

from simplepose import coco_json, skeleton
from simplepose.cli import prepare_coco, run_command
from simplepose.cli.ap import list_annotated_images
from simplepose.data import coco
from simplepose.data.hdf5.reader import SampleFile
from simplepose.evaluation import coco_eval
from simplepose.skeleton import COCO
from simplepose.sources import ImageSource, SourceOptions

READERS = (coco.read_annotations, coco_eval.read_annotations)
CATEGORY = {"id": 1, "name": "person", "keypoints": list(COCO.annotated)}


@pytest.fixture
def write(tmp_path):
    """Write an image of 90 x 60 pixels and a json of one person, changed; returns the path of the json."""

    def write_json(change=lambda content: None, **person_values):
        write_annotated_image(tmp_path)
        values = {"id": 5, "image_id": 7, **person((10, 5, 40, 40)), "num_keypoints": 17}
        keypoints = [[12 + 2 * n, 6 + 2 * n, 2] for n in range(17)]
        values["keypoints"] = [value for row in keypoints for value in row]
        image = {"id": 7, "file_name": "a.png", "height": 60, "width": 90}
        content = {
            "images": [image],
            "annotations": [{**values, **person_values}],
            "categories": [dict(CATEGORY)],
        }
        change(content)
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content))
        return path

    return write_json


DEFAULT = coco_json.ReadOptions()


def read_both(path, options=DEFAULT):
    """The person of the json as preparation and as evaluation read it."""
    (image,) = coco.read_annotations(path, options=options)
    persons = coco.parse_persons(image, 17)
    truth = coco_eval.read_annotations(path, options=options)
    found = truth.anns[1]
    assert found["image_id"] == image.image_id
    assert [bool(found["iscrowd"])] == persons.crowd.tolist()
    return persons, found


def prepare_status(path, *more):
    files = [
        "--annotations",
        str(path),
        "--images",
        str(path.parent),
        "--output",
        str(path.with_suffix(".h5")),
    ]
    return run_command(prepare_coco.main, [*files, "--workers", "1", *more])


@pytest.mark.parametrize("value", ["7", 7.0, "7.0"])
@pytest.mark.parametrize("owner", ["images", "annotations"])
def test_ids_are_converted_if_nothing_is_lost(write, owner, value):
    key = "id" if owner == "images" else "image_id"
    read_both(write(lambda content: content[owner][0].update({key: value})))


@pytest.mark.parametrize("value", [7.5, "seven", True, None, [7], float("nan"), float("inf"), 2**63, ""])
def test_other_ids_are_refused(write, value):
    path = write(lambda content: content["annotations"][0].update(image_id=value))
    for reader in READERS:
        with pytest.raises(ValueError, match=r"a\.json: .*annotations\[0\] has no 'image_id'"):
            reader(path)


def test_equal_ids_of_two_types_are_duplicates(write):
    path = write(lambda content: content["images"].append({**content["images"][0], "id": "7"}))
    for reader in READERS:
        with pytest.raises(ValueError, match=r"duplicate image id: 7 of 'a\.png' and '7' of 'a\.png'"):
            reader(path)


@pytest.mark.parametrize(
    ("value", "crowd"),
    [
        (0, 0),
        (1, 1),
        (True, 1),
        (False, 0),
        ("0", 0),
        ("1", 1),
        ("false", 0),
        ("True", 1),
        (None, 0),
        (0.0, 0),
    ],
)
def test_crowd_flags_have_one_reading(write, value, crowd):
    assert read_both(write(iscrowd=value))[1]["iscrowd"] == crowd


@pytest.mark.parametrize("area", [None, 0, 0.0, float("nan")])
def test_the_area_of_the_box_is_used_and_logged_once(write, caplog, area):
    path = write(area=area)
    persons, found = read_both(path)
    assert persons.areas.tolist() == [1600]
    assert found["area"] == pytest.approx(coco_eval.BOX_AREA_FRACTION * 1600)
    assert (
        len([line for line in caplog.messages if "1 of 1 people have no area" in line]) == 2
    )  # one a reader


def chain_of_people():
    """Annotations of one image, most of them with an odd value; `keypoints[3:6]` is a keypoint."""
    keypoints = [value for n in range(17) for value in (12 + 2 * n, 6 + 2 * n, 2)]
    small = [value for n in range(17) for value in (0.5 + n / 100, 0.5, 2)]
    changes = [
        {},
        {"area": "1"},
        {"area": -1},
        {"area": None},
        {"area": True},
        {"iscrowd": "1"},
        {"iscrowd": 2},
    ]
    changes += [
        {"iscrowd": True},
        {"iscrowd": 1},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 3, math.nan]},
        {"id": "x"},
    ]
    changes += [
        {"bbox": [1, 2, 3, 10**6]},
        {"bbox": [0.1, 0.1, 0.5, 0.5]},
        {"bbox": [0, 0, 0, 0]},
        {"bbox": None},
    ]
    changes += [{"keypoints": small}, {"keypoints": small[:6] + [0] * 45}, {"keypoints": [1] * 51}]
    changes += [
        {"keypoints": values} for values in ([], None, "x", [0] * 51, [0] * 50, [0.0] * 51, [3.0] * 51)
    ]
    for value in (math.nan, math.inf, 1e39, 10**400, True, None, "3", [3], 3, 2.0, -1, 0.5):
        for place in (3, 5):
            odd = [*keypoints]
            odd[place] = value
            changes.append({"keypoints": odd})
    return [{"keypoints": keypoints, "extra": [1], "num_keypoints": 3, **change} for change in changes]


@pytest.mark.parametrize("together", [True, False])
def test_annotations_that_are_tested_together_are_read_as_each_alone(write, monkeypatch, together):
    """Faults, values and keys do not depend on the tests of many annotations at once."""

    def read(people):
        def change(content):
            sound = content["annotations"][0]
            content["annotations"] = [
                {**sound, "id": n, "image_id": n, **values} for n, values in enumerate(people, 1)
            ]
            image = content["images"][0]
            content["images"] = [{**image, "id": n} for n in range(1, len(people) + 1)]

        file = coco_json.read(write(change), "", COCO.annotated)
        return file.faults, [person for persons in file.people.values() for person in persons]

    people = chain_of_people()
    chosen = [people] if together else [[people[0], person] for person in people]
    found = [read(group) for group in chosen]
    monkeypatch.setattr(coco_json, "_count_labeled", lambda annotations, joints: [-1] * len(annotations))
    for (faults, persons), (slow_faults, slow_persons) in zip(found, map(read, chosen), strict=True):
        assert faults == slow_faults
        assert repr([sorted(p.items(), key=repr) for p in persons if p["id"] not in faults]) == repr(
            [sorted(p.items(), key=repr) for p in slow_persons if p["id"] not in faults]
        )
    assert len(faults) > 0
    assert max(map(len, (faults for faults, _ in found))) < len(people)


def test_sound_annotations_are_tested_together(write):
    assert coco_json._count_labeled(json.loads(write().read_text())["annotations"], 17) == [17]


def test_keypoints_are_counted(write):
    assert read_both(write(num_keypoints=0))[1]["num_keypoints"] == 17


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [1, 1, 2] * 16}, "expected 51 keypoint values per person"),
        ({"keypoints": [20, 20, 2] * 16 + [20, float("nan"), 2]}, "not finite"),
        ({"keypoints": [20, 20, 2] * 16 + [20, True, 2]}, "not all numbers"),
        ({"keypoints": [20, 20, 2] * 16 + [20, "20", 2]}, "not all numbers"),
        ({"keypoints": [20, 20, 2] * 16 + [20, 20, 3]}, "third value of a keypoint is not 0, 1 or 2 but 3"),
        ({"keypoints": [20, 20, 2] * 16 + [20, 10**400, 2]}, "not finite"),
        ({"keypoints": [0.25, 0.5, 2] * 17}, "look normalized to 0..1"),
        ({"bbox": [0.1, 0.1, 0.5, 0.5]}, "looks normalized to 0..1"),
        ({"bbox": [1, 2, 3]}, "expected 4 values"),
        ({"bbox": None}, "not all numbers: bbox is None"),
        ({"iscrowd": "yes"}, "iscrowd: expected 0 or 1, got 'yes'"),
        ({"area": -5}, "area: expected a number above 0"),
    ],
)
def test_a_malformed_annotation_is_named_before_any_work(write, change, message, capsys):
    path = write(lambda content: content["annotations"][0].update(change))
    for reader in READERS:
        with pytest.raises(ValueError, match=message) as error:
            reader(path)
        assert str(path) in str(error.value)
        assert "annotation 5 of image 7 ('a.png')" in str(error.value) or "per person" in str(error.value)
    assert prepare_status(path) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_one_short_person_of_several_is_named(write):
    def shorten(content):
        first = content["annotations"][0]
        content["annotations"].append({**first, "id": 6, "keypoints": first["keypoints"][:48]})

    for reader in READERS:
        with pytest.raises(ValueError, match=r"annotation 6 of image 7 \('a\.png'\): .* expected 51 values"):
            reader(write(shorten))


class TestCategories:
    def add_child(self, content):
        child = {**content["annotations"][0], "id": 9, "bbox": [60, 5, 20, 40], "category_id": 2}
        content["annotations"].append({**child, "segmentation": []})
        content["categories"].append({"id": 2, "name": "child"})

    def test_people_of_other_categories_are_masked_and_counted(self, write, tmp_path, capsys):
        path = write(self.add_child)
        (image,) = coco.read_annotations(path)
        assert (len(image.persons), len(image.masked)) == (1, 1)
        assert [p["iscrowd"] for p in coco_eval.read_annotations(path).anns.values()] == [0, 1]
        assert prepare_status(path) == 0
        assert "people of other categories" in capsys.readouterr().out
        (record,) = SampleFile(path.with_suffix(".h5"))
        assert (record.mask_miss[6:44, 61:79] == 0).all()
        assert (record.mask_miss[6:44, 11:49] == 255).all()

    def test_an_image_of_other_people_only_is_no_negative(self, write, tmp_path):
        def second_image(content):
            self.add_child(content)
            content["images"].append({**content["images"][0], "id": 8})
            content["annotations"][1]["image_id"] = 8

        path = write(second_image)
        assert prepare_status(path, "--negatives") == 0
        assert SampleFile(path.with_suffix(".h5")).image_ids == [7]
        check = ["--check", str(path.with_suffix(".h5")), "--annotations", str(path)]
        assert run_command(prepare_coco.main, check) == 0

    @pytest.mark.parametrize("number", [7, "7"])
    def test_the_category_named_person_is_taken(self, write, number):
        path = write(lambda content: content["categories"][0].update(id=number), category_id=7)
        assert read_both(path)[1]["num_keypoints"] == 17

    def test_another_name_is_an_option(self, write):
        path = write(lambda content: content["categories"][0].update(name="rider"))
        for reader in READERS:
            with pytest.raises(
                ValueError, match=r"no category 'person': got 'rider'; choose .* --category NAME"
            ):
                reader(path)
        read_both(path, coco_json.ReadOptions("rider"))
        assert prepare_status(path, "--category", "rider") == 0

    def test_things_are_background(self, write):
        def add_dog(content):
            self.add_child(content)
            content["categories"][1].update(name="dog", supercategory="animal")
            content["annotations"][1]["keypoints"] = []

        assert coco.read_annotations(write(add_dog))[0].masked == ()


class TestGeometry:
    def test_boxes_as_corners_are_refused(self, write):
        path = write(bbox=[40, 30, 85, 55], keypoints=[60, 40, 2] * 17, segmentation=[])
        for reader in READERS:
            with pytest.raises(ValueError, match=r"look like corners .* annotation 5 of image 7"):
                reader(path)

    def test_a_box_beyond_the_border_is_no_corner(self, write):
        read_both(write(bbox=[40, 30, 85, 55], keypoints=[88, 58, 2] * 17, segmentation=[]))

    @pytest.mark.parametrize("side", [0, -3, 10**9, 60.5, "tall", True])
    def test_impossible_image_sizes_are_refused(self, write, side):
        path = write(lambda content: content["images"][0].update(height=side))
        for reader in READERS:
            with pytest.raises(ValueError, match="not in COCO's format: image"):
                reader(path)


def test_an_image_of_another_size_is_not_evaluated(tmp_path):
    write_annotated_image(tmp_path)
    entries = [{"id": 7, "file_name": "a.png", "height": 90, "width": 60}]
    (bad,) = ImageSource(list_annotated_images(tmp_path, entries))
    assert "a.png is 90 x 60, its annotations are for 60 x 90" in bad.reason


def test_an_image_annotated_after_its_rotation_gets_a_hint(tmp_path, capsys):
    """Phones store the orientation in EXIF; annotations of the rotated image do not fit the stored one."""
    name = write_rotated_jpeg(tmp_path).name
    entry = {"id": 7, "file_name": name, "height": 90, "width": 60}
    content = {
        "images": [entry],
        "annotations": [{"id": 5, "image_id": 7, **person()}],
        "categories": [CATEGORY],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    hint = "is 90 x 60, its annotations are for 60 x 90 (the size after rotation by its EXIF orientation"
    assert prepare_status(tmp_path / "a.json") != 0
    assert hint in "".join(capsys.readouterr())
    truth = coco_eval.read_annotations(tmp_path / "a.json")
    images = list_annotated_images(tmp_path, truth.dataset["images"])  # of evaluation and AP during training
    (bad,) = ImageSource(images, SourceOptions(upright=False))
    assert hint in bad.reason


class TestPaths:
    @pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "x/../../a.png", "..\\a.png"])
    def test_paths_outside_the_image_folder_need_an_option(self, write, name):
        path = write(lambda content: content["images"][0].update(file_name=name))
        for reader in READERS:
            with pytest.raises(ValueError, match=r"image 7: expected a file_name inside the image folder"):
                reader(path)
        read_both(path, coco_json.ReadOptions(allow_outside_paths=True))

    def test_special_files_are_not_opened(self, write, tmp_path, capsys):
        path = write(lambda content: content["images"][0].update(file_name="/dev/zero"))
        assert prepare_status(path, "--allow-outside-paths") == 2
        assert "expected a regular file, got a character device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [], "images": [], "annotations": []}', "duplicate key 'images'"),
        ('{"images": [{"id": 1, "id": 2, "file_name": "a"}], "annotations": []}', "duplicate key 'id'"),
        ('{"images": {}, "annotations": []}', "no list 'images'"),
        ('{"images": [], "annotations": [{"image_id": 1e400, "keypoints": [1]}]}', "'image_id'"),
        ('{"images": [], "annotations": [{"image_id": 1}], "categories": {"id": 1}}', "list 'categories'"),
    ],
)
def test_malformed_lists_are_refused(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    for reader in READERS:
        with pytest.raises(ValueError, match=message):
            reader(path)


@pytest.mark.parametrize(
    ("number", "options", "status"),
    [
        *((number, [], 0) for number in ("00", "01", "02", "04", "05", "06", "08", "09", "13")),
        *((number, [], 2) for number in ("07", "10", "11")),
        ("14", ["--skeleton", str(CONFIGS / "skeletons/wholebody.yaml")], 0),
    ],
)
def test_reported_files(shared, tmp_path, capsys, number, options, status):
    """Files that users reported: prepared, or refused with annotation and image; evaluation does the same."""
    cases = shared / "cases"
    if not cases.is_dir():
        pytest.skip("the reported files are not in the shared folder")
    (reported,) = cases.glob(f"json/{number}_*.json")
    shutil.copy(reported, tmp_path / "a.json")
    (image_file,) = cases.glob("pics/*.png")
    shutil.copy(image_file, tmp_path)
    assert prepare_status(tmp_path / "a.json", *options) == status
    body = skeleton.load(options[1]) if options else COCO
    error = capsys.readouterr().err
    if status:
        assert "annotation" in error
        assert "image 1" in error
        with pytest.raises(ValueError, match=r"annotation \d+ of image 1"):
            coco_eval.read_annotations(tmp_path / "a.json", body.annotated)
        return
    truth = coco_eval.read_annotations(tmp_path / "a.json", body.annotated)
    rows = [
        {"image_id": p["image_id"], "category_id": 1, "keypoints": p["keypoints"], "score": 1.0}
        for p in truth.anns.values()
    ]
    assert coco_eval.evaluate_rows(truth, rows, sigmas=body.sigmas)["AP"] == pytest.approx(1)
    (record, *_) = SampleFile(tmp_path / "a.h5")
    assert record.keypoints.shape[1] == len(body.annotated)


@pytest.mark.parametrize("number", ["10", "11"])
def test_reported_files_do_not_pass_a_check(shared, tmp_path, capsys, number):
    """`--check` compares a sound sample file with these annotations, and refuses them as `prepare` does."""
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("the reported files are not in the shared folder")
    (image_file,) = folder.glob("pics/*.png")
    shutil.copy(image_file, tmp_path)
    for name in ("00", number):
        (reported,) = folder.glob(f"json/{name}_*.json")
        shutil.copy(reported, tmp_path / f"{name}.json")
    assert prepare_status(tmp_path / "00.json") == 0
    sound = str(tmp_path / "00.h5")
    check = ["--check", sound, "--annotations"]
    assert run_command(prepare_coco.main, [*check, str(tmp_path / "00.json")]) == 0
    capsys.readouterr()
    assert run_command(prepare_coco.main, [*check, str(tmp_path / f"{number}.json")]) == 2
    error = capsys.readouterr().err
    assert "annotation" in error
    assert "image 1" in error


def test_reported_people_of_another_category_are_no_background(shared, tmp_path, capsys):
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("the reported files are not in the shared folder")
    (image_file,) = folder.glob("pics/*.png")
    shutil.copy(image_file, tmp_path)
    for number in ("08", "13"):
        (reported,) = folder.glob(f"json/{number}_*.json")
        path = tmp_path / f"{number}.json"
        shutil.copy(reported, path)
        listed = coco.read_annotations(path)
        assert sum(len(image.masked) for image in listed) > 0
        assert prepare_status(path, "--negatives") == 0
        assert "people of other categories" in capsys.readouterr().out
        ids = set(SampleFile(path.with_suffix(".h5")).image_ids)
        assert ids.isdisjoint(image.image_id for image in listed if not image.persons)
        assert any((record.mask_miss == 0).any() for record in SampleFile(path.with_suffix(".h5"))) or len(
            ids
        ) < len(listed)
