"""Licenses: the texts that the package and its weights require are complete and are distributed."""

import ast
import hashlib
import re

from repo_paths import ROOT

from simplepose.inference.predictor import ASSETS

# SHA-256 of https://www.apache.org/licenses/LICENSE-2.0.txt.
APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"

NOTICE = (ROOT / "NOTICE").read_text()


def test_the_apache_license_is_complete():
    text = (ROOT / "LICENSES/Apache-2.0.txt").read_bytes()
    assert hashlib.sha256(text).hexdigest() == APACHE_2_SHA256


def test_the_notice_attributes_every_embedded_network():
    assets = list(ASSETS.glob("*.safetensors"))
    assert assets
    assert all(str(path.relative_to(ROOT)) in NOTICE for path in assets)
    for word in ("MoveNet", "Google", "Apache License, Version 2.0", "LICENSES/Apache-2.0.txt", "modified"):
        assert word in NOTICE


def test_the_notice_and_the_license_text_attribute_every_embedded_script():
    scripts = list(ASSETS.glob("*.min.js"))
    license_text = (ASSETS / "vega-license.txt").read_text()
    assert scripts
    for path in scripts:
        stated = re.search(rf"{path.relative_to(ROOT)}: .* (\d+\.\d+\.\d+)\n", NOTICE)
        assert stated
        assert f'"{stated[1]}"' in path.read_text()
    for name, version in re.findall(r"(vega[-\w]*) (\d+\.\d+\.\d+)", NOTICE):
        assert f"{name} {version}" in license_text.lower()
    for word in ("University of Washington Interactive Data Lab", "ISC License", "MIT License"):
        assert word in license_text


def test_the_package_contains_the_licenses():
    setup = ast.parse((ROOT / "setup.py").read_text())
    (files,) = [
        ast.literal_eval(keyword.value)
        for node in ast.walk(setup)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "license_files"
    ]
    assert files == ["LICENSE", "NOTICE", "LICENSES/Apache-2.0.txt"]
    assert all((ROOT / name).is_file() for name in files)
