"""Build the package and its C++ extension; a failed build is an error, there is no Python fallback."""

import os
import re
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension, build_ext
from setuptools import find_packages, setup

HERE = Path(__file__).parent
CSRC = Path("simplepose/grouping/csrc")

version = re.search(r'__version__ = "(.+)"', (HERE / "simplepose/__init__.py").read_text(encoding="utf-8"))
assert version, 'simplepose/__init__.py: expected a line __version__ = "..."'

grouping = Pybind11Extension(
    "simplepose.grouping._grouping",
    sources=sorted(map(str, CSRC.glob("*.cpp"))),
    depends=sorted(map(str, CSRC.glob("*.h"))),
    cxx_std=17,
    # -ffp-contract=off: the same arithmetic, and so the same results, on every processor.
    # SIMPLEPOSE_CXXFLAGS: additional compiler flags, for example -Wall -Wextra -Werror in CI.
    extra_compile_args=["-O3", "-ffp-contract=off", *os.environ.get("SIMPLEPOSE_CXXFLAGS", "").split()],
)

setup(
    name="simplepose",
    version=version[1],
    description="Bottom-up multi-person pose estimation: fast, complete, permissively licensed",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT AND Apache-2.0 AND BSD-3-Clause AND ISC",  # code, weights, scripts of the report: see NOTICE
    license_files=["LICENSE", "NOTICE", "LICENSES/Apache-2.0.txt"],
    python_requires=">=3.10",
    packages=find_packages(include=["simplepose", "simplepose.*"]),
    package_data={
        "simplepose": ["assets/*", "py.typed"],
        "simplepose.grouping": ["csrc/*.h"],
    },
    ext_modules=[grouping],
    cmdclass={"build_ext": build_ext},
    install_requires=[
        *("torch>=2.6", "numpy>=1.26", "opencv-python>=4.8", "pycocotools>=2.0.8"),
        *("h5py>=3.10", "PyYAML>=6.0", "tqdm>=4.66", "safetensors>=0.4.3", "matplotlib>=3.8"),
        "scipy>=1.11",
        "filelock>=3.12",
        "jinja2>=3.1",
    ],
    extras_require={
        "detectors": ["torchvision>=0.21"],
        "tensorboard": ["tensorboard>=2.17"],
        "openvino": ["openvino>=2025.0", "onnx>=1.16"],
        "hota": ["trackeval>=1.3"],
        "onnx": ["onnxruntime>=1.20", "onnx>=1.16"],
    },
    entry_points={"console_scripts": ["simplepose = simplepose.cli:main"]},
)
