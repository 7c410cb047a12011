"""``check``, ``bundle``, ``deploy`` and a build ahead of time, as they are typed."""

from __future__ import annotations

import json
import shutil
import sys

import pytest


@pytest.fixture
def cli(monkeypatch, capfd):
    def call(*arguments):
        from regkd_edge.cli import main

        monkeypatch.setattr("sys.argv", ["regkd-edge", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfd.readouterr()
        return int(stop.value.code or 0), out, err

    return call


@pytest.fixture
def no_rtx(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)


def test_check_says_that_the_graphs_fit_and_what_was_not_asked(cli, run, no_rtx):
    code, out, err = cli("check", run.path, "--platform", "jetson-orin")
    assert code == 0, err
    assert (
        out.count("nothing would be refused") == 3 and "TensorRT 10.3 on Jetson Orin" in out and "was not used" in out
    )
    assert f"next: regkd-edge bundle {run.path} --platform jetson-orin" in out


def test_check_takes_one_file_and_exits_with_1_when_it_would_be_refused(cli, run, tmp_path, no_rtx):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(run.file("onnx", "student.fp32.onnx"))
    model.opset_import[0].version = 21
    onnx.save(model, tmp_path / "new.onnx")
    code, out, _ = cli("check", tmp_path / "new.onnx", "--platform", "jetson-orin", "--json")
    assert code == 1
    [row] = json.loads(out)["table"]
    assert row["level"] == "error" and "opset 21" in row["what"] and row["remedy"]
    assert cli("check", tmp_path / "new.onnx", "--platform", "jetson-orin", "--tensorrt", "10.16")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["check", "absent", "--platform", "desktop"], "no run folder"),
        (["check", "RUN", "--platform", "toaster"], "unknown platform 'toaster'"),
        (["check", "RUN"], "--platform"),
        (["bundle", "absent", "--platform", "desktop"], "no run folder"),
        (["bundle", "RUN", "--platform", "desktop", "--evaluate-on", "all"], "expected one of held-out, synthetic"),
        (["deploy", "absent.tar.gz"], "no bundle 'absent.tar.gz'"),
    ],
)
def test_mistakes_are_one_line(cli, run, tmp_path, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(*[run.path if part == "RUN" else part for part in arguments])
    assert code == 2 and word in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_deployed_folder_is_deployed_again_and_no_stage_runs_in_it(cli, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("bundle", run.path, "--platform", "desktop")[0] == 0
    [archive] = (
        run.path.parent.glob("*.desktop.tar.gz") if not list(tmp_path.glob("*.tar.gz")) else tmp_path.glob("*.tar.gz")
    )
    quick = ("--backend", "onnxruntime", "--samples", 10, "--batches", 1)
    code, _, err = cli("deploy", archive, "dep", *quick)
    assert code == 0, err
    for command in ("build", "bench", "report", "quantize"):
        code, _, err = cli(command, "dep")
        assert code == 2 and "is an unpacked bundle" in err and "regkd-edge deploy dep" in err
    code, out, err = cli("deploy", "dep", *quick, "--json")
    assert code == 0, err
    assert {"onnxruntime.fp32"} <= {row["name"] for row in json.loads(out)["table"]}
    (tmp_path / "dep" / "expected.npz").write_bytes(b"other")
    code, _, err = cli("deploy", "dep", *quick)
    assert code == 2 and "'expected.npz'" in err
    (tmp_path / "empty").mkdir()
    assert "is a folder without bundle.json" in cli("deploy", "empty")[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--samples", 5), "--samples"),
        (("--batches", "x"), "--batches"),
        (("--backend", "foo"), "back end 'foo'"),
    ],
)
def test_deploy_looks_at_its_flags_before_it_unpacks(cli, run, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    assert cli("bundle", run.path, "--platform", "desktop", "--out", tmp_path / "b.tar.gz")[0] == 0
    code, _, err = cli("deploy", "b.tar.gz", "dep", *flags)
    assert code == 2 and message in err and not (tmp_path / "dep").exists()


def test_what_is_no_archive_is_called_that(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    code, _, err = cli("deploy", "odd.csv")
    assert code == 2 and "bundle 'odd.csv' is damaged" in err and "not a gzip" in err.lower()
    assert "no bundle 'absent.csv'" in cli("deploy", "absent.csv")[2]


def test_bundle_says_where_it_is_what_is_in_it_and_what_to_type_next(cli, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("bundle", run.path, "--platform", "jetson-thor", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert [row["graph"] for row in said["table"]] == ["fp32", "fp16", "int8"]
    assert said["notes"][0].startswith("demo.jetson-thor.tar.gz: ") and "SHA-256" in said["notes"][0]
    assert said["next"].startswith("regkd-edge deploy demo.jetson-thor.tar.gz")
    assert (tmp_path / "demo.jetson-thor.tar.gz").is_file()


def test_a_plan_for_gpus_that_are_not_here_is_built_and_not_run(cli, run, tmp_path, rtx, monkeypatch):
    from regkd_edge.engines import gpu

    monkeypatch.setattr(gpu, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    code, out, err = cli("build", folder, "--backend", "tensorrt-rtx,native")
    assert code == 0 and "tensorrt-rtx.int8" in out, err
    code, out, err = cli("bench", folder, "--samples", "30", "--warmup", "1")
    assert code == 0, err
    assert "not run here: tensorrt-rtx.fp32: there is no NVIDIA driver" in out and "native.int8" in out
    assert cli("report", folder)[0] == 0
    shutil.rmtree(folder / "engines")  # else the engines of the other back ends are kept
    cli("build", folder, "--backend", "tensorrt-rtx")
    code, out, err = cli("bench", folder)
    assert code == 2 and "no engine" in err and "can be run here" in err


def test_keys_of_json_are_those_that_the_documents_list(run, tmp_path, capsys):
    import json

    from documented import keys

    from regkd_edge.cli.app import app
    from regkd_edge.cli.tables import graphs

    def alike(rows, command):
        assert {tuple(row) for row in rows} == {tuple(keys(command))}
        if rows and "targets" in rows[0]:
            assert {tuple(t) for row in rows for t in row["targets"]} == {tuple(keys(f"{command} targets"))}

    alike(graphs(run.record("quantize")["summary"]["graphs"])["rows"], "quantize")
    for command, extra in (("status", []), ("bundle", ["--platform", "desktop", "--out", str(tmp_path / "b.tar.gz")])):
        assert not app([command, str(run.path), *extra, "--json"], standalone_mode=False)
        alike(json.loads(capsys.readouterr().out)["table"], command)
    assert not app(["bundle", str(run.path), "--platform", "desktop", "--out", str(tmp_path / "b.tar.gz")],
                   standalone_mode=False)  # fmt: skip
    shown = capsys.readouterr().out
    assert {"graph", "target", "expected", "allowed"} <= set(shown[: shown.index("─")].split())
    assert all(any(line.split()[at:][:1] == [name] for line in shown.splitlines()) for name, at in (("u", 1), ("v", 0)))
