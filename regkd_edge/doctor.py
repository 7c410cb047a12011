"""What this machine has, what it lacks and what does not fit together, with the command that fixes it.

Every claim is checked, none assumed. A command is given only where it can work: a package that needs an NVIDIA GPU is
not recommended without one, a Jetson gets its TensorRT from the system, and pip is called as this Python has it.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import platform
import re
import shlex
import shutil
import sys
import sysconfig
import urllib.parse
import urllib.request
from pathlib import Path

from . import __version__

__all__ = ["findings"]

# Library -> what it is needed for.
_LIBRARIES = {
    "numpy": "compute",
    "pydantic": "check configurations",
    "torch": "train and distil",
    "onnx": "export and quantize",
    "onnxruntime": "run engines on any machine",
    "scikit-learn": "load the bundled data sets",
    "safetensors": "read and write models",
    "threadpoolctl": "keep NumPy's threads out of the way",
    "pyarrow": "read Parquet",
}
# CUDA of PyTorch's own index, newest first: (oldest version of the driver's CUDA, without zeros at its end; name).
_INDEXES = (((13,), "cu130"), ((12, 8), "cu128"), ((12,), "cu126"), ((11, 8), "cu118"))


def findings() -> list[dict[str, str | None]]:
    """Return one ``{"what", "state", "meaning", "fix"}`` per line; works without torch and without the extension.

    ``state`` is a version or ``ready``, ``absent``, ``mismatched``, ``not needed``; ``fix`` is a command for this
    machine, or None where nothing is wrong or no command of this machine can help.
    """
    gpu, no_gpu = _gpu()
    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return [
        _line("regkd-edge", __version__, python),
        _line("NVIDIA GPU", *(("none", no_gpu or "") if gpu is None else (gpu["gpu"], _about(gpu)))),
        *_extension(gpu),
        *_libraries(gpu),
        _tensorrt(gpu),
        _rtx(),
        *_backends(),
    ]


def _line(what: str, state: str, meaning: str, fix: str | None = None) -> dict[str, str | None]:
    return {"what": what, "state": state, "meaning": meaning, "fix": fix}


def _gpu() -> tuple[dict[str, str] | None, str | None]:
    """The first GPU with its compute capability and the CUDA version of its driver, or why there is none."""
    from .engines.gpu import Driver
    from .errors import NotAvailable

    try:
        return Driver().device(0), None
    except NotAvailable as error:
        return None, error.cause


def _about(gpu: dict[str, str]) -> str:
    return f"compute capability {gpu['compute_capability']}; its driver runs CUDA up to {gpu['driver_cuda']}"


def _is_jetson() -> bool:
    from .engines.host import device_model

    return Path("/etc/nv_tegra_release").is_file() or "jetson" in (device_model() or "").lower()


def _extension(gpu: dict[str, str] | None) -> list[dict[str, str | None]]:
    try:
        core = importlib.import_module("regkd_edge._core")
    except ImportError as error:
        meaning = f"PyTorch computes the steps, many times slower: {error}"
        if _source() is None:
            return [_line("extension", "absent", f"{meaning}; install a wheel of regkd-edge for this Python")]
        compiler = any(map(shutil.which, ("c++", "g++", "clang++")))
        apt = "sudo apt-get install g++" if shutil.which("apt-get") else None
        return [_line("extension", "absent", meaning, _rebuild() if compiler else apt)]
    levels = f"built for {', '.join(core.simd_levels_available())}; the widest that this processor supports is used"
    return [_line("extension, CPU half", core.simd_level(), levels), _cuda_half(core, gpu)]


def _cuda_half(core, gpu: dict[str, str] | None) -> dict[str, str | None]:  # noqa: ANN001
    what = "extension, CUDA half"
    nvcc = _nvcc()
    if not core.has_cuda:
        said = "fused steps run on the CPU"
        if gpu is None:
            return _line(what, "not needed", f"there is no NVIDIA GPU: {said}")
        more = "" if nvcc else "; nvcc of the CUDA toolkit is needed to build it"
        return _line(what, "absent", f"{said}, not on the {gpu['gpu']}{more}", _rebuild(nvcc=nvcc) if nvcc else None)
    built = [int(found) for found in re.findall(r"\d+", core.cuda_architectures)]
    named = f"for compute capability {', '.join(f'{one // 10}.{one % 10}' for one in built)}"
    if gpu is None:
        return _line(what, "ready", f"{named}; used when an NVIDIA GPU is present")
    own = int(gpu["compute_capability"].replace(".", ""))
    if min(built, default=0) <= own:
        return _line(what, "ready", named)
    fix = _rebuild(f"-Ccmake.define.REGKD_CUDA_ARCHS={own}", nvcc=nvcc) if nvcc else None
    return _line(what, "mismatched", f"{named}, and the GPU has {gpu['compute_capability']}: the CPU is used", fix)


def _nvcc() -> str | None:
    """CUDA's compiler, if it is on the path or where NVIDIA's packages put it."""
    usual = "/usr/local/cuda/bin/nvcc"
    return shutil.which("nvcc") or (usual if Path(usual).is_file() else None)


def _libraries(gpu: dict[str, str] | None) -> list[dict[str, str | None]]:
    return [
        _torch(purpose, gpu) if name == "torch" else _library(name, purpose) for name, purpose in _LIBRARIES.items()
    ]


def _library(name: str, purpose: str) -> dict[str, str | None]:
    version, wanted = _version(name), _ranges().get(name, name)
    if version is None:
        return _line(name, "absent", f"needed to {purpose}", _pip(wanted))
    if not _within(version, wanted):
        return _line(name, "mismatched", f"version {version} is installed, expected {wanted}", _pip(wanted))
    if name == "onnxruntime" and _version("onnxruntime-gpu") is not None:
        said = "onnxruntime-gpu is installed too, and the two overwrite each other's files"
        return _line(name, "mismatched", said, _pip(wanted, "--force-reinstall", "--no-deps"))
    return _line(name, version, purpose)


def _torch(purpose: str, gpu: dict[str, str] | None) -> dict[str, str | None]:
    """PyTorch, and whether its CUDA and the driver fit each other; it is not imported, which takes seconds."""
    found = _library("torch", purpose)
    if gpu is None or found["state"] in ("absent", "mismatched"):
        return found
    cuda, driver = _cuda_of_torch(), _release(gpu["driver_cuda"])
    if cuda is None:
        said = f"version {found['state']} is built without CUDA, and there is a {gpu['gpu']}: training runs on the CPU"
    elif _release(cuda)[:1] > driver[:1]:
        said = f"it is built for CUDA {cuda}, and the driver runs CUDA up to {gpu['driver_cuda']}: the CPU is used"
    else:
        return {**found, "meaning": f"{purpose}; for CUDA {cuda}"}
    if _is_jetson():
        return _line("torch", "mismatched", f"{said}. NVIDIA's own build for this JetPack is needed")
    index = next((name for oldest, name in _INDEXES if driver >= oldest), None)
    if index is None:
        return _line("torch", "mismatched", f"{said}. A newer driver is needed")
    wanted, url = _ranges().get("torch", "torch"), f"https://download.pytorch.org/whl/{index}"
    return _line("torch", "mismatched", said, _pip(wanted, "--force-reinstall", "--index-url", url))


def _cuda_of_torch() -> str | None:
    """The CUDA version that torch was built for, as its version.py says."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        written = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^cuda\b[^=\n]*= *['\"]([\d.]+)['\"]", written, re.MULTILINE)
    return found[1] if found else None


