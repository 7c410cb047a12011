"""Files made to exhaust time or memory are refused early, in a fork with limits.

The target is 5 seconds and 500 MB; the fork may take 20 seconds of processor time, for a busy machine.
"""

from __future__ import annotations

import os
import signal
import textwrap
from pathlib import Path

import pytest

from .forks import Forks

SECONDS, MEGABYTES = 20, 500

_TEACHER = "from regkd_edge.models.teachers import load_teacher; load_teacher(path)"
_WEIGHTS = "from regkd_edge.models.weights import read_weights; read_weights(path)"
_SCALER = "from regkd_edge.models.scaling import read_scalers; read_scalers(path, 2, 1)"
_ZIP = """
import zipfile
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
    for name in ('{first}', 'a/data'):
        with z.open(name, "w") as out:
            for _ in range(16): out.write(bytes(1 << 23))
"""

#: Name -> code that writes the file ``path``, then the code that reads it.
BOMBS = {
    "tar of PAX headers": (
        """
        import gzip
        block = tarfile.TarInfo("x"); block.type = tarfile.XHDTYPE; block.size = 1 << 30
        with gzip.open(path, "wb", compresslevel=1) as out:
            out.write(block.tobuf(tarfile.USTAR_FORMAT))
            for _ in range(64): out.write(bytes(1 << 24))
        """,
        "from regkd_edge.bundle import read_archive; read_archive(path)",
    ),
    "tar of GNU long names": (
        """
        import gzip
        block = tarfile.TarInfo("x"); block.type = tarfile.GNUTYPE_LONGNAME; block.size = 1 << 30
        with gzip.open(path, "wb", compresslevel=1) as out:
            out.write(block.tobuf(tarfile.GNU_FORMAT))
            for _ in range(64): out.write(b"a" * (1 << 24))
        """,
        "from regkd_edge.bundle import read_archive; read_archive(path)",
    ),
    "gzip of one long list": (
        """
        import gzip
        member = tarfile.TarInfo("bundle.json"); member.size = 1 << 30
        with gzip.open(path, "wb", compresslevel=1) as out:
            out.write(member.tobuf(tarfile.USTAR_FORMAT))
            for _ in range(64): out.write(b" " * (1 << 24))
        """,
        "from regkd_edge.bundle import read_archive; read_archive(path)",
    ),
    "gzip with an endless file name": (
        "open(path, 'wb').write(b'\\x1f\\x8b\\x08\\x08' + bytes(6) + b'a' * (100 << 20))",
        "from regkd_edge.bundle import read_archive; read_archive(path)",
    ),
    "NPZ that inflates": (
        "np.savez_compressed(path, x=np.zeros((40_000_000, 2)), y=np.zeros(10))",
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "NPZ with a lying shape": (
        """
        import io, zipfile
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 1000)})
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("x.npy", head.getvalue()); z.writestr("y.npy", head.getvalue())
        """,
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "YAML aliases": (
        """
        lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
        open(path, "w").write("\\n".join(lines))
        """,
        "from regkd_edge.config import RunConfig; RunConfig.from_yaml(path)",
    ),
    "YAML aliases in merge keys": (
        """
        lines = ["a0: &a0 {k: 1}"] + [f"a{i}: &a{i}\\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
        open(path, "w").write("\\n".join(lines))
        """,
        "from regkd_edge.config import RunConfig; RunConfig.from_yaml(path)",
    ),
    "YAML of the largest size": (
        "open(path, 'w').write('inputs:\\n' + '  - {low: 1, high: 2}\\n' * 12_000)",
        "from regkd_edge.config import RunConfig; RunConfig.from_yaml(path)",
    ),
    "YAML of brackets": (
        "open(path, 'w').write('[' * 250_000)",
        "from regkd_edge.config import RunConfig; RunConfig.from_yaml(path)",
    ),
    "YAML, an integer of 6,000 digits": (
        "open(path, 'w').write('seed: ' + '9' * 6000)",
        "from regkd_edge.config import RunConfig; RunConfig.from_yaml(path)",
    ),
    "JSON, an integer of 6,000 digits": (
        "open(path, 'w').write('[' + '9' * 6000 + ']')",
        "from regkd_edge.io.reading import read_json; read_json(path, '')",
    ),
    "JSON of empty lists": (
        "open(path, 'w').write('[' + '[],' * 10_000_000 + '[]]')",
        "from regkd_edge.io.reading import read_json; read_json(path, '')",
    ),
    "JSON of brackets": (
        "open(path, 'w').write('[' * 30_000_000)",
        "from regkd_edge.io.reading import read_json; read_json(path, '')",
    ),
    "CSV of 30,000 equal names": (
        "open(path, 'w').write(','.join(f'c{i}' for i in range(30_000)) + ',c0\\n' + ','.join('1' * 30_001))",
        "from regkd_edge.data import load_table; load_table(path, ['c1'])",
    ),
    "CSV of 100,001 columns": (
        "open(path, 'w').write(','.join(f'c{i}' for i in range(100_001)) + '\\n' + ','.join('1' * 100_001))",
        "from regkd_edge.data import load_table; load_table(path, ['c1'])",
    ),
    "CSV of commas": (
        "open(path, 'w').write(',' * 12_000_000)",
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "CSV of one line": (
        "open(path, 'wb').writelines([b'1,2,' * (1 << 18)] * 40)",
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "CSV of a header and one line": (
        "open(path, 'wb').writelines([b'a,y\\n', *[b'1,2,' * (1 << 18)] * 40])",
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "CSV of long cells": (
        "open(path, 'w').write('a,y\\n' + ('1' * 120_000 + 'x,2\\n') * 9)",
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "CSV of a long name": (
        "open(path, 'w').write('id' + '-' * 120_000 + 'x,y\\n' + '1,2\\n' * 9)",
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "gzip of rows": (
        """
        import gzip
        with gzip.open(path, "wb", compresslevel=1) as out:
            out.write(b"a,y\\n")
            for _ in range(100): out.write(b"1,2\\n" * (1 << 18))
        """,
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "a spreadsheet with a cell at its far end.xlsx": (
        """
        import zipfile
        main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        package = "http://schemas.openxmlformats.org/package/2006"
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>')
            z.writestr("_rels/.rels", f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
                       f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>')
            z.writestr("xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
                       '<sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>')
            z.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}/relationships"><Relationship '
                       f'Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>')
            z.writestr("xl/worksheets/sheet1.xml", f'<worksheet xmlns="{main}"><sheetData>'
                       '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
                       '</sheetData></worksheet>')
        """,
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "MAT with a lying shape.mat": (
        """
        from scipy.io import savemat
        savemat(path, {"x": np.zeros((3, 2)), "y": np.zeros((3, 1))})
        shape = (3).to_bytes(4, "little") + (2).to_bytes(4, "little")
        content = open(path, "rb").read()
        assert shape in content
        open(path, "wb").write(content.replace(shape, (1 << 30).to_bytes(4, "little") * 2))
        """,
        "from regkd_edge.data import load_table; load_table(path, ['y'])",
    ),
    "NPY with a lying shape.npy": (
        """
        with open(path, "wb") as out:
            np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 1000)})
        """,
        "from regkd_edge.data import load_table; load_table(path, ['c1'])",
    ),
    "NPZ of 30,000 arrays": (
        "np.savez(path, **{f'c{i}': np.zeros(2) for i in range(30_000)})",
        "from regkd_edge.data import load_table; load_table(path, ['c1'])",
    ),
    "a pipe as a table": ("os.mkfifo(path)", "from regkd_edge.data import load_table; load_table(path, ['y'])"),
    "a pipe as a configuration": ("os.mkfifo(path)",
    "from regkd_edge.config import RunConfig; RunConfig.from_yaml(path)"),
    "a pipe as JSON": ("os.mkfifo(path)", "from regkd_edge.io.reading import read_json; read_json(path, '')"),
    "a pipe as a bundle": ("os.mkfifo(path)", "from regkd_edge.bundle import read_archive; read_archive(path)"),
    "a device as a table": ("os.symlink('/dev/zero', path)",
    "from regkd_edge.data import load_table; load_table(path, ['y'])"),
    "a device as a configuration": (
        "os.symlink('/dev/zero', path)", "from regkd_edge.config import RunConfig; RunConfig.from_yaml(path)"
    ),
    "a device to hash": ("os.symlink('/dev/zero', path)", "from regkd_edge.io.files import file_hash; file_hash(path)"),
}  # fmt: skip

#: Teachers, weights and scalers: here torch itself is most of the memory, so only what is added counts.
FOREIGN = {
    **{f"a pipe as a teacher{kind}": ("os.mkfifo(path)", _TEACHER)
       for kind in (".onnx", ".pt2", ".pt", ".json", ".skops", ".cbm", ".txt")},
    **{f"a device as weights{kind}": ("os.symlink('/dev/zero', path)", _WEIGHTS) for kind in (".pt", ".safetensors")},
    **{f"a pipe as a scaler{kind}": ("os.mkfifo(path)", _SCALER) for kind in (".json", ".npz", ".pt", ".skops")},
    "a program that inflates.pt2": (_ZIP.format(first="a/archive_format"), _TEACHER),
    "a program that inflates.pt": (_ZIP.format(first="a/constants.pkl', 'a/code/x.py"), _TEACHER),
    **{
        f"a program whose pickle lies, {what}.pt": (
            f"""
            import torch, zipfile
            torch.jit.script(torch.nn.Linear(2, 1)).save(path)
            with zipfile.ZipFile(path) as z: members = {{n: z.read(n) for n in z.namelist()}}
            with zipfile.ZipFile(path, "w") as z:
                for n, content in members.items(): z.writestr(n, {changed} if n.endswith("/data.pkl") else content)
            """,
            _TEACHER,
        )
        for what, changed in (
            ("a text",
            "content.replace(b'X' + (6).to_bytes(4, 'little') + b'weight', b'X' + (2 << 30).to_bytes(4, 'little'))"),
            ("a place", "content[:-1] + b'r' + (1 << 28).to_bytes(4, 'little') + b'.'"),
        )
    },
    "an estimator that inflates.skops": (_ZIP.format(first="schema.json"), _TEACHER),
    "a pickle of a lying length.pt": (
        "open(path, 'wb').write(b'\\x80\\x04\\x8e' + (1 << 40).to_bytes(8, 'little') + b'.')", _WEIGHTS
    ),
    "a graph of a lying shape.onnx": (
        """
        from onnx import helper, TensorProto
        w = TensorProto(name="w", data_type=1, dims=[2**31, 2**31])
        x, y = (helper.make_tensor_value_info(n, 1, ["n", k]) for n, k in (("x", 2**31), ("y", 1)))
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [w])
        open(path, "wb").write(helper.make_model(graph).SerializeToString())
        """,
        _TEACHER,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def forks():
    """``forks(foreign)`` -> the process whose forks read."""
    started = {}

    def of(foreign):
        if foreign not in started:
            started[foreign] = Forks(foreign)
        return started[foreign]

    yield of
    for process in started.values():
        process.close()


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are those of POSIX")
@pytest.mark.parametrize("name", [*BOMBS, *FOREIGN])
def test_it_is_refused_early(forks, name, tmp_path):
    import tarfile

    import numpy as np

    for suffix, library in ((".mat", "scipy"), (".xlsx", "python_calamine"), (".skops", "skops")):
        if name.endswith(suffix):
            pytest.importorskip(library)
    if name in FOREIGN:
        pytest.importorskip("torch")
        pytest.importorskip("onnxruntime")
    write, read = (BOMBS | FOREIGN)[name]
    suffix = Path(name).suffix or (".npz" if "NPZ" in name else ".csv")
    path = str(tmp_path / f"file{suffix}")
    exec(textwrap.dedent(write), {"path": path, "np": np, "os": os, "tarfile": tarfile})
    (tmp_path / "fork").mkdir()
    said, seconds, megabytes = forks(name in FOREIGN).read(path, read, SECONDS, tmp_path / "fork")
    assert said and "\n" not in said, said
    assert megabytes < MEGABYTES, f"{megabytes:.0f} MB: {said}"
    print(f"{name}: {seconds:.2f} s, {megabytes:.0f} MB: {said}")


def test_what_takes_memory_or_time_or_fails_is_seen(forks, tmp_path):
    process, path = forks(False), str(tmp_path / "pipe")
    said, _, megabytes = process.read(path, "bytearray(b'1') * (600 << 20)", SECONDS, tmp_path)
    assert said is None and megabytes > 600
    with pytest.raises(AssertionError, match=rf"status -({signal.SIGXCPU:d}|{signal.SIGKILL:d}):"):
        process.read(path, "while True: pass", 1, tmp_path)
    with pytest.raises(AssertionError, match=r"(?s)status 1:.*FileNotFoundError"):
        process.read(path, "open(path)", SECONDS, tmp_path)
