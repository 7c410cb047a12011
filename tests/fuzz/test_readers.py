"""Every reader, on spoiled files: it reads or refuses in one line, touches nothing outside, and never does else.

Short here; ``tools/fuzz`` runs the same for as long as is wanted.
"""

from __future__ import annotations

import shutil

import pytest

from .readers import READERS, attack

pytest.importorskip("torch")

COUNT = 150
#: Readers of whole programs take 10 ms and more for each file.
FEWER = {"exported": 15, "skops": 40, "ONNX teacher": 60, "torchscript": 60}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_spoiled_file_is_read_or_refused_in_one_line(reader, tmp_path):
    pytest.importorskip(reader.needs)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "a").mkdir()
    sound = tmp_path / "a" / reader.file
    reader.make(sound)
    content = sound.read_bytes()
    before = sorted(tmp_path.iterdir())
    seen = set()
    for seed in range(FEWER.get(reader.name, COUNT)):
        folder = tmp_path / "work"
        folder.mkdir()
        seen.add(attack(reader, folder, seed, content))
        shutil.rmtree(folder)
        assert victim.read_text() == "mine" and sorted(tmp_path.iterdir()) == before, seed
    assert "refused" in seen


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_the_sound_file_is_read(reader, tmp_path):
    pytest.importorskip(reader.needs)
    reader.make(tmp_path / reader.file)
    reader.read(tmp_path / reader.file)
