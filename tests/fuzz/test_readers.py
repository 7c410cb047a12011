"""Every reader, on spoiled files: it reads or refuses in one line, touches nothing outside, and never does else.

Short here; ``tools/fuzz`` runs the same for as long as is wanted.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import regkd_edge
from regkd_edge.errors import UserError

from .readers import READERS, attack, sound_files

pytest.importorskip("torch")

COUNT = 150
#: Readers of whole programs, and those in a process of their own, take 10 ms and more for each file.
FEWER = {
    "exported": 15, "skops": 40, "ONNX teacher": 60, "torchscript": 60, "kept teacher": 60, "CatBoost": 40,
    "XGBoost": 50, "XGBoost binary": 50, "LightGBM": 50, "mat": 30,
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_spoiled_file_is_read_or_refused_in_one_line(reader, tmp_path):
    pytest.importorskip(reader.needs)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    sound = sound_files(reader, tmp_path / "a")
    before = sorted(tmp_path.iterdir())
    seen = set()
    for seed in range(FEWER.get(reader.name, COUNT)):
        folder = tmp_path / "work"
        folder.mkdir()
        seen.add(attack(reader, folder, seed, sound))
        shutil.rmtree(folder)
        assert victim.read_text() == "mine" and sorted(tmp_path.iterdir()) == before, seed
    assert "refused" in seen or reader.name == "checkpoint"  # a damaged one is as good as none


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_the_sound_file_is_read(reader, tmp_path):
    pytest.importorskip(reader.needs)
    sound_files(reader, tmp_path)
    if reader.name == "pickle":  # never, without consent
        with pytest.raises(UserError, match="--trust"):
            reader.read(tmp_path / reader.file)
        return
    reader.read(tmp_path / reader.file)


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("csv", 1005414), ("npz", 1000482), ("torch", 1000218), ("torchscript", 1001758), ("ONNX teacher", 1000460),
        ("private key", 1152), ("parquet", 17785), ("parquet", 93995), ("mat", 27699), ("zip", 2593),
    ],
)  # fmt: skip
def test_inputs_that_once_ended_in_a_traceback(name, seed, tmp_path):
    reader = next(reader for reader in READERS if reader.name == name)
    pytest.importorskip(reader.needs)
    sound = sound_files(reader, tmp_path / "a")
    (tmp_path / "work").mkdir()
    assert attack(reader, tmp_path / "work", seed, sound) == "refused"


# Module that opens files -> the readers that attack it here, or why nobody else writes what it opens.
_OPENERS = {
    "bundle/archive": "bundle, unpacked bundle", "bundle/make": "model",
    "bundle/signature": "public key, private key, signature",
    "bundle/deploy": "predictions", "bundle/tar": "bundle", "config/run": "config", "data/reading/__init__": "npz",
    "data/reading/npz": "npy", "data/reading/mat": "mat", "data/reading/stream": "csv, gz, zip, text table",
    "data/reading/parquet": "parquet",
    "data/reading/workbook": "workbook", "data/reading/fast": "csv",
    "data/store": "dataset, names of a dataset, predictions", "doctor": "files of installed packages",
    "engines/base": "its size alone", "engines/manifest": "manifest", "engines/native/backend": "native",
    "engines/onnxruntime": "onnx",
    "engines/tensorrt/network": "onnx", "engines/host": "the kernel's files", "export/check": "the graph just exported",
    "fused/gain": "a table of the package", "graph/graph": "onnx", "graph/unoptimized": "onnx",
    "inspection": "native, model", "io/arrays": "npz", "io/child": "the kernel's files",
    "io/consent": "hashes compared as bytes, in the user's own folder",
    "io/files": "only hashed", "io/memory": "the kernel's files", "io/reading": "state, config, safetensors",
    "io/regular": "state", "measure/result": "written", "measure/machine": "the kernel's files",
    "models/scaling": "scalers, scalers in NPZ", "models/store": "model, weights of a model, kept teacher",
    "models/teachers/estimators": "skops, pickle, XGBoost, XGBoost binary, LightGBM, CatBoost",
    "models/teachers/exported": "exported, torchscript", "models/teachers/onnx/file": "ONNX teacher",
    "models/teachers/program_code": "exported, torchscript", "models/weights": "safetensors, torch",
    "prediction": "names of a dataset", "report/collect": "record of bench, predictions", "report/evidence": "native",
    "run/folder": "config, compared as bytes", "run/pipeline": "state, compared as text", "run/state": "state",
    "sampling/describe": "description", "training/checkpoint": "checkpoint",
    "cli/logs": "written", "data/reading/images": "image", "data/reading/tensors": "examples",
    "io/mapped": "npy, examples", "data/reading/recordings": "wav",
    "graph/weighted": "the graph just exported", "models/teachers/probe": "its own pipe",
    "bundle/wheel": "named by the user, its members are counted first",
    "data/stored": "npy", "models/teachers/module": "what was just written, from memory",
}  # fmt: skip
_CALLS = re.compile(
    r"\b(read_bytes|read_text|read_json|read_json_object|read_yaml|read_npz|ZipFile|load_file|loadmat|safe_open|fdopen"
    r"|ParquetFile|read_csv|from_path|InferenceSession|fromfile|memmap)\(|(?<!\w)open\("
    r"|\b(np|torch|onnx|joblib|jit|io|os|bz2|gzip|lzma)\.(load|open)\(|\.load_model\(|pq\.read_\w+\("
)


def test_no_reader_is_missing():
    """A new module that opens files has to be named here, with the reader that attacks it."""
    package = Path(regkd_edge.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        code = "\n".join(line for line in path.read_text().splitlines() if not re.match(r"\s*(def |#)", line))
        code = re.sub(r"\bRunFolder\.open\(|\bself\.open\(|RunFolder\.open", "", code)
        if _CALLS.search(code):
            found.add(path.relative_to(package).with_suffix("").as_posix())
    assert found - set(_OPENERS) == set()
    assert all((package / f"{module}.py").is_file() for module in _OPENERS)  # no name of what is gone
    names = {reader.name for reader in READERS}
    attacked = {name for text in _OPENERS.values() for name in text.split(", ") if name in names}
    assert names - attacked == set()
