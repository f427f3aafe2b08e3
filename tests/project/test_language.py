"""Names and texts use the terms of papers, COCO and torchvision in American English."""

import re
from pathlib import Path

import pytest
from repo_paths import ROOT

FOLDERS = (".ci", "benchmarks", "configs", "data", "docs", "examples", "simplepose", "tests", "tools")
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".h", ".cpp"}

# Words to use, and the words that they replace. A word is a part of an identifier or of a text.
REPLACED = {
    "image": "picture pictures pictured",
    "video": "film films filmed",
    "silence": "hush hushes hushed hushing",
    "write, arrange": "lay lays laid laying",
    "buffer": "shelf shelves",
    "log, report, state": "tell tells told telling say says said saying",
    "infer, observe, read": "sees seeing saw",
    "no people, no process": "nobody",
    "all people, each person": "everybody everyone",
    "a person, a user": "somebody someone whoever",
    "cancel": "abandon abandons abandoned abandoning",
    "repair": "mend mends mended mending",
    "checksummed": "seal seals sealed sealing",
    "similarity": "likeness likenesses",
    "detection, observation": "sight sights sighted",
    "the same, equally": "alike",
    "plain Python, reference": "twin twins",
    "validated": "watched",
    "train": "teach teaches taught teaching",
    "issue": "remark remarks remarked",
    "package, entry point": "house houses door doors",
    "restore": "settle settles settled settling",
    "while, among, so": "whilst amongst whence hence",
    "color": "colour colours coloured colouring colourful",
    "gray": "grey greys greyscale",
    "neighbor": "neighbour neighbours neighbouring neighbourhood",
    "center": "centre centres centred centring",
    "behavior": "behaviour behaviours",
    "artifact": "artefact artefacts",
    "labeled": "labelled labelling unlabelled",
    "license, catalog, meter": "licence licences catalogue catalogues metre metres",
}
PREFERRED = {word: better for better, words in REPLACED.items() for word in words.split()}

# British -ise and -yse: stems, followed by any ending.
ISE_STEMS = (
    "analys|generalis|initialis|maximis|memoris|minimis|normalis|optimis|organis|parallelis|"
    "quantis|randomis|recognis|serialis|stabilis|standardis|summaris|synchronis|utilis|vectoris|visualis"
)
ISE = re.compile(rf"(?:re|un|de)?(?:{ISE_STEMS})(?:e|es|ed|er|ers|ing|ation|ations)")
EXCEPTIONS = {"analyses"}  # the plural of analysis

# Names of settings in the last release: the keys of config.DEPRECATED_NAMES.
OLD_SETTINGS = r"=picture\b|\b(grey_probability|sure_sights|ap_pictures|picture_steps)\b"

# Names that users' files, commands and calls contain: text, and the path below which it is allowed.
ALLOWED = (
    (r"\b(pictures|remarks)/|\bsamples/picture\b", "simplepose/data/hdf5"),  # HDF5 names
    (r"\b(pictures|remarks)/|\bsamples/picture\b", "tests"),
    (r'"joints outside the picture"', "simplepose/data/hdf5/preparation.py"),  # in files of earlier versions
    (r'"pictures"', "simplepose/cli/resumable_run.py"),  # in the fingerprints of interrupted runs
    (r'"picture_hw"|"pictures_per_second"', "simplepose/cli/benchmark.py"),  # JSON keys
    (r'"pictures_per_second"', "tests/cli/test_benchmark.py"),
    (r'"watched"', "simplepose/training/trainer.py"),  # a key of checkpoints
    (r'"--pictures"|"pictures"', "benchmarks"),  # old names of options
    (r'"--colours"', "simplepose/cli"),
    (r'"--colours"', "tests/cli"),
    (OLD_SETTINGS, "simplepose/config.py"),
    (OLD_SETTINGS, "tests/core"),
    (r"(?m)^  \| `[^|]*\||`--colours`", "CHANGELOG.md"),  # the column of old names
    (r"\.tell\(", "simplepose/sources"),  # a method of Python's files
)


def split_words(text: str) -> list[str]:
    """Split identifiers at underscores and capitals, and texts at all but letters; in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)]


def preferred(word: str) -> str | None:
    """Return what to write instead of a word; None for a good word."""
    if word in EXCEPTIONS:
        return None
    if ISE.fullmatch(word):
        return re.sub(r"(.*)([iy])s", r"\1\2z", word)
    return PREFERRED.get(word)


def find_words(text: str, path: str) -> list[str]:
    """List the words to replace in a text as "path:line: word: use better"."""
    for pattern, place in ALLOWED:
        if path.startswith(place):
            text = re.sub(pattern, "", text)
    return [
        f"{path}:{number}: {word}: use {better}"
        for number, line in enumerate(text.splitlines(), 1)
        for word in split_words(line)
        if (better := preferred(word))
    ]


def text_files() -> list[Path]:
    """List the files with names and texts, except this one."""
    files = [path for path in ROOT.iterdir() if path.suffix in SUFFIXES or path.name == "Makefile"]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return sorted(path for path in files if path.is_file() and path != Path(__file__).resolve())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class BadPictures: ...", ["bad", "pictures", "class"]),
        ("MAX_PICTURES, XMLPicture, picture_hw", ["max", "pictures", "xml", "picture", "picture", "hw"]),
        ("It's 3 px (COCO)", ["it", "s", "px", "coco"]),
    ],
)
def test_identifiers_are_split_at_underscores_and_capitals(text, words):
    assert sorted(split_words(text)) == sorted(words)


@pytest.mark.parametrize(
    ("word", "better"),
    [
        ("picture", "image"),
        ("normalised", "normalized"),
        ("unsynchronised", "unsynchronized"),
        ("analyse", "analyze"),
        ("optimiser", "optimizer"),
        ("analyses", None),
        ("noise", None),
        ("image", None),
    ],
)
def test_preferred_words(word, better):
    assert preferred(word) == better


def test_a_word_is_allowed_only_in_its_place():
    line = 'names = ["pictures/image_id"]'
    assert not find_words(line, "simplepose/data/hdf5/layout.py")
    assert find_words(line, "simplepose/people.py") == ["simplepose/people.py:1: pictures: use image"]


def test_names_and_texts_use_the_terms_of_the_field():
    files = text_files()
    found = [
        line
        for path in files
        for line in find_words(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]
    assert len(files) > 200
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("pattern", "place"), ALLOWED)
def test_every_allowed_place_is_needed(pattern, place):
    files = [path for path in text_files() if path.relative_to(ROOT).as_posix().startswith(place)]
    assert any(re.search(pattern, path.read_text(encoding="utf-8")) for path in files)


def test_file_names_use_the_terms_of_the_field():
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert not [path for path in paths for word in split_words(path.stem) if preferred(word)]
