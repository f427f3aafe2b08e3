"""Where the project's files lie, whatever directory the tests run in."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
