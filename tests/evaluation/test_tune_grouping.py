"""Cached maps, and the comparison of grouping settings on them."""

import numpy as np
import pytest
import yaml
from synthetic_coco import write_synthetic_coco
from synthetic_maps import draw_maps

from simplepose.cli import evaluate, run_command, tune_grouping
from simplepose.evaluation import coco_eval, map_cache
from simplepose.evaluation.map_cache import MapCache

IDENTITY = np.eye(2, 3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Annotations, and the folder of perfect maps of the images."""
    folder = tmp_path_factory.mktemp("tune")
    path, _ = write_synthetic_coco(folder / "coco", 6)
    truth = coco_eval.read_annotations(path)
    cache = MapCache(folder / "maps", {}, 1e9, 1)
    for image_id, entry in truth.imgs.items():
        people = np.array([person["keypoints"] for person in truth.imgToAnns[image_id]], float)
        maps = draw_maps(people.reshape(-1, 17, 3), (entry["height"], entry["width"]))
        cache.write(image_id, maps, IDENTITY)
    return path, folder / "maps"


def tune(dataset, *options):
    return run_command(tune_grouping.main, [str(dataset[1]), "--annotations", str(dataset[0]), *options])


def test_the_best_settings_are_printed_as_yaml_and_the_worst_come_last(dataset, capsys):
    """No peak reaches 2; the other threshold finds nearly all people of perfect maps."""
    sweep = ["--sweep", "grouping.peak_threshold=2,0.1", "--sweep", "grouping.limb_support=0.7"]
    assert tune(dataset, *sweep) == 0
    table, _, text = capsys.readouterr().out.partition("\n\n")
    lines = [line.split() for line in table.splitlines()[1:]]
    assert [words[-2:] for words in lines] == [
        ["peak_threshold=0.1", "limb_support=0.7"],
        ["peak_threshold=2", "limb_support=0.7"],
    ]
    assert float(lines[0][1]) > 0.8
    assert lines[0][0] == "*"
    assert "0.000" in lines[1]
    assert yaml.safe_load(text) == {"grouping": {"peak_threshold": 0.1, "limb_support": 0.7}}


def test_evaluate_writes_maps_whose_people_are_those_of_the_model(tmp_path, capsys):
    """AP from the maps is that of evaluate, up to float16."""
    annotations, images = write_synthetic_coco(tmp_path / "coco", 2)
    paths = ["--annotations", str(annotations), "--images", str(images), "--output", str(tmp_path / "out")]
    model = ["--device", "cpu", "--runtime", "torch", "--cache-maps", str(tmp_path / "maps")]
    small = ["--set", "inference.height=128", "inference.scales=[1]"]
    assert run_command(evaluate.main, [*paths, *model, *small]) == 0
    assert map_cache.cached_ids(tmp_path / "maps") == [1, 2]
    values, to_image = map_cache.read_maps(tmp_path / "maps", 2)
    assert values.shape == (50, 32, 32)
    assert to_image == pytest.approx(np.array([[2, 0, 0.5], [0, 2, 0.5]])), "256 x 256 pixels"
    assert run_command(evaluate.main, [*paths, *model, "--set", "inference.height=64"]) == 2
    assert "expected no maps, or those of this model and these settings" in capsys.readouterr().err


def test_a_cache_holds_float16_up_to_its_limit(tmp_path, rng):
    maps = rng.random((50, 8, 8), np.float32)
    cache = MapCache(tmp_path, {"model": 1}, 15_000, 1)
    for image_id in range(1, 5):
        cache.write(image_id, maps, IDENTITY)
    assert map_cache.cached_ids(tmp_path) == [1, 2]
    values, to_image = map_cache.read_maps(tmp_path, 1)
    assert values == pytest.approx(maps, abs=5e-4)
    assert np.array_equal(to_image, IDENTITY)
    again = MapCache(tmp_path, {"model": 1}, 15_000, 1)
    again.write(2, 1 - maps, IDENTITY)
    again.write(3, maps, IDENTITY)
    assert map_cache.cached_ids(tmp_path) == [1, 2], "the existing files count"
    replaced, _ = map_cache.read_maps(tmp_path, 2)
    assert replaced == pytest.approx(1 - maps, abs=5e-4), "a file can be replaced"
    with pytest.raises(ValueError, match="use another folder"):
        MapCache(tmp_path, {"model": 2}, 15_000, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sweep", "inference.height=1,2"], "--sweep: expected grouping.KEY=VALUE,VALUE"),
        (["--sweep", "grouping.peak_threshold"], "--sweep: expected grouping.KEY=VALUE,VALUE"),
        (["--sweep", "grouping.peak_threshold=low"], "peak_threshold"),
    ],
)
def test_malformed_sweeps_are_refused(dataset, capsys, options, message):
    assert tune(dataset, *options) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_maps_is_refused(dataset, tmp_path, capsys):
    assert tune((dataset[0], tmp_path)) == 2
    assert "expected maps of evaluate --cache-maps" in capsys.readouterr().err
