"""What an editor and a commit check, checked here too: lint, format, types of the public API, one version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CXX = sorted(
    p for room in ("csrc", "tests", "tools") for p in (ROOT / room).rglob("*") if p.suffix in (".h", ".cpp", ".cu")
)


def run(tool: str, *arguments: str | Path) -> None:
    """Run a tool of the environment on the project; its report is the failure."""
    program = shutil.which(
        tool, path=str(Path(sys.executable).parent)
    )  # not the system's: another version formats otherwise
    if program is None:
        pytest.skip(f"{tool} is not installed: pip install 'regkd-edge[test]'")
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_lint():
    run("ruff", "check", ".")


def test_format():
    run("ruff", "format", "--check", ".")


@pytest.mark.slow
def test_types_of_the_public_api():
    pytest.importorskip("torch")  # its types are followed
    run("mypy")


def test_format_of_cpp():
    run("clang-format", "--dry-run", "--Werror", *CXX)


def test_columns_of_cpp():
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in CXX
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 120
    ]
    assert long == []


def pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_mypy_is_strict_on_every_module_of_the_public_api():
    import regkd_edge

    strict = set(
        re.findall(r'"(regkd_edge\.[\w.]+)",', pyproject().split("[tool.mypy]")[1].split("[tool.codespell]")[0])
    )
    homes = {f"regkd_edge.{regkd_edge._PUBLIC[name]}" for name in regkd_edge._PUBLIC if name.islower()}
    assert homes - {"regkd_edge.data", "regkd_edge.fused"} <= strict
    for module in strict:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), module


def test_the_version_is_written_once():
    text = pyproject()
    assert 'dynamic = ["version"]' in text and not re.search(r'(?m)^version = "', text)
    pattern = r"(?i)^(__version__|VERSION)(?: ?\: ?str)? *= *(['\"])v?(?P<value>.+?)\2"  # that of scikit-build-core
    found = re.findall(pattern, (ROOT / "regkd_edge" / "__init__.py").read_text(), re.MULTILINE)
    assert len(found) == 1
    import regkd_edge

    assert found[0][2] == regkd_edge.__version__
    assert not re.search(
        r"project\(regkd_runtime VERSION \d", (ROOT / "csrc" / "runtime" / "CMakeLists.txt").read_text()
    )


@pytest.mark.parametrize(
    "name", [".pre-commit-config.yaml", ".github/workflows/tests.yml", ".github/workflows/wheels.yml"]
)
def test_a_file_of_the_services_is_yaml(name):
    import yaml

    assert isinstance(yaml.safe_load((ROOT / name).read_text()), dict)


def test_every_supported_python_is_tested_and_built_on_both_architectures():
    import yaml

    versions = [f"3.{minor}" for minor in range(10, 15)]
    tests = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["tests"]["strategy"]["matrix"]
    assert tests["python"] == versions
    assert any("arm" in runner for runner in tests["runner"]) and any("arm" not in runner for runner in tests["runner"])
    built = re.search(r'build = "(.*)"', pyproject())[1].split()
    assert built == [f"cp{version.replace('.', '')}-*" for version in versions]
    assert 'archs = ["x86_64", "aarch64"]' in pyproject()


def test_the_commit_hooks_are_the_tools_of_these_tests():
    import yaml

    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {hook["entry"].split()[0] for hook in hooks}
    assert tools == {"ruff", "mypy", "clang-format", "codespell"}
    for tool in tools:
        assert f'"{tool}>=' in pyproject()
