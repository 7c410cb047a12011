"""Files made to exhaust time or memory are refused early, in a child process with limits.

The target is 5 seconds and 500 MB; the child may take 20 seconds of processor time, for a busy machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS, MEGABYTES = 20, 500

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
    "NPZ of 30,000 arrays": (
        "np.savez(path, **{f'c{i}': np.zeros(2) for i in range(30_000)})",
        "from regkd_edge.data import load_table; load_table(path, ['c1'])",
    ),
    "a pipe as a table": ("os.mkfifo(path)", "from regkd_edge.data import load_table; load_table(path, ['y'])"),
    "a pipe as a configuration": ("os.mkfifo(path)", "from regkd_edge.config import RunConfig; RunConfig.from_yaml(path)"),
    "a pipe as JSON": ("os.mkfifo(path)", "from regkd_edge.io.reading import read_json; read_json(path, '')"),
    "a pipe as a bundle": ("os.mkfifo(path)", "from regkd_edge.bundle import read_archive; read_archive(path)"),
    "a device as a table": ("os.symlink('/dev/zero', path)", "from regkd_edge.data import load_table; load_table(path, ['y'])"),
    "a device as a configuration": (
        "os.symlink('/dev/zero', path)", "from regkd_edge.config import RunConfig; RunConfig.from_yaml(path)"
    ),
    "a device to hash": ("os.symlink('/dev/zero', path)", "from regkd_edge.io.files import file_hash; file_hash(path)"),
}  # fmt: skip

_CHILD = """
import json, os, resource, sys, time
sys.path.insert(0, sys.argv[1])
import regkd_edge.bundle, regkd_edge.config, regkd_edge.data
from regkd_edge.errors import UserError
path = sys.argv[2]
used = resource.getrusage(resource.RUSAGE_SELF)
seconds = int(used.ru_utime + used.ru_stime) + int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
started = time.monotonic()
try:
    exec(sys.argv[3])
    said = None
except UserError as error:
    said = str(error)
print(json.dumps([said, time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are those of POSIX")
@pytest.mark.parametrize("name", BOMBS)
def test_it_is_refused_early(name, tmp_path):
    import tarfile

    import numpy as np

    write, read = BOMBS[name]
    path = str(tmp_path / "file.npz" if "NPZ" in name else tmp_path / "file.csv")
    exec(textwrap.dedent(write), {"path": path, "np": np, "os": os, "tarfile": tarfile})
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(ROOT), path, read, str(SECONDS)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said, seconds, megabytes = json.loads(done.stdout)
    assert said and "\n" not in said, said
    assert megabytes < MEGABYTES, f"{megabytes:.0f} MB: {said}"
    print(f"{name}: {seconds:.2f} s, {megabytes:.0f} MB: {said}")
