"""The TensorRT back end of the C++ library against a TensorRT that is pretended: batches, buffers, refusals.

It needs NVIDIA's public headers, which are not part of this project. Where they are:

    REGKD_TENSORRT_INCLUDE=/path/10.3/include:/path/11.1/include python -m pytest tests/runtime/test_tensorrt_backend.py

(several folders: several versions; CUDA's headers are looked for in CUDA_HOME and /usr/local/cuda).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from runtime_build import SOURCE, checked, tool

HERE = Path(__file__).parent
INCLUDES = [Path(p) for p in os.environ.get("REGKD_TENSORRT_INCLUDE", "").split(":") if p]
CUDA = next(
    (
        p
        for p in (Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include",)
        if (p / "cuda_runtime_api.h").exists()
    ),
    None,
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INCLUDES, reason="REGKD_TENSORRT_INCLUDE names no folder with TensorRT's headers"),
    pytest.mark.skipif(CUDA is None, reason="no cuda_runtime_api.h in CUDA_HOME"),
]
WRITTEN = set(re.findall(r"(\w+)\([^()]*\) (?:const )?noexcept override", (HERE / "fake_tensorrt.cpp").read_text()))


def write_unused(include: Path, folder: Path) -> None:
    """An override that ends the program for each virtual function of these headers that the fake does not write."""
    text = re.sub(r"//[^\n]*", "", (include / "NvInferImpl.h").read_text())
    for name in ("VRuntime", "VCudaEngine", "VExecutionContext"):
        body = re.search(rf"class {name} : public VRoot\s*\{{(.*?)\n\}};", text, re.S).group(1)
        unused, contexts = [], []
        for declaration in re.findall(r"virtual\s+([^;]*?)\s*=\s*0;", body):
            declaration = " ".join(declaration.split())
            function = re.search(r"(\w+)\(", declaration).group(1)
            if function == "createExecutionContext":
                contexts.append(f"{declaration} override {{ REGKD_CONTEXT; }}")
            elif (
                function not in WRITTEN
                or (function, "blob" in declaration) == ("deserializeCudaEngine", False)
                or (function == "getTensorShape" and name == "VExecutionContext")
            ):
                unused.append(f"{declaration} override {{ std::abort(); }}")
        (folder / f"{name}_unused.inc").write_text("\n".join(unused))
        (folder / f"{name}_contexts.inc").write_text("\n".join(contexts))


@pytest.fixture(scope="module", params=INCLUDES, ids=lambda p: p.parent.name)
def pretended(request, tmp_path_factory):
    """Function that writes an engine folder of some content, loads it in the test program and returns what it
    prints.
    """
    folder = tmp_path_factory.mktemp("tensorrt")
    write_unused(request.param, folder)
    program = folder / "program"
    sources = [
        SOURCE / f"{name}.cpp" for name in ("engine", "folder", "json", "native", "program", "sha256", "tensorrt")
    ]
    (folder / "levels.cpp").write_text(
        '#include "kernels.h"\n'
        "const regkd::runtime::Kernels* regkd::runtime::find_kernels(const char*) { return nullptr; }\n"
    )
    flags = [
        "-std=c++17",
        "-g",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-DREGKD_HAS_TENSORRT",
    ]
    own = ["-I", SOURCE, "-I", SOURCE / "include", "-I", folder, "-isystem", request.param, "-isystem", CUDA]
    checked(
        tool("g++"),
        *flags,
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-overloaded-virtual",
        *own,
        "-Wno-unused-parameter",
        "-Wno-deprecated-declarations",
        *sources,
        folder / "levels.cpp",
        HERE / "fake_tensorrt.cpp",
        "-o",
        program,
    )

    def run(content: str, **environment: str) -> list[str]:
        (folder / "engine.plan").write_text(content)
        manifest = {
            "backend": "tensorrt",
            "engine": "engine.plan",
            "engine_sha256": hashlib.sha256(content.encode()).hexdigest(),
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        # TensorRT's own destructors are pretended too: what the fake allocates, `delete` through the headers frees
        done = subprocess.run([program, folder], capture_output=True, text=True, env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def expected(rows: int, batches: list[int]) -> str:
    """What the fake answers: sums of consecutive numbers by row, and the batch that each row went in."""
    values = [(9 * i + 3, batch) for i, batch in zip(range(rows), batches)]
    return "tensorrt 3->2: " + " ".join(f"{a} {b}" for a, b in values)


def test_requests_are_cut_into_batches_that_the_profile_takes(pretended):
    assert pretended("dynamic") == [
        expected(1, [2]), expected(2, [2] * 2), expected(3, [3] * 3), expected(4, [4] * 4), expected(5, [4] * 4 + [2]),
        expected(9, [4] * 8 + [2]),
    ]  # fmt: skip


def test_a_static_batch_is_filled_up(pretended):
    assert pretended("static") == [expected(n, [3] * n) for n in (1, 2, 3, 4, 5, 9)]


def test_refusals_name_the_cause(pretended):
    assert "7 " in pretended("dynamic", NO_MEMORY="1")[0] and "out of memory" in pretended("dynamic", NO_MEMORY="1")[0]
    assert pretended("dynamic", NO_DRIVER="1")[0].endswith("there is no NVIDIA driver on this machine.")
    assert (
        "there is no usable GPU (no CUDA-capable device is detected; driver for CUDA 13.0)"
        in pretended("dynamic", NO_DEVICE="1")[0]
    )
    assert "does not load the engine: the magic tag does not match. Build it on this device." in pretended("garbage")[0]
    assert "tensor 'x' does not fit: expected one input and one output, each float32 [batch, n]" in pretended("half")[0]
    assert "the engine failed: TensorRT gave no reason" in pretended("slow")[0]


def test_code_of_an_engine_runs_only_when_allowed(pretended):
    assert "does not load the engine" in pretended("code")[0]
    assert pretended("code", ALLOW_CODE="1")[0] == expected(1, [3])
