#!/usr/bin/env python3
"""Put NVIDIA's real TensorRT bindings, without TensorRT, into a folder, to check names against.

    python tools/lib/tensorrt_bindings.py [VERSION ...]      (default: all that the tests use)

The wheel of the bindings (about 1 MB) needs nine C symbols of three libraries. Here three tiny libraries that answer
NULL take their place, so every class, enum and property exists and nothing can be built or run. Results are kept under
the virtual environment: ``tensorrt-bindings/<version>/`` with ``tensorrt`` importable from it, ``stubs/<major>/`` with
the libraries. A second call does nothing. Exit code 1 names what could not be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

#: Version -> the package that has wheels of it, and which of them.
WHEELS = {
    "10.3": ("tensorrt_cu12_bindings", "==10.3.*"),
    "10.13": ("tensorrt_cu13_bindings", "==10.13.*"),
    "10.16": ("tensorrt_cu13_bindings", "==10.16.*"),
    "11.4": ("tensorrt_cu13_bindings", "==11.4.*"),
}
_SYMBOLS = {
    "nvinfer": [
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ],
    "nvinfer_plugin": ["initLibNvInferPlugins"],
    "nvonnxparser": ["createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"],
}
CACHE = Path(sys.prefix, "tensorrt-bindings")


class Unavailable(Exception):
    """The wheel or a compiler is not available; the message says which."""


def stubs(major: str) -> Path:
    """Folder of the three libraries for a major version, compiled when absent."""
    folder = CACHE / "stubs" / major
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Unavailable("there is no C compiler 'cc' for the stub libraries")
    for name, symbols in _SYMBOLS.items():
        library = folder / f"lib{name}.so.{major}"
        if library.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            source = Path(work, "stub.c")
            source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols))
            made = Path(work, library.name)
            done = subprocess.run(
                [compiler, "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", made, source],
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise Unavailable(f"'{compiler}' cannot compile the stub libraries: {done.stderr.strip()}")
            os.replace(made, library)
    return folder


def bindings(version: str, timeout: float = 120) -> Path:
    """Folder to put on PYTHONPATH for ``import tensorrt`` of that version, downloaded when absent."""
    folder = CACHE / version
    if (folder / "tensorrt" / "__init__.py").exists():
        return folder
    package, wanted = WHEELS[version]
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            work,
            package + wanted,
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{package}{wanted} was not downloaded within {timeout:g} s") from None
        wheels = list(Path(work).glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["pip printed no error"])[-1]
            raise Unavailable(
                f"pip cannot download {package}{wanted} for Python "
                f"{sys.version_info.major}.{sys.version_info.minor}: {last}"
            )
        unpacked = Path(work, "unpacked")
        with zipfile.ZipFile(wheels[0]) as archive:
            archive.extractall(unpacked)
        (unpacked / "tensorrt").mkdir()
        # What the package 'tensorrt' itself does, less the libraries that it would bring.
        (unpacked / "tensorrt" / "__init__.py").write_text(
            "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
        )
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(unpacked, folder)
    return folder


def environment(version: str) -> dict[str, str]:
    """Variables of a process that is to import those bindings."""
    libraries = stubs(version.split(".")[0])
    return {"PYTHONPATH": str(bindings(version)), "LD_LIBRARY_PATH": str(libraries)}


def main() -> int:
    failed = 0
    for version in sys.argv[1:] or WHEELS:
        try:
            if version not in WHEELS:
                raise Unavailable(f"unknown version; known are {', '.join(WHEELS)}")
            environment(version)
            print(f"TensorRT bindings {version}: {CACHE / version}")
        except Unavailable as error:
            print(f"TensorRT bindings {version}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