def _tensorrt(gpu: dict[str, str] | None) -> dict[str, str | None]:
    # Jetson's system packages come without pip metadata: ask the module itself.
    version, wanted = _version("tensorrt"), _ranges().get("tensorrt", "tensorrt")
    if version is None and importlib.util.find_spec("tensorrt") is not None:
        try:
            version = getattr(importlib.import_module("tensorrt"), "__version__", None)
        except ImportError as error:
            return _line("tensorrt", "mismatched", f"it is installed and cannot be imported: {error}")
    if version is not None:
        if _within(version, wanted):
            return _line("tensorrt", version, "build engines for NVIDIA GPUs")
        fix = None if _is_jetson() or gpu is None else _pip(wanted)
        return _line("tensorrt", "mismatched", f"version {version} is installed, expected {wanted}", fix)
    if gpu is None:
        return _line("tensorrt", "not needed", "it builds engines for an NVIDIA GPU, and there is none")
    if not _is_jetson():
        also = _ranges().get("cuda-python")
        return _line(
            "tensorrt", "absent", "needed to build engines for the GPU", _pip(wanted, *([also] if also else []))
        )
    if sys.prefix != sys.base_prefix:
        fix = f"python3 -m venv --system-site-packages {shlex.quote(sys.prefix)}"
        return _line("tensorrt", "absent", "JetPack has it; this environment does not see the system's packages", fix)
    fix = "sudo apt-get install python3-libnvinfer" if shutil.which("apt-get") else None
    return _line("tensorrt", "absent", "needed to build engines for the GPU; it is a part of JetPack", fix)


