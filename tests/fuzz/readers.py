"""The readers of files, with a sound file each: shared by the short tests and by tools/fuzz.

A reader takes the path of a file and either returns or raises a UserError. Anything else is a defect.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regkd_edge.errors import UserError

from .spoil import spoiled_file


@dataclass(frozen=True)
class Reader:
    """One reader with a sound file: ``make`` writes it, ``read`` reads it."""

    name: str
    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    needs: str = "numpy"  # the library that reads it, which may be absent


def _json(content: object) -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps(content), encoding="utf-8")


def _npz(path: Path) -> None:
    np.savez(path, x=np.arange(12.0).reshape(6, 2), y=np.arange(6.0), target_names=["y"])


def _safetensors(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float32)}, path)


def _saved(path: Path) -> None:
    import torch

    torch.save({"w": torch.ones(2, 3), "b": torch.zeros(3)}, path)


def _onnx(path: Path) -> None:
    from graphs import write_mlp

    write_mlp(path, widths=(3, 4, 1))


def _native(path: Path) -> None:
    from regkd_edge.engines.native.file import to_bytes
    from regkd_edge.engines.native.program import program_of

    graph = path.with_suffix(".onnx")
    _onnx(graph)
    path.write_bytes(to_bytes(program_of(graph)))
    graph.unlink()


def _bundle(path: Path) -> None:
    import hashlib

    from regkd_edge.bundle import write_archive

    files = {"onnx/student.fp32.onnx": b"graph", "run.yaml": b"seed: 1\n"}
    errors = {"rmse": 1.0, "mae": 1.0, "max_error": 1.0, "r2": None}
    graph = {
        "file": "onnx/student.fp32.onnx", "sha256": hashlib.sha256(b"graph").hexdigest(), "precision": "fp32",
        "accuracy": {"n": 1, "targets": [{"name": "y", "unit": None, **errors}], "unit": "y", **errors},
        "allowed": [0.1],
    }  # fmt: skip
    target = {"name": "desktop", "what": "a desktop", "tensorrt": {}, "checked_for": "10.3", "python": "3.10"}
    header = {
        "name": "demo", "target": target, "rows": {"kind": "held-out", "count": 1}, "graphs": {"fp32": graph},
        "left_out": [], "tensorrt_options": {}, "versions": {},
    }  # fmt: skip
    write_archive(path, header, files)


_RECORD = {"fingerprint": "0", "machine": "", "outputs": {"report.html": "00"}, "seconds": 1.0, "summary": {}}
_MANIFEST = {
    "format": 1, "backend": "native", "precision": "fp32", "engine": "engine.rkdn", "engine_sha256": "0" * 64,
    "size_bytes": 10, "source": "student.fp32.onnx", "source_sha256": "0" * 64, "batch": None, "max_batch": None,
    "inputs": [{"name": "x", "shape": ["batch", 3], "dtype": "float"}],
    "outputs": [{"name": "y", "shape": ["batch", 1], "dtype": "float"}], "executed": {"fp32": 1.0},
}  # fmt: skip
_YAML = "seed: 3\ndata: {data: digits, target: [digit]}\ndistill: {student: 'mlp:8,8:relu', steps: 100}\n"
_DESCRIPTION = (
    "inputs:\n  - {name: t, mean: 21.5, sd: 8, low: -40, high: 85}\n  - {name: gear, low: 1, high: 6, integer: true}\n"
)


def _read_state(path: Path) -> object:
    from regkd_edge.run import RunFolder

    run = RunFolder(path.parent)
    for stage in run.state():
        run.discard(stage)
    return None


def _read_config(path: Path) -> object:
    from regkd_edge.config import RunConfig

    return RunConfig.from_yaml(path).to_yaml()


def _read_description(path: Path) -> object:
    from regkd_edge.sampling.describe import InputDescription

    return InputDescription.from_yaml(path).marginals


def _read_table(path: Path) -> object:
    from regkd_edge.data import load_table

    return load_table(path, ["y"])


def _read_examples(path: Path) -> object:
    from regkd_edge.data import load_table

    folder = path.parent / "folder"
    labels = folder / "labels.csv"
    options: dict[str, object] = {}
    if path.suffix in (".png", ".wav"):
        folder.mkdir(exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
        (folder / f"sound{path.suffix}").write_bytes(_sound_bytes(path.suffix, 2))
        labels.write_text(f"file,y\n{path.name},1\nsound{path.suffix},2\n")
        options = {"window": "8"} if path.suffix == ".wav" else {}
    source = folder if options or path.suffix == ".png" else path
    return load_table(source, ["y"], **options)


def _sound_bytes(suffix: str, factor: int = 1) -> bytes:
    """The content of a sound file of that kind; another ``factor`` gives another content."""
    stream = io.BytesIO()
    if suffix == ".png":
        from PIL import Image

        Image.fromarray(factor * np.arange(12, dtype=np.uint8).reshape(3, 4)).save(stream, "PNG")
    else:
        from scipy.io import wavfile

        wavfile.write(stream, 8000, factor * np.arange(64, dtype=np.int16))
    return stream.getvalue()


def _examples(path: Path) -> None:
    if path.suffix == ".npz":
        np.savez(path, x=np.arange(36.0).reshape(3, 3, 4), y=np.arange(3.0))
    else:
        path.write_bytes(_sound_bytes(path.suffix))


def _read_tensors(path: Path) -> object:
    from regkd_edge.models.store import read_tensors

    return read_tensors(path)


def _read_graph(path: Path) -> object:
    from regkd_edge.graph.graph import load_graph

    return load_graph(path)


def _read_native(path: Path) -> object:
    from regkd_edge.engines.native.file import from_bytes

    return from_bytes(path.read_bytes())


def _read_manifest(path: Path) -> object:
    from regkd_edge.engines import read_manifest

    return read_manifest(path.parent)


def _read_bundle(path: Path) -> object:
    from regkd_edge.bundle import unpack

    return unpack(path, path.parent / "unpacked")


def _compressed(path: Path) -> None:
    import gzip

    path.write_bytes(gzip.compress(_TABLE.encode()))


def _npy(path: Path) -> None:
    np.save(path, np.arange(12.0).reshape(4, 3))


def _mat(path: Path) -> None:
    from scipy.io import savemat

    savemat(
        path,
        {"x": np.arange(12.0).reshape(6, 2), "y": np.arange(6.0)[:, None], "target_names": ["y"]},
        do_compression=True,
    )


def _parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1.0, 2.0, 3.5], "y": [2, 3, 5]}), path)


def _exported(path: Path) -> None:
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(3, 2),)), path)


def _torchscript(path: Path) -> None:
    import torch

    torch.jit.trace(torch.nn.Linear(2, 1), torch.zeros(3, 2)).save(str(path))


def _skops(path: Path) -> None:
    from sklearn.linear_model import LinearRegression
    from skops.io import dump

    dump(LinearRegression().fit(np.eye(3)[:, :2], np.arange(3.0)), path)


def _read_any_table(path: Path) -> object:
    from regkd_edge.data import load_table

    return load_table(path, ["c3" if path.suffix == ".npy" else "y"])


def _read_scalers(path: Path) -> object:
    from regkd_edge.models.scaling import read_scalers

    return read_scalers(path, 2, 1)


def _read_teacher(path: Path) -> object:
    from regkd_edge.models.teachers import load_teacher

    return load_teacher(path)


def _text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content, encoding="utf-8") and None


def _zipped(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("table.csv", _TABLE)


def _workbook(path: Path) -> None:
    import zipfile

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    link = f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/'
    cells = "".join(
        f'<row r="{i}"><c r="A{i}" t="{kind}"><v>{a}</v></c><c r="B{i}" t="{kind}"><v>{b}</v></c></row>'
        for i, (kind, a, b) in enumerate((("str", "a", "y"), ("n", 1, 2), ("n", 3.5, 4), ("n", 5, "6.25")), 1)
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>')
        archive.writestr("_rels/.rels", f'{link}officeDocument" Target="xl/workbook.xml"/></Relationships>')
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets>'
            "</workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'{link}worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml", f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'
        )


def _dataset(path: Path) -> None:
    from regkd_edge.data import Table, save_dataset
    from regkd_edge.data.split import split
    from regkd_edge.run import RunFolder

    x = np.arange(40.0).reshape(20, 2)
    save_dataset(RunFolder(path.parent), Table(x, x[:, :1], ["a", "b"], ["y"], "rows"), split(20, 0.2, 0.2, 0))


def _read_dataset(path: Path) -> object:
    from regkd_edge.data import load_dataset
    from regkd_edge.run import RunFolder

    return load_dataset(RunFolder(path.parent))


def _predictions(path: Path) -> None:
    np.savez(path, y=np.ones((5, 1)))


def _read_predictions(path: Path) -> object:
    from regkd_edge.data import load_predictions

    return load_predictions(path, (5, 1))


def _model(path: Path) -> None:
    from regkd_edge.data import Scalers
    from regkd_edge.models.spec import build, parse_spec
    from regkd_edge.models.store import save_model

    save_model(path.parent, build(parse_spec("mlp:3:tanh"), 2, 1, 0), Scalers.identity(2, 1))


def _read_model(path: Path) -> object:
    from regkd_edge.models.store import load_model

    return load_model(path.parent)


def _kept(path: Path) -> None:
    from regkd_edge.io.files import file_hash
    from regkd_edge.models.store import write_model

    copy = path.parent / "source.onnx"
    _onnx(copy)
    card = {"kind": "file", "form": "ONNX", "file": copy.name, "file_sha256": file_hash(copy), "units": "raw",
            "scalers": None, "parameters": 3, "spec": "ONNX", "output": None, "extra": {"source": "ONNX"}}  # fmt: skip
    write_model(path.parent, {}, card)


def _read_kept(path: Path) -> object:
    from regkd_edge.models.teachers.run import from_folder

    return from_folder(path.parent)


def _checkpoint(path: Path) -> None:
    import torch

    from regkd_edge.training.checkpoint import Checkpoint

    Checkpoint(path.parent, "f").save({"w": torch.ones(3)}, {"step": 3})


def _read_checkpoint(path: Path) -> object:
    from regkd_edge.training.checkpoint import Checkpoint

    return Checkpoint(path.parent, "f").load()


def _public_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (path.parent / "key.pem").write_bytes(private)
    path.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))


def _signed(path: Path) -> None:
    from regkd_edge.bundle.signature import sign

    _public_key(path.parent / "pub.pem")
    path.write_bytes(sign(b"list", path.parent / "key.pem"))


def _read_signed(path: Path) -> object:
    from regkd_edge.bundle.signature import sign, verify

    sign(b"list", path.parent / "key.pem")
    return verify(b"list", (path.parent / "s.sig").read_bytes() if path.suffix == ".sig" else sign(
        b"list", path.parent / "key.pem"), path.parent / "pub.pem", path)  # fmt: skip


def _unpacked(path: Path) -> None:
    from regkd_edge.bundle import unpack

    path.parent.rmdir()
    archive = path.parent.with_suffix(".tar.gz")
    _bundle(archive)
    unpack(archive, path.parent)
    archive.unlink()


def _read_unpacked(path: Path) -> object:
    from regkd_edge.bundle.archive import read_folder

    return read_folder(path.parent)


def _read_bench(path: Path) -> object:
    from regkd_edge.io.reading import read_json_object
    from regkd_edge.report.schema import check_bench

    record = read_json_object(path, "")
    return check_bench(record, path, "")


def _boosted(path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40.0)
    if path.suffix == ".txt":
        import lightgbm

        lightgbm.train({"num_leaves": 3, "verbose": -1, "min_data_in_leaf": 5}, lightgbm.Dataset(x, y), 2).save_model(
            path
        )
    elif path.suffix == ".cbm":
        import catboost

        catboost.CatBoostRegressor(iterations=2, depth=2, silent=True, allow_writing_files=False).fit(x, y).save_model(
            path
        )
    else:
        import xgboost

        xgboost.train({"max_depth": 2}, xgboost.DMatrix(x, y), 2).save_model(path)


def _pickled(path: Path) -> None:
    import pickle

    path.write_bytes(pickle.dumps({"a": [1.0]}))


_BENCH = {
    "name": "native.fp32", "backend": "native", "precision": "fp32", "executed": {"fp32": 1.0},
    "engine": {"sha256": "0" * 64, "size_bytes": 10, "notes": ["n"]}, "machine": {"load": [0.1], "cores": 2},
    "latency": [{"batch": 1, "samples": 10, "p50_ns": 100.0, "p99_ns": 120.0, "overhead_ns": 1.0,
    "gpu": {"p50_ns": None}}],
    "settings": {"threads 2": [{"batch": 1, "p50_ns": 90.0}]}, "skipped": [{"batch": 64, "reason": "r"}],
    "measured": "",
}  # fmt: skip
_TABLE = 'a,"b",y\n1,2,3\n4,5,6.5\n7,8,1e3\n'
_SCALERS = {"x_mean": [0.5, 2], "x_scale": [1, 3.5], "y_mean": [1], "y_scale": [2], "epochs": 3}

READERS = (
    Reader("state", "state.json", _json({"format": 1, "stages": {"report": _RECORD}}), _read_state),
    Reader("manifest", "manifest.json", _json(_MANIFEST), _read_manifest),
    Reader("config", "run.yaml", lambda path: path.write_text(_YAML) and None, _read_config),
    Reader("description", "inputs.yaml", lambda path: path.write_text(_DESCRIPTION) and None, _read_description),
    Reader("csv", "table.csv", lambda path: path.write_text(_TABLE) and None, _read_table),
    Reader("npz", "table.npz", _npz, _read_table),
    Reader("gz", "table.csv.gz", _compressed, _read_any_table),
    Reader("npy", "table.npy", _npy, _read_any_table),
    Reader("examples", "examples.npz", _examples, _read_examples),
    Reader("image", "image.png", _examples, _read_examples, "PIL"),
    Reader("wav", "recording.wav", _examples, _read_examples, "scipy"),
    Reader("mat", "table.mat", _mat, _read_any_table, "scipy"),
    Reader("parquet", "table.parquet", _parquet, _read_any_table, "pyarrow"),
    Reader("scalers", "scalers.json", _json(_SCALERS), _read_scalers),
    Reader("safetensors", "w.safetensors", _safetensors, _read_tensors),
    Reader("torch", "w.pt", _saved, _read_tensors),
    Reader("onnx", "g.onnx", _onnx, _read_graph),
    Reader("ONNX teacher", "teacher.onnx", _onnx, _read_teacher, "onnxruntime"),
    Reader("exported", "teacher.pt2", _exported, _read_teacher),
    Reader("torchscript", "teacher.pt", _torchscript, _read_teacher),
    Reader("skops", "teacher.skops", _skops, _read_teacher, "skops"),
    Reader("pickle", "teacher.pkl", _pickled, _read_teacher),
    Reader("XGBoost", "teacher.json", _boosted, _read_teacher, "xgboost"),
    Reader("XGBoost binary", "teacher.ubj", _boosted, _read_teacher, "xgboost"),
    Reader("LightGBM", "teacher.txt", _boosted, _read_teacher, "lightgbm"),
    Reader("CatBoost", "teacher.cbm", _boosted, _read_teacher, "catboost"),
    Reader("workbook", "table.xlsx", _workbook, _read_any_table, "python_calamine"),
    Reader("text table", "table.txt", _text("# from a logger\na  b y\n1 2 3\n4 5 6,5\n7 8 9\n"), _read_any_table),
    Reader("zip", "table.csv.zip", _zipped, _read_any_table),
    Reader("dataset", "data.npz", _dataset, _read_dataset),
    Reader("names of a dataset", "data.json", _dataset, _read_dataset),
    Reader("predictions", "predictions.npz", _predictions, _read_predictions),
    Reader("model", "model.json", _model, _read_model),
    Reader("weights of a model", "model.safetensors", _model, _read_model),
    Reader("kept teacher", "model.json", _kept, _read_kept, "onnxruntime"),
    Reader("checkpoint", "state.safetensors", _checkpoint, _read_checkpoint),
    Reader("public key", "pub.pem", _public_key, _read_signed, "cryptography"),
    Reader("private key", "key.pem", lambda path: _public_key(path.parent / "pub.pem"), _read_signed, "cryptography"),
    Reader("signature", "s.sig", _signed, _read_signed, "cryptography"),
    Reader("unpacked bundle", "u/bundle.json", _unpacked, _read_unpacked),
    Reader("record of bench", "record.json", _json(_BENCH), _read_bench),
    Reader("scalers in NPZ", "scalers.npz", lambda path: np.savez(path, **_SCALERS), _read_scalers),
    Reader("native", "engine.rkdn", _native, _read_native),
    Reader("bundle", "b.tar.gz", _bundle, _read_bundle),
)  # fmt: skip


def attack(reader: Reader, folder: Path, seed: int, sound: dict[str, bytes]) -> str:
    """Read one spoiled input in an empty ``folder``; ``"read"`` or ``"refused"``. Other exceptions are let through.

    ``sound``: the files that :attr:`Reader.make` wrote, by name; all but :attr:`Reader.file` stay sound.
    """
    rng = random.Random(f"{reader.name} {seed}")
    for name, content in sound.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(spoiled_file(name, content, rng) if name == reader.file else content)
    try:
        reader.read(folder / reader.file)
    except UserError as error:
        assert "\n" not in str(error) and error.cause, error
        return "refused"
    return "read"


def sound_files(reader: Reader, folder: Path) -> dict[str, bytes]:
    """Write the sound files of a reader into ``folder``: ``{name: content}``."""
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    reader.make(path)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
