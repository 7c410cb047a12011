"""Images on the command line: from a table with a declared shape to a verified engine and a bundle."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

TEACHER = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 1))
"""


def test_digits_as_images_go_through_every_command(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teach.py").write_text(TEACHER)
    student = "conv2d:3x3/2,4d3,flat:relu"
    begin = ["distill", "run", "--data", "digits", "--teacher-from", "teach.py:make", "--student", student]
    short = ["--recipe", "mimic", "--steps", 10, "--no-baseline"]
    done = cli(*begin, *short)
    assert done.code == 2 and "Declare the shape of a row (--input-shape" in done.err
    done = cli(*begin, *short, "--input-shape", "1,8,9")
    assert done.code == 2 and "has 64 numbers, and the input shape 1x8x9 holds 72" in done.err
    done = cli(*begin, *short, "--input-shape", "1,8,8")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "run/student/model.json").read_text())["input_shape"] == [1, 8, 8]
    for words in (
        ("quantize", "run", "--precision", "int8,fp16"),
        ("build", "run"),
        ("bench", "run", "--samples", 30, "--warmup", 5),
        ("bundle", "run", "--platform", "jetson-orin", "--out", "b.tar.gz"),
    ):
        done = cli(*words)
        assert done.code == 0, (words, done.err)
    manifest = json.loads((tmp_path / "run/engines/onnxruntime.int8/manifest.json").read_text())
    assert manifest["inputs"][0]["shape"] == ["batch", 1, 8, 8] and manifest["verified"]
