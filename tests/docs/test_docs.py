"""The documents: their code runs, their commands exist, their links lead somewhere, and the site builds."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The words of every call of the program on a page."""
    lines = [line for block in (*blocks(page, "console"), *blocks(page, "text")) for line in block.splitlines()]
    calls = [part for line in lines if line.startswith("$ ") for part in line[2:].split("&&")]
    return [words for words in (shlex.split(call, comments=True) for call in calls) if words[:1] == ["regkd-edge"]]


def run(code: list[str], folder: Path) -> str:
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    variables = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *code], cwd=folder, env=variables, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


RUNNABLE = [page for page in PAGES if page.parent != ROOT and blocks(page, "python")]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_the_python_blocks_of_a_page_are_one_program_that_runs(page, tmp_path):
    pytest.importorskip("torch")
    program = tmp_path / "page.py"
    program.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    run([str(program)], tmp_path)


SETTING = """
import numpy as np
import torch

rng = np.random.default_rng(0)
x, x_test = rng.uniform(-1, 1, (80, 4)), rng.uniform(-1, 1, (40, 4))
y, y_test = x[:, 0] + x[:, 1] ** 2, x_test[:, 0] + x_test[:, 1] ** 2
module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).eval()
"""


def test_the_ten_lines_of_the_readme_run(tmp_path):
    pytest.importorskip("torch")
    (lines,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    short = lines.replace('student="mlp:32,32:relu"', 'student="mlp:32,32:relu", recipe="kang2024", steps=200')
    assert short != lines
    (tmp_path / "page.py").write_text(SETTING + short, encoding="utf-8")
    run(["page.py"], tmp_path)
    assert (tmp_path / "student.onnx").exists()


PROGRAM = """
import shlex, sys
from regkd_edge.cli.app import run_app
for line in sys.stdin if len(sys.argv) < 2 else sys.argv[1:]:
    sys.argv = shlex.split(line)
    try:
        run_app()
    except SystemExit as end:
        if end.code:
            raise
"""


def test_the_commands_of_the_tutorial_run_in_order(tmp_path):
    pytest.importorskip("torch")
    page = ROOT / "docs" / "tutorials" / "csv-to-jetson.md"
    calls = [shlex.join(words) for words in commands(page) if words[1] != "deploy"]
    run(["-c", PROGRAM, *calls], tmp_path)
    assert (tmp_path / "runs" / "first" / "report.html").exists()
    assert list((tmp_path / "runs").glob("*.jetson-orin.tar.gz")) or list(tmp_path.glob("*.jetson-orin.tar.gz"))


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda page: page.stem)
def test_every_command_and_option_exists(page):
    import typer
    from typer.main import get_command

    from regkd_edge.cli.app import app

    root = get_command(app)
    context = typer.Context(root, info_name="regkd-edge")
    for words in commands(page):
        command = root.get_command(context, words[1])
        assert command is not None, words
        known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        unknown = [word for word in words[2:] if word.startswith("--") and word not in known]
        assert not unknown, (words, unknown)


def test_every_option_in_the_prose_is_one_of_some_command():
    from typer.main import get_command

    from regkd_edge.cli.app import app

    known = {
        flag
        for command in get_command(app).commands.values()
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`([^`]+)`", prose):
            if code.startswith("--"):
                assert code.split()[0] in known | {"--w-mean", "--help"}, f"{page.name}: {code}"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


GENERATED = {ROOT / "docs" / "reference" / name for name in ("cli.md", "configuration.md")}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file(page):
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists() or to in GENERATED, f"{page.name}: {target}"
        assert not anchor or anchor in anchors(to), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    there = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert listed == there | {f"reference/{page.name}" for page in GENERATED}


def test_every_field_of_a_manifest_is_documented():
    import dataclasses

    from regkd_edge.engines import Manifest

    text = (ROOT / "docs" / "formats.md").read_text()
    assert not [field.name for field in dataclasses.fields(Manifest) if f"`{field.name}`" not in text]


def test_every_recipe_is_documented():
    from regkd_edge.recipes import RECIPES

    text = "".join(page.read_text() for page in PAGES)
    assert not [name for name in RECIPES if name not in text]


def hooks():
    """The module that MkDocs calls."""
    location = importlib.util.spec_from_file_location("regkd_docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


def test_the_reference_of_the_configuration_has_schemas_that_a_run_and_an_engine_meet():
    from regkd_edge.config import RunConfig

    schemas = [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", hooks().configuration_reference(), re.DOTALL)
    ]
    run, manifest, bundle = (set(schema["properties"]) for schema in schemas)
    assert run == set(RunConfig.model_fields)
    assert {"engine_sha256", "feature_names"} <= manifest and {"graphs", "files"} <= bundle


def test_the_reference_of_the_command_line_has_every_command_and_option():
    text = hooks().command_line_reference()
    for name in (
        "init",
        "train-teacher",
        "distill",
        "quantize",
        "build",
        "bench",
        "report",
        "bundle",
        "deploy",
        "doctor",
    ):
        assert f"\n## {name}\n" in text
    assert "`--recipe`" in text and "`--max-increase`" in text and "[bold]" not in text


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'regkd-edge[docs]'")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: pip install 'regkd-edge[docs]'")
    run(
        ["-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site"), "-f", str(ROOT / "mkdocs.yml")],
        tmp_path,
    )
    page = (tmp_path / "site" / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    assert "train_teacher" in page and "DistilledRegressor" in page
