"""Nothing in a run folder or a YAML file counts as consent to run code:
it is given on the command line, per content."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from regkd_edge.cli.app import app  # noqa: E402
from regkd_edge.config import RunConfig  # noqa: E402
from regkd_edge.config.template import commented_yaml  # noqa: E402
from regkd_edge.io import consent  # noqa: E402

FACTORY = """
from pathlib import Path
Path("{mark}").touch()

class Sum:
    def predict(self, x):
        return x.sum(1)

def make():
    return Sum()
"""


class Evil:
    """A pickle that leaves a mark when it is loaded, and is a regressor then."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return _loaded, (self.mark,)

    def predict(self, x):
        return np.asarray(x).sum(1)


def _loaded(mark):
    open(mark, "w").close()
    return Evil(mark)


def _state(folder, monkeypatch):
    """Another user, or another machine: nothing was allowed yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setattr(consent, "_given", set())


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _state(tmp_path / "state", monkeypatch)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    np.savetxt("t.csv", np.c_[x, x.sum(1)], delimiter=",", header="a,b,y", comments="")
    return tmp_path


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 2, str(result.exception)  # UserError, which main() prints
    return result.exit_code, result.output


QUICK = ("--steps", "20", "--student", "mlp:3:tanh", "--recipe", "mimic", "--no-baseline", "--compute", "torch",
         "--accept-teacher")  # fmt: skip
DATA = ("--data", "t.csv", "--target", "y")


def test_a_pickle_in_a_received_run_is_not_loaded(place, monkeypatch):
    mark = place / "ran"
    (place / "m.pkl").write_bytes(pickle.dumps(Evil(str(mark))))
    code, said = call("train-teacher", "run", *DATA, "--teacher-from", "m.pkl")
    assert code == 2 and "--trust" in said and not mark.exists()
    code, said = call("train-teacher", "run", *DATA, "--teacher-from", "m.pkl", "--trust")
    assert code == 0 and mark.exists(), said
    assert "trust" not in (place / "run" / "run.yaml").read_text()

    mark.unlink()
    code, said = call("distill", "run", *QUICK)  # remembered for this very file
    assert code == 0 and mark.exists(), said

    mark.unlink()
    _state(place / "another", monkeypatch)
    shutil.copytree("run", "received")
    text = (place / "received" / "run.yaml").read_text()
    (place / "received" / "run.yaml").write_text(text.replace("teacher:\n", "teacher:\n  trust: true\n", 1))
    for command in (("distill", "received", *QUICK, "--force"), ("predict", "received", "t.csv", "--by", "teacher"),
                    ("quantize", "received", "--precision", "int8", "--qat"),
                    ("bundle", "received", "--platform", "desktop", "--evaluate-on", "synthetic"),
                    ("distill", "other", *QUICK, "--from-run", "received", *DATA)):  # fmt: skip
        code, said = call(*command)
        assert not mark.exists(), command
        assert code == 2 and "--trust" in said, (command, said)
    code, said = call("predict", "received", "t.csv", "--by", "teacher", "--trust", "--out", "o.csv")
    assert code == 0 and mark.exists(), said


def test_code_that_a_yaml_file_names_is_not_imported(place, monkeypatch):
    mark = place / "ran"
    (place / "theirs.py").write_text(FACTORY.format(mark=mark))
    text = (
        "data: {{source: t.csv, target: y}}\nteacher: {{{} trust: true}}\n"
        "distill: {{student: 'mlp:3:tanh', steps: 20, accept_teacher: true}}\n"
    )
    for named in ("factory: 'theirs:make',", "factory: 'theirs.py:make',", "teacher_from: 'theirs:make',"):
        (place / "job.yaml").write_text(text.format(named))
        code, said = call("run", "job.yaml", "whole")
        assert code == 2 and "'theirs" in said.replace(str(place) + "/", "") and "--trust" in said, said
        assert not mark.exists(), named
    assert call("run", "job.yaml", "whole", "--trust")[0] == 0
    assert mark.exists()


def test_a_student_that_a_yaml_file_names_is_not_imported(place, monkeypatch):
    mark = place / "ran"
    (place / "net.py").write_text(
        f"from math import prod\nfrom pathlib import Path\nfrom torch import nn\nPath('{mark}').touch()\n"
        "def make(shape, outputs):\n    return nn.Linear(prod(shape), outputs)\n"
    )
    (place / "job.yaml").write_text(
        "data: {data: t.csv, target: y}\nteacher: {teacher: 'mlp:4:tanh', epochs: 2}\n"
        "distill: {student: 'factory:net.py:make', recipe: mimic, steps: 20, baseline: false, accept_teacher: true, "
        "compute: torch}\n"
    )
    code, said = call("run", "job.yaml", "whole")
    assert code == 2 and "net.py" in said and "--trust" in said and not mark.exists(), said
    code, said = call("train-teacher", "run", *DATA, "--teacher", "mlp:4:tanh", "--epochs", "2")
    assert code == 0, said
    own = (
        "--student",
        "factory:net.py:make",
        "--recipe",
        "mimic",
        "--steps",
        "20",
        "--no-baseline",
        "--compute",
        "torch",
    )
    code, said = call("distill", "run", *own, "--accept-teacher")
    assert code == 0 and mark.exists(), said

    mark.unlink()
    _state(place / "another", monkeypatch)
    shutil.copytree("run", "received")
    for command in (("quantize", "received", "--force"), ("distill", "received", "--force"),
                    ("predict", "received", "t.csv", "--by", "student")):  # fmt: skip
        code, said = call(*command)
        assert code == 2 and "net.py" in said and not mark.exists(), (command, said)
    code, said = call("predict", "received", "t.csv", "--by", "student", "--trust", "--out", "s.csv")
    assert code == 0, said


def test_a_run_does_not_train_a_teacher_that_is_code(place):
    mark = place / "ran"
    (place / "evil.py").write_text(f"from pathlib import Path\nPath('{mark}').touch()\n")
    (place / "job.yaml").write_text("data: {data: t.csv, target: y}\nteacher: {teacher: 'factory:evil.py:make'}\n")
    code, said = call("run", "job.yaml", "whole")
    assert code == 2 and "--factory" in said and not mark.exists(), said


def test_a_named_factory_is_remembered_until_it_changes(place, monkeypatch):
    import sys

    mark = place / "ran"
    (place / "mine.py").write_text(FACTORY.format(mark=mark))
    code, said = call("train-teacher", "run", *DATA, "--factory", "mine.py:make")
    assert code == 0 and mark.exists(), said
    sys.modules.pop("mine")
    code, said = call("predict", "run", "t.csv", "--by", "teacher", "--out", "o.csv")
    assert code == 0, said
    sys.modules.pop("mine", None)
    mark.unlink()
    (place / "mine.py").write_text(FACTORY.format(mark=mark) + "# changed\n")
    code, said = call("predict", "run", "t.csv", "--by", "teacher", "--out", "o.csv")
    assert code == 2 and "as it is now" in said and not mark.exists(), said


def test_a_scaler_that_a_yaml_file_names_is_not_imported(place):
    mark = place / "ran"
    (place / "scale.py").write_text(f"from pathlib import Path\nPath('{mark}').touch()\nX_MEAN = [0, 0]\n")
    (place / "job.yaml").write_text(
        "data: {source: t.csv, target: y}\nteacher: {teacher_from: m.onnx, teacher_scaler: scale.py}\n"
    )
    from graphs import write_mlp

    write_mlp(place / "m.onnx", widths=(2, 4, 1))
    code, said = call("run", "job.yaml", "whole")
    assert code == 2 and "scale.py" in said and "--trust" in said and not mark.exists(), said


def test_no_file_holds_consent(place):
    config = RunConfig().updated({"teacher.trust": True, "bench.run_code_of_plan": True})
    assert "trust" not in config.to_yaml() and "run_code_of_plan" not in config.to_yaml()
    assert "trust:" not in commented_yaml() and "run_code_of_plan" not in commented_yaml()
    (place / "r.yaml").write_text("teacher: {trust: true}\nbench: {run_code_of_plan: true}\n")
    read = RunConfig.from_yaml(place / "r.yaml")
    assert not read.teacher.trust and not read.bench.run_code_of_plan


def test_the_list_that_cannot_be_written_is_no_obstacle(place, monkeypatch):
    (place / "file").touch()
    _state(place / "file", monkeypatch)
    consent.allow("0" * 64, "x")
    assert consent.allowed("0" * 64) and not consent.allowed("1" * 64)


def test_a_key_of_code_holds_its_name_place_and_content(place):
    (place / "a.py").write_text("def f(): ...\n")
    (place / "p").mkdir()
    (place / "p" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (place / "p" / "q.py").write_text("")
    keys = [consent.code_key("a.py", "f"), consent.code_key("a.py", "g"), consent.code_key("a", "f"),
            consent.code_key("p.q", "f")]  # fmt: skip
    (place / "p" / "__init__.py").write_text("# another\n")
    keys.append(consent.code_key("p.q", "f"))
    assert len(set(keys)) == len(keys)
