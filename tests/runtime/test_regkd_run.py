"""regkd-run: what it answers, what it measures, and what it refuses in one line with exit code 2."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # the first of them builds the library


@pytest.fixture(scope="module")
def run(installed):
    def call(*arguments, **options):
        return subprocess.run(
            [installed / "bin" / "regkd-run", *map(str, arguments)], capture_output=True, text=True, **options
        )

    return call


def answers(done):
    assert done.returncode == 0, done.stderr
    header, *lines = done.stdout.splitlines()
    return header, np.array([line.split(",") for line in lines], dtype=np.float32)


@pytest.fixture(scope="module")
def expected(engines):
    pytest.importorskip("regkd_edge._runtime", reason="the extension is not built")
    from regkd_edge.engines import load_runner

    return load_runner(engines / "fp32").infer(np.load(engines / "rows.npy"))


def test_answers_are_those_of_python_bit_by_bit(run, engines, expected):
    header, y = answers(run(engines / "fp32", engines / "rows.csv"))
    assert header == 'life,"wear, mm"'
    np.testing.assert_array_equal(y, expected)
    header, y = answers(run(engines / "fp32" / "engine.rkdn", "-", stdin=(engines / "rows.csv").open()))
    np.testing.assert_array_equal(y, expected)


def test_columns_are_found_by_name_in_any_order_among_others(run, engines, tmp_path, expected):
    x = np.load(engines / "rows.npy")
    lines = [
        '\ufeffrpm, extra ,"flow ""A""",p2,p1,"temp, in"',
        *(f"{r[4]!r},yes,{r[3]!r},{r[2]!r},{r[1]!r},{r[0]!r}" for r in x.astype(float).tolist()),
    ]
    (tmp_path / "other.csv").write_text("\r\n".join(lines), encoding="utf-8")
    np.testing.assert_array_equal(answers(run(engines / "fp32", tmp_path / "other.csv"))[1], expected)
    (tmp_path / "bare.csv").write_text("\n\n".join(",".join(map(repr, r)) for r in x.astype(float).tolist()))
    assert run(engines / "fp32", tmp_path / "bare.csv", "--output", tmp_path / "y.csv").stdout == ""
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "y.csv", delimiter=",", skiprows=1, dtype=np.float32), expected)


