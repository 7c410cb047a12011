"""Programs of torch that would do more than compute are refused before torch reads them, unless they are trusted."""

from __future__ import annotations

import json
import re
import zipfile

import pytest
import torch

from regkd_edge.errors import ModelError
from regkd_edge.models.teachers import load_teacher
from regkd_edge.models.teachers.program_code import UnsafeProgram, safe_program

NET = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).eval()


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "sound.pt2"
    rows = {0: torch.export.Dim("rows")}
    torch.export.save(torch.export.export(NET, (torch.zeros(3, 2),), dynamic_shapes=(rows,)), path)
    return path


def changed(path, change, more=()):
    """The archive with its program's text changed, and more members."""
    out = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        top = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content.decode()).encode() if name.endswith("models/model.json") else content)
        for name, content in more:
            new.writestr(f"{top}/{name}", content)
    return out


def with_expression(text):
    return lambda program: re.sub(r'("expr_str": )"[^"]*"', lambda m: m.group(1) + json.dumps(text), program)


def test_a_program_as_torch_writes_it_is_read(exported):
    x = torch.randn(5, 2)
    assert torch.allclose(torch.as_tensor(load_teacher(exported).predict(x.numpy())).float(), NET(x), atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        'exec(\'open("victim", "w")\')',
        "__import__('os').system('touch victim')",
        "().__class__.__base__.__subclasses__()",
        "(lambda: open('victim', 'w'))()",
        "[open('victim', 'w') for _ in '1']",
        "Symbol('s') if open('victim', 'w') else 1",
        "9**9**9**9",
        "Integer(" + "9" * 60 + ")",
        "Symbol('a b')",
        'f\'{open("victim", "w")}\'',
    ],
)
def test_text_that_is_evaluated_runs_nothing(text, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"holds the expression.*--trust"):
        load_teacher(changed(exported, with_expression(text)))
    assert not (tmp_path / "victim").exists()


def test_such_text_would_have_run(exported, tmp_path, monkeypatch):
    """What the check is for: torch alone runs it."""
    monkeypatch.chdir(tmp_path)
    evil = changed(exported, with_expression('exec(\'open("victim", "w")\')'))
    with pytest.raises(Exception):  # noqa: B017 - whatever torch makes of the rest
        torch.export.load(evil)
    assert (tmp_path / "victim").exists()


@pytest.mark.parametrize(
    "target", ["torch.os.system", "torch.ops.aten.from_file.default", "torch.ops.aten.save.default", "builtins.exec",
               "torch.ops.debugprims.load_tensor.default", "torch.hub.load", "os.system"]
)  # fmt: skip
def test_operators_that_are_no_mathematics_are_refused(target, exported):
    evil = changed(exported, lambda text: text.replace("torch.ops.aten.tanh.default", target))
    with pytest.raises(ModelError, match=r"holds the operator.*--trust"):
        load_teacher(evil)


@pytest.mark.parametrize("name", ['p=exec("1")', "a\nexec('1')", "x);exec(1", "lambda: 1"])
def test_names_that_would_be_source_are_refused(name, exported):
    evil = changed(exported, lambda text: text.replace('"name": "input"', f'"name": {json.dumps(name)}'))
    with pytest.raises(ModelError, match=r"holds the text.*--trust"):
        load_teacher(evil)


@pytest.mark.parametrize("member", ["data/aotinductor/model/m.so", "models/m.so", "data/weights/../../x.so"])
def test_compiled_libraries_are_refused(member, exported):
    with pytest.raises(ModelError, match=r"holds the file.*--trust"):
        load_teacher(changed(exported, lambda text: text, [(member, b"\x7fELF")]))


def test_guards_are_left_out(exported):
    evil = changed(exported, lambda text: text.replace('"guards_code": []', '"guards_code": ["exec(1)"]'))
    copy = zipfile.ZipFile(safe_program(evil))
    program = json.loads(copy.read(next(name for name in copy.namelist() if name.endswith("model.json"))))
    assert "exec" not in json.dumps(program)


def test_a_member_that_stands_twice_is_refused(exported):
    with zipfile.ZipFile(exported, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"other")
    with pytest.raises(ModelError, match="a file twice"):
        load_teacher(exported)


class ReadsFiles(torch.nn.Module):
    def forward(self, x):
        return x[:, :1] + torch.from_file("victim", True, 100)[:1].mean() * 0


class WritesFiles(torch.nn.Module):
    def forward(self, x):
        torch.save(x, "victim")
        return x[:, :1]


@pytest.mark.parametrize("kind", [ReadsFiles, WritesFiles])
def test_torchscript_that_touches_files_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.script(kind()).save("m.pt")
    with pytest.raises(ModelError, match=r"read and write files.*--trust"):
        load_teacher("m.pt")
    assert not (tmp_path / "victim").exists()
    load_teacher("m.pt", trust=True).predict([[1.0, 2.0]])
    assert (tmp_path / "victim").exists()


def test_torchscript_by_another_name_is_refused(tmp_path):
    """The name may stand in a string, and the module behind a variable."""
    torch.jit.script(torch.nn.Linear(2, 1)).save(tmp_path / "sound.pt")
    for line in (b"t = torch\n    t.save(1)", b'getattr(torch, "s\\x61ve")', b"__torch__.torch.classes.dist.X()"):
        with zipfile.ZipFile(tmp_path / "sound.pt") as old, zipfile.ZipFile(tmp_path / "evil.pt", "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name) + (line if name.endswith(".py") else b""))
        with pytest.raises(ModelError, match=r"holds '.*--trust"):
            load_teacher(tmp_path / "evil.pt")


def test_expressions_of_shapes_pass():
    from regkd_edge.models.teachers.program_code import _check_expression

    for text in ("Symbol('s31', positive=True, integer=True)", "2*s0 + 1", "Max(1, Mod(s1, 4))", "Ne(s0, 1)"):
        _check_expression(text)
    with pytest.raises(UnsafeProgram):
        _check_expression("x.y")
