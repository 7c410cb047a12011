"""The table of ``tools/bench/tables.py``: what it writes from known figures, and that nothing is measured twice."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "tools" / "bench"
HEADER = "set,fraction,seed,method,rows,teacher,distance,labels,won,steps,seconds,cpu\n"


def row(name, seed, method, distance, labels, won="-"):
    return f"{name},0.1,{seed},{method},100,0.3,{distance},{labels},{won},5000,1,1\n"


def page(monkeypatch, capsys, folder, *arguments):
    monkeypatch.setattr(sys, "argv", ["tables.py", "--out", str(folder), "--data", str(folder / "data"), *arguments])
    runpy.run_path(str(BENCH / "tables.py"), run_name="__main__")
    return capsys.readouterr().out


def test_the_whole_table_with_its_worst_rows(monkeypatch, capsys, tmp_path):
    lines = [row("sea", s, "base", 0.4, 0.5) + row("sea", s, "auto", d, 0.4, "PM") for s, d in ((0, 0.1), (1, 0.3))]
    lines += [row("sky", 0, "base", 0.2, 0.5), row("sky", 0, "auto", 0.22, 0.5, "the base alone")]
    (tmp_path / "tables.csv").write_text(HEADER + "".join(lines))
    (tmp_path / "data").mkdir()
    for name in ("sea", "sky"):
        (tmp_path / "data" / f"{name}.csv").write_text("x,target\n1,2\n")
    out = page(monkeypatch, capsys, tmp_path, "--minutes", "0")
    assert out == (tmp_path / "tables.md").read_text() + "\n"
    assert "2 tables: the distance to the teacher changes by -20.0% in the mean" in out  # of -50 % and +10 %
    assert "(worst: sky +10%, sea -50%)" in out and "hurt: sky" in out
    assert "-50% ± 318" in out, "a t-interval of two seeds"
    assert "| sky | 100 | 1 |" in out and "the base alone |" in out


def test_what_is_there_is_not_measured_again(monkeypatch, capsys, tmp_path):
    (tmp_path / "tables.csv").write_text(
        HEADER + row("sea", 0, "base", 0.4, 0.5) + row("sea", 0, "auto", 0.1, 0.4, "PM")
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sea.csv").write_text("not a table")  # it would fail if it were read
    assert "-75%" in page(monkeypatch, capsys, tmp_path)


def test_every_share_has_its_part_and_a_student_that_leaves_a_bad_teacher_is_not_hurt(monkeypatch, capsys, tmp_path):
    lines = [row("sea", 0, "base", 0.4, 0.5), row("sea", 0, "auto", 0.5, 0.4, "the labels alone")]
    lines += [
        line.replace(",0.1,", ",0.3,") for line in (row("sea", 0, "base", 0.4, 0.5), row("sea", 0, "auto", 0.5, 0.5))
    ]
    (tmp_path / "tables.csv").write_text(HEADER + "".join(lines))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sea.csv").write_text("x,target\n1,2\n")
    out = page(monkeypatch, capsys, tmp_path, "--fractions", "0.1", "0.3", "--minutes", "0")
    first, second = out.split("## A share of 0.3")
    assert "hurt: none" in first and "hurt: sea" in second


def test_single_candidates_stand_beside_the_race_on_the_tables_that_have_all(monkeypatch, capsys, tmp_path):
    ablated = [
        f"PM with {kind}" for kind in ("isotropic noise 0.3", "principal noise 1", "crossover noise 0.3", "mixed noise")
    ]
    lines = [row("sea", 0, "base", 0.4, 0.5), row("sea", 0, "auto", 0.1, 0.4, "PM")]
    lines += [row("sea", 0, m, 0.2 + 0.1 * i, 0.5) for i, m in enumerate(ablated)]
    lines += [row("sky", 0, "base", 0.2, 0.5), row("sky", 0, "auto", 0.1, 0.5, "PM")]  # not ablated
    (tmp_path / "tables.csv").write_text(HEADER + "".join(lines))
    (tmp_path / "data").mkdir()
    for name in ("sea", "sky"):
        (tmp_path / "data" / f"{name}.csv").write_text("x,target\n1,2\n")
    out = page(monkeypatch, capsys, tmp_path, "--minutes", "0")
    assert "on 1 of these tables (sea)" in out
    assert "| PM with principal noise 1 | -25% | sea -25% | +0% | sea +0% | 1.0 |" in out
    assert "| auto | -75% | sea -75% | -20% | sea -20% | 1.0 |" in out
