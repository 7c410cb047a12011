"""The readers of files, and how their inputs are spoiled: shared by the short tests and by tools/fuzz.

A reader takes the path of a file and either returns or raises a UserError. Anything else is a defect.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regkd_edge.errors import UserError

HOSTILE = (
    None, True, -1, 0, 10**30, 1e308, "", "x" * 300, "../../victim", "/etc/passwd", "a/../../victim", "c:\\victim",
    "\x00", "nul", "\ud800", [], {}, [[]], {"": None}, [None], [1e400], {"w_base": 3}, "nan", -0.0,
)  # fmt: skip


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
    graph = {
        "file": "onnx/student.fp32.onnx", "sha256": hashlib.sha256(b"graph").hexdigest(), "precision": "fp32",
        "accuracy": {"rmse": 1.0}, "allowed": [0.1],
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
    Reader("native", "engine.rkdn", _native, _read_native),
    Reader("bundle", "b.tar.gz", _bundle, _read_bundle),
)  # fmt: skip


def spoiled(content: bytes, rng: random.Random) -> bytes:
    """A few strokes on the bytes: changed, cut, doubled, swapped for what sizes and brackets look like."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        stroke = rng.randrange(6)
        if stroke == 0 and data:
            data[at % len(data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, *b'{}[]",:-.&*#|', rng.randrange(256)))
        elif stroke == 1:
            del data[at : at + rng.randint(1, 16)]
        elif stroke == 2:
            data[at:at] = data[at : at + rng.randint(1, 64)]
        elif stroke == 3:
            data[at:at] = rng.choice(
                (b"9" * 6000, b"[" * 200, b"\xff" * 8, b"&a ", b"*a ", b"nan", b"1e999", b"\0" * 512)
            )
        elif stroke == 4:
            del data[at:]
        else:
            data[at : at + 8] = rng.choice((2**63 - 1, 2**31, 0, 1)).to_bytes(8, "little")
    return bytes(data)


def spoiled_fields(value: object, rng: random.Random) -> object:
    """The same JSON with one field, at any depth, replaced, renamed or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        rest = {k: v for k, v in value.items() if k != key}
        stroke = rng.random()
        if stroke < 0.1:
            return rest
        if stroke < 0.25:
            name = rng.choice([h for h in HOSTILE if isinstance(h, str) and h != "\ud800"])
            return {**rest, name: value[key]}
        return {**value, key: spoiled_fields(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], spoiled_fields(value[at], rng), *value[at + 1 :]]
    return rng.choice(HOSTILE)


def repacked(archive: bytes, rng: random.Random) -> bytes:
    """A bundle with a spoiled list and members of spoiled names, packed as a tar again."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
        for member in old:
            data = old.extractfile(member).read()
            if member.name == "bundle.json":
                data = json.dumps(spoiled_fields(json.loads(data), rng)).encode()
            elif rng.random() < 0.2:
                member.name = rng.choice([h for h in HOSTILE if isinstance(h, str) and h not in ("\x00", "\ud800", "")])
            if rng.random() < 0.1:
                member.type = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE))
                member.linkname = "/etc/passwd"
            member.size = len(data) if member.isreg() else 0
            new.addfile(member, io.BytesIO(data))
    return out.getvalue()


def attack(reader: Reader, folder: Path, seed: int, sound: bytes) -> str:
    """Read one spoiled input in an empty ``folder``; ``"read"`` or ``"refused"``. Other exceptions are let through."""
    rng = random.Random(f"{reader.name} {seed}")
    path = folder / reader.file
    if reader.name == "bundle" and rng.random() < 0.5:
        content = repacked(sound, rng)
    elif path.suffix == ".json" and rng.random() < 0.6:
        content = json.dumps(spoiled_fields(json.loads(sound), rng)).encode()
    else:
        content = spoiled(sound, rng)
    path.write_bytes(content)
    try:
        reader.read(path)
    except UserError as error:
        assert "\n" not in str(error) and error.cause, error
        return "refused"
    return "read"