def _rtx() -> dict[str, str | None]:
    version, wanted = _version("tensorrt-rtx"), _ranges().get("tensorrt-rtx", "tensorrt-rtx")
    if version is not None:
        fits = _within(version, wanted)
        said = "compile engines for NVIDIA GPUs without one" if fits else f"version {version}, expected {wanted}"
        return _line("tensorrt-rtx", version if fits else "mismatched", said, None if fits else _pip(wanted))
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return _line("tensorrt-rtx", "not needed", "NVIDIA has no build of it for this kind of machine")
    return _line("tensorrt-rtx", "absent", "optional: it compiles engines for NVIDIA GPUs without one", _pip(wanted))


def _backends() -> list[dict[str, str | None]]:
    from .engines import available

    return [
        _line(f"back end {name}", "ready" if reason is None else "unavailable", reason or "build and bench can use it")
        for name, reason in available().items()
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _ranges() -> dict[str, str]:
    """Package -> requirement, as this package's metadata states it: ``torch>=2.4``."""
    try:
        stated = importlib.metadata.requires("regkd-edge") or []
    except importlib.metadata.PackageNotFoundError:  # a source tree that was not installed
        return {}
    plain = [line.partition(";")[0].strip() for line in stated]
    named = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]: line for line in reversed(plain) if "[" not in line}
    return {name: line.replace(" ", "") for name, line in named.items()}


def _within(version: str, wanted: str) -> bool:
    """Whether a version lies in a range of ``>=``, ``<`` and ``==``, by the numbers of its release."""
    given = _release(version)
    for sign, limit in re.findall(r"(>=|<|==)\s*([\d.]+)", wanted):
        met = {">=": given >= _release(limit), "<": given < _release(limit), "==": given == _release(limit)}
        if not met[sign]:
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version without zeros at its end: "2.13.0+cpu" -> (2, 13)."""
    numbers = [int(one) for one in (re.match(r"[\d.]*", version) or [""])[0].split(".") if one]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _on_path(module: str) -> bool:
    """Whether Python's path has ``module``.

    Finders of other packages are not questioned: after a question for pip that of setuptools hides its distutils, and
    torch.compile, which imports setuptools, fails in this process."""
    return importlib.machinery.PathFinder.find_spec(module) is not None


def _pip(*words: str) -> str | None:
    """The command that installs packages for this Python, or None where it has no way to install any."""
    python = shlex.quote(sys.executable)
    managed = sys.prefix == sys.base_prefix and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").is_file()
    given = shlex.join([*(["--break-system-packages"] if managed else []), *words])
    if _on_path("pip"):
        return f"{python} -m pip install {given}"
    if shutil.which("uv"):
        return f"uv pip install --python {python} {given}"
    if _on_path("ensurepip") and not managed:
        return f"{python} -m ensurepip && {python} -m pip install {given}"
    return None


def _source() -> Path | None:
    """The folder that this package was installed from, if it is still there."""
    try:
        written = importlib.metadata.distribution("regkd-edge").read_text("direct_url.json")
        url = urllib.parse.urlsplit(json.loads(written or "{}").get("url", ""))
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    folder = Path(urllib.request.url2pathname(url.path))
    return folder if url.scheme == "file" and (folder / "pyproject.toml").is_file() else None


def _rebuild(*options: str, nvcc: str | None = None) -> str | None:
    """The command that builds the extension again from where this package was installed."""
    source = _source()
    command = None if source is None else _pip("--force-reinstall", "--no-deps", *options, str(source))
    return command if command is None or nvcc is None else f"CUDACXX={shlex.quote(nvcc)} {command}"
