"""One table of CSV files for both readers: what Python refuses, regkd-run refuses; what both read are the same rows."""

from __future__ import annotations

import random
import subprocess

import numpy as np
import pytest
from graphs import write_mlp

from regkd_edge.data.named import read_inputs
from regkd_edge.errors import UserError

pytestmark = pytest.mark.slow  # the first of them builds the library

#: Name -> text, and what Python makes of it: rows of a, b, c, or None where it refuses.
CASES = {
    "plain": ("a,b,c\n1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
    "another order": ("c,a,b\n3,1,2\n", [[1, 2, 3]]),
    "more columns": ("a,x,b,c\n1,hello,2,3\n", [[1, 2, 3]]),
    "a missing column": ("a,b\n1,2\n", None),
    "equal names": ("a,a,b,c\n1,1,2,3\n", None),
    "an empty cell": ("a,b,c\n1,,3\n", None),
    "nan": ("a,b,c\n1,nan,3\n", None),
    "NA": ("a,b,c\n1,NA,3\n", None),
    "inf": ("a,b,c\n1,inf,3\n", None),
    "infinity": ("a,b,c\n1,Infinity,3\n", None),
    "hexadecimal": ("a,b,c\n1,0x10,3\n", None),
    "underscores": ("a,b,c\n1,1_000,3\n", None),
    "thousands": ('a,b,c\n1,"37,900",3\n', None),
    "thousands, twice": ('a,b,c\n1,"1,234,567",3\n', None),
    "points as thousands": ("a,b,c\n1,37.900,3\n1,1.234.567,3\n", None),
    "a percentage": ("a,b,c\n1,5%,3\n", None),
    "a unit": ("a,b,c\n1,5 mm,3\n", None),
    "in quotes": ('a,b,c\n1,"2",3\n', [[1, 2, 3]]),
    "an open quote": ('a,b,c\n1,"2,3\n', None),
    "text after a quote": ('a,b,c\n1,"2"5,3\n', None),
    "too few cells": ("a,b,c\n1,2\n", None),
    "too many cells": ("a,b,c\n1,2,3,4\n", None),
    "one cell too many in every row": ("a,b,c\n1,2,3,4\n5,6,7,8\n", None),
    "blank lines": ("a,b,c\n\n1,2,3\n\n", [[1, 2, 3]]),
    "a byte order mark": ("\ufeffa,b,c\n1,2,3\n", [[1, 2, 3]]),
    "line ends of Windows": ("a,b,c\r\n1,2,3\r\n", [[1, 2, 3]]),
    "no rows": ("a,b,c\n", None),
    "nothing": ("", None),
    "blank": ("\n\n", None),
    "beyond float64": ("a,b,c\n1,1e400,3\n", None),
    "a plus": ("a,b,c\n1,+2,3\n", [[1, 2, 3]]),
    "two signs": ("a,b,c\n1,+-2,3\n", None),
    "two points": ("a,b,c\n1,1.2.3,3\n", None),
    "an exponent": ("a,b,c\n1,2e0,3\n", [[1, 2, 3]]),
    "an exponent without digits": ("a,b,c\n1,2e,3\n", None),
    "a point alone": ("a,b,c\n1,.,3\n", None),
    "a point first": ("a,b,c\n1,.5,3\n", [[1, 0.5, 3]]),
    "a point last": ("a,b,c\n1,5.,3\n", [[1, 5, 3]]),
    "a byte 0": ("a,b,c\n1,2\x00,3\n", None),
    "a byte 0 beside": ("a,b,c,d\n1,2,3,\x00\n", None),
    "a space in a number": ("a,b,c\n1,1 000,3\n", None),
    "spaces around": ("a, b ,c\n1 , 2,  3\n", [[1, 2, 3]]),
    "a date": ("a,b,c\n1,2020-01-02,3\n", None),
    "a second header": ("a,b,c\n1,2,3\na,b,c\n4,5,6\n", None),
    "a row of totals": ("a,b,c\n1,2,3\nSum,2,3\n", None),
    "a question mark": ("a,b,c\n1,?,3\n", None),
    "a footnote": ("a,b,c\n1,2*,3\n", None),
    "a code of 30 digits": ("a,b,c\n1," + "9" * 30 + ",3\n", None),
    "a code of 17 digits": ("a,b,c\n1,12345678901234567,3\n", None),
    "a whole number that is exact": ("a,b,c\n1,9007199254740992,3\n", [[1, 2**53, 3]]),
    "names in other letters": ("A,b,c\n1,2,3\n", None),
    "an apostrophe": ("a,b,c\n1,'2',3\n", None),
    "a carriage return beside a number": ("a,b,c\n1,\r2,3\n", None),
    "a line of 17 million characters": ("a,b,c\n1,2,3" + " " * 17 * 2**20 + "\n", None),
}
#: What regkd-run alone reads: by its documentation a file of the engine's columns in their order needs no header.
ITS_OWN = {"no header": ("1,2,3\n4,5,6\n", None)}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    onnx = pytest.importorskip("onnx")
    from regkd_edge.engines.native import BACKEND

    folder = tmp_path_factory.mktemp("rows")
    write_mlp(folder / "s.onnx", (3, 4, 1))
    model = onnx.load(folder / "s.onnx")
    onnx.helper.set_model_props(model, {"regkd.feature_names": '["a", "b", "c"]', "regkd.target_names": '["y"]'})
    onnx.save(model, folder / "s.onnx")
    BACKEND.build(folder / "s.onnx", folder / "e")
    return folder / "e"


CELLS = [
    "-2.5", "3e4", "+7", ".5", "", "nan", "inf", "Infinity", "NA", "0x10", "1_000", "1e39", "1e", "--1", "1,5",
    "37,900", '"1"', '"1,5"', " 2 ", "\t3", '" 4"', '"5 "', '"6" ', "x", '"open', 'a"b', '1"', "\r", "\r1", "1\x00",
    "\u22125", "1\xa0", "2\x0c", "9" * 20, "1" * 401, "0." + "0" * 450, "TRUE", "nan(1)", "1%", "(3)", "1;2", "1.5f",
]  # fmt: skip
HEADERS = [
    "a,b,c", "c,b,a", "x,a,b,c", '"a","b","c"', " a , b ,c", "a,b", "A,b,c", "a,b,c,", "a,a,b,c", "a;b;c",
    "a,b,c\r", "#a,b,c", '"a" ,b,c', "title", "sep=,", "a,b,c\n\n",
]  # fmt: skip


def spoiled_table(rng):
    """A table of a, b, c of which about every second one is spoiled in some way."""
    header = rng.choice(HEADERS) if rng.random() < 0.4 else "a,b,c"
    width, end = header.count(",") + 1, rng.choice(["\n"] * 8 + ["\r\n", "\r", "\n\n", " \n"])
    cell = lambda: rng.choice(CELLS) if rng.random() < 0.1 else f"{rng.uniform(-9, 9):.4g}"
    rows = [",".join(cell() for _ in range(width + rng.choice([0] * 30 + [-1, 1]))) for _ in range(rng.randint(1, 5))]
    return header + end + end.join(rows) + rng.choice([end, ""])


def test_what_regkd_run_reads_python_reads_alike(engine, installed, tmp_path):
    rng, read = random.Random(0), 0
    for _ in range(400):
        path, text = tmp_path / "rows.csv", spoiled_table(rng)
        path.write_bytes(text.encode())
        done = subprocess.run([installed / "bin" / "regkd-run", engine, path], capture_output=True, text=True)
        assert done.returncode in (0, 2), (text, done)
        if done.returncode == 2:
            assert done.stderr.count("\n") == 1, (text, done)
            continue
        rows = read_inputs(path, ["a", "b", "c"])
        np.savetxt(path, rows, delimiter=",", header="a,b,c", comments="", fmt="%.17g")
        again = subprocess.run([installed / "bin" / "regkd-run", engine, path], capture_output=True, text=True)
        assert done.stdout == again.stdout, text
        read += 1
    assert 80 < read < 320  # neither all nor none


def test_names_that_are_numbers_are_no_row(installed, tmp_path):
    onnx = pytest.importorskip("onnx")
    from regkd_edge.engines.native import BACKEND

    write_mlp(tmp_path / "s.onnx", (3, 4, 1))
    model = onnx.load(tmp_path / "s.onnx")
    onnx.helper.set_model_props(model, {"regkd.feature_names": '["0", "1", "2"]', "regkd.target_names": '["y"]'})
    onnx.save(model, tmp_path / "s.onnx")
    BACKEND.build(tmp_path / "s.onnx", tmp_path / "e")
    answers = []
    for text in ("0,1,2\n5,6,7\n", "2,1,0\n7,6,5\n", "5,6,7\n"):  # the last one has no header
        (tmp_path / "rows.csv").write_text(text)
        command = [installed / "bin" / "regkd-run", tmp_path / "e", tmp_path / "rows.csv"]
        answers.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:])
    assert answers[0] == answers[1] == answers[2] and len(answers[0]) == 1


@pytest.mark.parametrize("place", ["/dev/zero", "/"])
def test_what_is_no_table_ends_at_once(place, engine, installed):
    command = [installed / "bin" / "regkd-run", engine, place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


@pytest.mark.parametrize("case", [*CASES, *ITS_OWN])
def test_both_readers(case, engine, installed, tmp_path):
    text, rows = (CASES | ITS_OWN)[case]
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode())
    done = subprocess.run([installed / "bin" / "regkd-run", engine, path], capture_output=True, text=True)
    if rows is None:
        with pytest.raises(UserError):
            read_inputs(path, ["a", "b", "c"])
        if case in ITS_OWN:
            assert done.returncode == 0 and done.stdout.count("\n") == 3, done
        else:
            assert done.returncode == 2 and done.stderr.count("\n") == 1, done
        return
    assert read_inputs(path, ["a", "b", "c"]).tolist() == rows
    assert done.returncode == 0, done.stderr
    path.write_text("\n".join(["a,b,c", *(",".join(map(repr, map(float, row))) for row in rows)]))
    again = subprocess.run([installed / "bin" / "regkd-run", engine, path], capture_output=True, text=True, check=True)
    assert done.stdout == again.stdout and np.isfinite(float(done.stdout.splitlines()[1]))