def test_timing_states_its_samples_and_keeps_them(run, engines, tmp_path):
    done = run(
        engines / "int8",
        engines / "rows.csv",
        "--time",
        "--samples",
        2000,
        "--warmup",
        10,
        "--batch",
        7,
        "--raw",
        tmp_path / "raw.txt",
        "--json",
    )
    record = json.loads(done.stdout)
    raw = np.loadtxt(tmp_path / "raw.txt")
    assert (record["backend"], record["batch"], record["samples"], len(raw)) == ("native", 7, 2000, 2000)
    for name, q in (("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99)):
        assert record[name] == pytest.approx(np.quantile(raw, q), abs=1e-3)
    assert (record["min_ns"], record["max_ns"]) == (raw.min(), raw.max())
    few = run(engines / "int8", engines / "rows.csv", "--time", "--samples", 999).stdout
    assert "p99       not given: 999 samples are too few" in few and "of the clock and the loop are contained" in few


MISTAKES = {
    "no file": ("1,2,3,4,5", ["BACKEND", "absent.csv"], "'absent.csv' cannot be opened: No such file"),
    "text": ("1,2,3,4,5\n1,2,x,4,5", ["BACKEND", "rows.csv"], "line 2: field 3 is 'x', expected a finite number"),
    "empty field": ("1,2,3,4,5\n1,2,,4,5", ["BACKEND", "rows.csv"], "line 2: field 3 is ''"),
    "nan": ("1,2,nan,4,5", ["BACKEND", "rows.csv"], "line 1: field 3 is 'nan'"),
    "too few fields": ("1,2,3,4,5\n1,2", ["BACKEND", "rows.csv"], "line 2: 2 fields, expected 5"),
    "no rows": ('"temp, in",p1,p2,"flow ""A""",rpm\n\n', ["BACKEND", "rows.csv"], "has no rows"),
    "a column missing": (
        'a,p1,p2,"flow ""A""",rpm\n1,2,3,4,5',
        ["BACKEND", "rows.csv"],
        "no column 'temp, in', which is input 0",
    ),
    "a hexadecimal number": ("1,2,3,4,5\n1,0x10,3,4,5", ["BACKEND", "rows.csv"], "line 2: field 2 is '0x10'"),
    "an open quote": ('1,2,3,4,5\n1,"2,3,4,5', ["BACKEND", "rows.csv"], "line 2: a double quote is not closed"),
    "text after a quote": ('1,2,3,4,5\n1,"2"3,3,4,5', ["BACKEND", "rows.csv"], "text follows a closed one"),
    "two equal columns": (
        '"temp, in",p1,p2,"flow ""A""",rpm,p1\n1,2,3,4,5,6',
        ["BACKEND", "rows.csv"],
        "column 'p1' appears more than once",
    ),
    "a column without a name": (
        '"temp, in",p1,p2,"flow ""A""",rpm,\n1,2,3,4,5,6',
        ["BACKEND", "rows.csv"],
        "column 6 has no name",
    ),
    "no engine": ("1,2,3,4,5", ["nowhere", "rows.csv"], "'nowhere' cannot be opened"),
    "no manifest": ("1,2,3,4,5", [".", "rows.csv"], "manifest.json' cannot be opened"),
    "no native file": ("1,2,3,4,5", ["rows.csv", "rows.csv"], "does not start as a native engine does"),
    "a device": ("1,2,3,4,5", ["/dev/zero", "rows.csv"], "'/dev/zero' is not an ordinary file"),
    "one argument": ("", ["BACKEND"], "an engine and a CSV file are needed"),
    "three arguments": ("", ["BACKEND", "a", "b"], "'b' is one argument too many"),
    "an unknown option": ("", ["BACKEND", "a", "--fast"], "unknown option '--fast'"),
    "a value missing": ("", ["BACKEND", "a", "--batch"], "--batch needs a value"),
    "no number": ("", ["BACKEND", "a", "--batch", "0"], "--batch is '0', expected a whole number of at least 1"),
    "an unknown level": ("1,2,3,4,5", ["BACKEND", "rows.csv", "--level", "mmx"], "no level 'mmx'"),
    "an output that cannot be": (
        "1,2,3,4,5",
        ["BACKEND", "rows.csv", "--output", "no/such/folder.csv"],
        "cannot be written",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(run, engines, tmp_path, case):
    text, arguments, message = MISTAKES[case]
    (tmp_path / "rows.csv").write_text(text)
    done = run(*[engines / "fp32" if a == "BACKEND" else a for a in arguments], cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_changed_engine_is_refused_by_name(run, engines, tmp_path):
    shutil.copytree(engines / "fp32", tmp_path / "e")
    content = bytearray((tmp_path / "e" / "engine.rkdn").read_bytes())
    content[-3] ^= 1
    (tmp_path / "e" / "engine.rkdn").write_bytes(content)
    assert (
        "engine.rkdn' is not the file that was built: its SHA-256 starts with"
        in run(tmp_path / "e", engines / "rows.csv").stderr
    )
    assert "the checksum is" in run(tmp_path / "e" / "engine.rkdn", engines / "rows.csv").stderr


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000])
def test_hash_is_sha256_at_every_padding(run, engines, tmp_path, size):
    """An engine of a back end that this build lacks gets as far as the back end only when its hash is right."""
    content = bytes(range(256))[:size] if size <= 256 else bytes(size)
    (tmp_path / "engine.plan").write_bytes(content)
    manifest = {
        "format": 1,
        "backend": "tensorrt",
        "engine": "engine.plan",
        "engine_sha256": hashlib.sha256(content).hexdigest(),
        "inputs": [{"shape": [1, -2.5e3]}],
        "x": None,
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert "built without TensorRT" in run(tmp_path, engines / "rows.csv").stderr
    (tmp_path / "engine.plan").write_bytes(content + b"x")
    assert "is not the file that was built" in run(tmp_path, engines / "rows.csv").stderr


GOOD = '{"backend": "native", "engine": "engine.rkdn", "engine_sha256": "%s"}'
MANIFESTS = {
    "another folder's file": (
        '{"backend": "native", "engine": "../fp32/engine.rkdn", "engine_sha256": "0"}',
        "expected a file of its own folder",
    ),
    "an escaped slash": (
        '{"backend": "native", "engine": "..\\u002ffp32", "engine_sha256": "0"}',
        "expected a file of its own folder",
    ),
    "no hash": ('{"backend": "native", "engine": "engine.rkdn"}', "lacks engine_sha256"),
    "a hash that is no text": (
        '{"backend": "native", "engine": "engine.rkdn", "engine_sha256": 7}',
        "lacks engine_sha256",
    ),
    "half a file": ('{"backend": "native", "engine": "eng', "is not a JSON object"),
    "a list": ("[1, 2]", "is not a JSON object"),
    "nothing": ("", "is not a JSON object"),
    "text behind it": (GOOD + "{}", "is not a JSON object"),
    "deep nesting": ('{"a": ' + "[" * 100000, "is not a JSON object"),
    "a bad escape": ('{"back\\end": "native"}', "is not a JSON object"),
    "another back end": (GOOD.replace("native", "magic"), "is an engine of 'magic'"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_foreign_manifest_is_refused(run, engines, tmp_path, case):
    text, message = MANIFESTS[case]
    shutil.copy(engines / "fp32" / "engine.rkdn", tmp_path / "engine.rkdn")
    (tmp_path / "manifest.json").write_text(
        text.replace("%s", hashlib.sha256((tmp_path / "engine.rkdn").read_bytes()).hexdigest())
    )
    done = run(tmp_path, engines / "rows.csv")
    assert done.returncode == 2 and message in done.stderr


def test_help_names_every_option(run):
    done = run("--help")
    assert done.returncode == 0
    for option in (
        "--output",
        "--time",
        "--batch",
        "--samples",
        "--warmup",
        "--raw",
        "--json",
        "--level",
        "--trust-engine-code",
    ):
        assert option in done.stdout
