"""The libFuzzer programs of csrc/runtime, and sound inputs to begin with:
shared by the short test and tools/fuzz cpp."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

from graphs import rows, write_mlp, write_student
from runtime_build import SIGNALS, cmake_build

TARGETS = ("engine", "folder", "rows")


def compiler() -> str | None:
    """A clang that brings libFuzzer, or None."""
    for name in ("clang++", *(f"clang++-{version}" for version in range(22, 11, -1))):
        found = shutil.which(name)
        if found is None:
            continue
        asked = [found, "-fsanitize=fuzzer,address,undefined", "-x", "c++", "-", "-o", os.devnull]
        source = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
        if subprocess.run(asked, input=source, text=True, capture_output=True).returncode == 0:
            return found
    return None


def build(folder: Path, clang: str) -> Path:
    """Build all programs with one job; the folder they are in."""
    source = Path(__file__).parent / "libfuzzer"
    return cmake_build(source, folder, f"-DCMAKE_CXX_COMPILER={clang}", "-DCMAKE_BUILD_TYPE=Debug")


def write_seeds(folder: Path) -> None:
    """Write ``folder/TARGET/*``: engines of all kinds of layers, a manifest, tables;
    and ``folder/engine.rkdn`` with names.
    """
    import onnx

    from regkd_edge.engines.native import BACKEND
    from regkd_edge.quantization import quantize_int8

    for target in TARGETS:
        (folder / target).mkdir(parents=True, exist_ok=True)
    graph, small = folder / "graph.onnx", folder / "quantized.onnx"
    built = {}
    for name, activation in (("relu", "Relu"), ("tanh", "Tanh"), ("sigmoid", "Sigmoid")):
        write_mlp(graph, (3, 4, 1), activation)
        model = onnx.load(graph)
        onnx.helper.set_model_props(
            model, {"regkd.feature_names": '["a", "b, in", "c"]', "regkd.target_names": '["y"]'}
        )
        onnx.save(model, graph)
        built[name] = graph.read_bytes()
        quantize_int8(graph, small, rows(n=32, d=3), method="minmax", corrections=())
        built[f"{name}8"] = small.read_bytes()
    for name, (text, shape) in SIGNALS.items():
        x = write_student(re.sub(r"\d{2}", "4", text), shape, graph)[:20]
        built[name] = graph.read_bytes()
        quantize_int8(graph, small, x)
        built[f"{name}8"] = small.read_bytes()
    for name, content in built.items():
        graph.write_bytes(content)
        BACKEND.build(graph, folder / "built" / name)
        shutil.copyfile(folder / "built" / name / "engine.rkdn", folder / "engine" / name)
    shutil.copyfile(folder / "engine" / "relu", folder / "engine.rkdn")
    manifest = json.loads((folder / "built" / "relu" / "manifest.json").read_text())
    own = "manifest.json"
    texts = [json.dumps(manifest | {"engine": name}) for name in ("engine.rkdn", own, "../engine.rkdn", "/etc/passwd")]
    for at, text in enumerate(
        [*texts, json.dumps(manifest | {"engine_sha256": sha256(b"").hexdigest(), "engine": "."})]
    ):
        (folder / "folder" / str(at)).write_text(text)
    tables = (
        'a,"b, in",c\n1,2,3\n4,5.5,-6e3\n', "1,2,3\n", '\ufeffx,a,"b, in",c\r\n"q""q",1,2,3\r\n', "a,b\n1\n",
        'a,"b, in",c\n1,12345678901234567,0x1p3\n1,nan,inf\n',
    )  # fmt: skip
    for at, text in enumerate(tables):
        (folder / "rows" / str(at)).write_text(text)


def fuzz(programs: Path, seeds: Path, target: str, *options: str) -> subprocess.CompletedProcess:
    """Run one program over its seeds; what it finds new is added to them."""
    work = seeds / f"found-{target}"
    work.mkdir(exist_ok=True)
    command = [programs / target, seeds / target, "-rss_limit_mb=2000", "-timeout=5", f"-artifact_prefix={work}/"]
    environment = {
        **os.environ,
        "REGKD_ENGINE": str(seeds / "engine.rkdn"),
        "ASAN_OPTIONS": "allocator_may_return_null=1",
    }
    return subprocess.run(
        [*map(str, command), "-print_final_stats=1", *options], capture_output=True, text=True, env=environment
    )


def executed(done: subprocess.CompletedProcess) -> int:
    """How many inputs a run has tried."""
    found = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    return int(found[1]) if found else 0
