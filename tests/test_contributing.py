"""The worked examples of CONTRIBUTING.md run as they stand, and its map is that of the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python (\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

pytest.importorskip("torch")


def test_there_is_an_example_of_each_extension():
    assert {name for name, _ in BLOCKS} == {"term", "sampler", "student", "engine"}
    assert "```python\n" not in TEXT  # every block is run


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in BLOCKS))
def test_an_example_runs(name, tmp_path):
    """The blocks of one name are one program."""
    program = tmp_path / f"{name}.py"
    program.write_text("\n\n".join(block for of, block in BLOCKS if of == name), encoding="utf-8")
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_file_that_it_names_exists():
    for name in re.findall(
        r"`((?:regkd_edge|tests|tools|csrc|models|objectives|fused|export|graph|engines)/[\w/.]*)`", TEXT
    ):
        assert (ROOT / name).exists() or (ROOT / "regkd_edge" / name).exists(), name
