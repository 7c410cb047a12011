"""``inspect``: what a file or folder is, with facts that are those of the file, and nothing that is run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from graphs import write_mlp

from regkd_edge.errors import UserError
from regkd_edge.inspection import inspect


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A graph, its native engine, a student's folder and a run."""
    pytest.importorskip("onnx")
    torch = pytest.importorskip("torch")
    from regkd_edge.cli.app import app
    from regkd_edge.engines import get_backend

    folder = tmp_path_factory.mktemp("made")
    write_mlp(folder / "s.onnx", widths=(5, 16, 2))
    get_backend("native").build(folder / "s.onnx", folder / "native.fp32")
    x = np.random.default_rng(0).normal(size=(60, 3))
    lines = ["a [V],b,c,force [N]", *(",".join(map(str, (*row, row.sum()))) for row in x)]
    (folder / "t.csv").write_text("\n".join(lines))
    arguments = ["--data", str(folder / "t.csv"), "--target", "force [N]", "--teacher", "mlp:4:tanh", "--epochs", "2"]
    assert torch and not app(["train-teacher", str(folder / "run"), *arguments, "--quiet"], standalone_mode=False)
    return folder


def test_a_graph_and_its_engine(made):
    kind, facts = inspect(made / "s.onnx")
    assert kind == "graph" and facts["precision"] == "fp32" and facts["bytes"] == (made / "s.onnx").stat().st_size
    assert facts["multiply-adds"] == f"{5 * 16 + 16 * 2} per row (fp32 100%)" and "x batch x 5 float" in facts["inputs"]
    kind, facts = inspect(made / "native.fp32")
    manifest = json.loads((made / "native.fp32" / "manifest.json").read_text())
    assert kind == "engine" and facts["back end"] == "native" and facts["executed"] == "fp32 100%"
    assert f"SHA-256 {manifest['engine_sha256']} (checked)" in facts["file"]
    kind, facts = inspect(made / "native.fp32" / "engine.rkdn")
    assert kind == "native engine" and facts["bytes"] == manifest["size_bytes"] and facts["operations"] >= 2


def test_an_engine_that_was_changed_is_not_described(made, tmp_path):
    import shutil

    copy = shutil.copytree(made / "native.fp32", tmp_path / "e")
    content = bytearray((copy / "engine.rkdn").read_bytes())
    content[-1] ^= 1
    (copy / "engine.rkdn").write_bytes(content)
    with pytest.raises(UserError, match="engine.rkdn"):
        inspect(copy)


def test_a_run_and_a_model(made):
    kind, facts = inspect(made / "run")
    assert kind == "run" and facts["targets"] == "force [N]" and facts["teacher"] == "mlp:4:tanh"
    assert [part.split(" (")[0] for part in facts["finished"].split("), ")] == ["data", "teacher"]
    kind, facts = inspect(made / "run" / "teacher")
    assert kind == "model" and facts["network"] == "mlp:4:tanh" and facts["parameters"] == 3 * 4 + 4 + 4 + 1
    assert facts["inputs"] == "3 (a [V], b, c)" and facts["outputs"] == "1 (force [N])"


def test_data(made, tmp_path):
    kind, facts = inspect(made / "t.csv")
    assert kind == "table" and facts["rows"] == 60 and facts["columns"] == "4: a [V], b, c, force [N]"
    assert facts["blank cells"] == 0 and facts["columns with text"] == "none"
    (tmp_path / "odd.csv").write_text("x,y,z\n1,2,good\n,4,bad\n5,,good\n")
    _, facts = inspect(tmp_path / "odd.csv")
    assert facts["rows"] == 3 and facts["blank cells"] == 2 and facts["columns with text"] == "z"
    np.save(tmp_path / "a.npy", np.zeros((7, 2, 3), np.float32))
    assert inspect(tmp_path / "a.npy") == ("array", {"shape": [7, 2, 3], "type": "float32", "bytes": 168})
    np.savez(tmp_path / "p.npz", x=np.zeros((7, 2)), y=np.zeros(7, np.int64))
    assert inspect(tmp_path / "p.npz")[1] == {"x": "[7, 2] float64", "y": "[7] int64"}
    np.savez_compressed(tmp_path / "c.npz", x=np.zeros((7, 2)))
    assert inspect(tmp_path / "c.npz")[1] == {"x": "[7, 2] float64, compressed"}


def test_images_and_recordings(tmp_path):
    image, wavfile = pytest.importorskip("PIL.Image"), pytest.importorskip("scipy.io.wavfile")
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        image.new("L" if i else "RGB", (8, 6)).save(tmp_path / "pictures" / f"{i}.png")
    (tmp_path / "pictures" / "labels.csv").write_text("file,depth [mm]\n0.png,1\n1.png,2\n2.png,3\n")
    kind, facts = inspect(tmp_path / "pictures")
    assert kind == "images" and facts["files"] == 3 and facts["sizes"] == "6x8 (3)"
    assert facts["modes"] == "L (2), RGB (1)" and facts["labels"] == "file, depth [mm]"
    (tmp_path / "sounds").mkdir()
    tone = (8000 * np.sin(np.arange(500))).astype(np.int16)
    for i in range(2):
        wavfile.write(tmp_path / "sounds" / f"{i}.wav", 1000, tone[: 300 + 200 * i])
    kind, facts = inspect(tmp_path / "sounds")
    assert kind == "recordings" and facts["files"] == 2 and facts["channels"] == 1
    assert facts["samples"] == "300 to 500 (0.3 to 0.5 s)" and facts["samples per second"] == 1000
    assert facts["labels"] == "no 'labels.csv' in it"
    (tmp_path / "tables").mkdir()
    for name in ("one.csv", "two.csv"):
        (tmp_path / "tables" / name).write_text("t,a\n0,1\n1,2\n")
    kind, facts = inspect(tmp_path / "tables")
    assert kind == "recordings" and facts["files"] == 2 and facts["columns"] == "t, a"


def test_what_is_none_of_ours(tmp_path):
    with pytest.raises(UserError, match="no file or folder"):
        inspect(tmp_path / "absent")
    (tmp_path / "letter.txz").write_text("dear")
    with pytest.raises(UserError, match="nothing that regkd-edge writes"):
        inspect(tmp_path / "letter.txz")


def test_the_commented_yaml_is_one_that_can_be_read(tmp_path, capsys):
    from regkd_edge.cli.app import app
    from regkd_edge.config import RunConfig

    path = tmp_path / "mine.yaml"
    assert not app(["init", str(path)], standalone_mode=False)
    assert "Fill in data.data and data.target" in capsys.readouterr().out
    assert RunConfig.from_yaml(path).distill.student
    with pytest.raises(UserError, match="--force"):
        app(["init", str(path)], standalone_mode=False)
    assert not app(["init", str(path), "--force"], standalone_mode=False)
