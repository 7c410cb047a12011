"""The scripts of the papers: they resume, name what is absent, and judge themselves by what they measured."""

from __future__ import annotations

import csv

import pytest

pytest.importorskip("torch")


def rows_of(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("script", ["zhou2023", "kang2024", "nguyen2021", "imaoka2020", "digits_fraction"])
def test_help_says_what_is_reproduced(call, capsys, script):
    with pytest.raises(SystemExit) as end:
        call(script, "--help")
    assert end.value.code == 0 and "--out" in capsys.readouterr().out


def test_little_data_resumes_and_names_the_shares_that_are_too_small(call, csv_set, tmp_path):
    out = tmp_path / "out"
    # 150 rows leave 96 to the teacher: a tenth is 10 rows, a half 48.
    few = [
        "--sets",
        csv_set,
        "--fractions",
        0.1,
        0.5,
        "--bases",
        "mimic",
        "--variants",
        "base",
        "all",
        "auto",
        "--steps",
        200,
    ]
    few += ["--teacher", "mlp:8:tanh", "--student", "mlp:4:tanh", "--jobs", 1, "--out", out]
    page = call("kang2024", *few, "--seeds", 1)
    assert f"--sets {csv_set.name} " in page and "--out OUT" in page and str(tmp_path) not in page
    assert (
        "10%: 0 of 0 students measured (0 sets, 1 seeds); absent, as the share has fewer than 20 rows: waves (10)"
        in page
    )
    assert "50%: 3 of 3 students measured" in page and "target at 10 %" not in page
    assert page.strip().endswith((out / "kang2024.md").read_text().strip())
    before = rows_of(out / "kang2024.csv")
    assert [(row["fraction"], row["variant"]) for row in before] == [("0.5", "base"), ("0.5", "all"), ("0.5", "auto")]
    call("kang2024", *few, "--seeds", 1, 2)
    after = rows_of(out / "kang2024.csv")
    assert after[:3] == before and [row["seed"] for row in after[3:]] == ["2", "2", "2"]
    assert (out / "kang2024.svg").is_file()


def test_little_data_says_where_the_terms_hurt(call, csv_set, tmp_path):
    header = "set,fraction,base,variant,seed,steps,score,rows,teacher,rmse,last,seconds\n"
    lines = [f"waves,0.5,mimic,{v},1,200,test,48,0.1,{e},0.2,1\n" for v, e in (("base", 0.2), ("all", 0.3))]
    (tmp_path / "kang2024.csv").write_text(header + "".join(lines))
    stored = ["--fractions", "0.5", "--bases", "mimic", "--steps", "200", "--minutes", "0"]
    page = call("kang2024", "--sets", csv_set, *stored, "--out", tmp_path)
    assert "2 of 30 students measured" in page
    assert "hurt by more than 1.0 % on waves (-50.0 %) and by set and base on waves/mimic (-50.0 %)" in page
    assert "1 of 1 single students are worse than their base" in page


def test_label_outliers_are_judged_against_scratch(call, tmp_path):
    case = ["--sets", "--noise", 0.1, "--outliers", 0.3, "--steps", 60, "--jobs", 1, "--out", tmp_path]
    page = call("imaoka2020", *case, "--seeds", 1)
    rows = rows_of(tmp_path / "imaoka2020.csv")
    assert len({row["method"] for row in rows}) == len(rows) == 10
    rmse = {row["method"]: float(row["rmse"]) for row in rows}
    ratio = rmse["robust_tor_two_heads"] / rmse["scratch"]
    assert (
        f"robust tor two heads, 30% outliers: {ratio:.2f} to {ratio:.2f} of scratch's RMSE; at most half in "
        f"{int(ratio <= 0.5)} of 1 cases" in page
    )
    assert "measured: 10 of 10 students" in page and (tmp_path / "imaoka2020.svg").is_file()
    assert "measured: 10 of 20 students" in call("imaoka2020", *case, "--seeds", 2, "--minutes", 0)


def test_mismatch_is_judged_by_the_excess_over_the_teacher(call, csv_set, tmp_path):
    header = "set,shift,method,seed,steps,teacher,rmse,error_before,error_after,seconds\n"
    found = {
        "scratch": 0.8,
        "mimic": 0.6,
        "ail": 0.7,
        "terms": 0.54,
        "trust_terms": 0.53,
        "latent": 0.58,
        "nguyen2021": 0.52,
    }
    shifted = [f"waves,1,{m},1,100,0.5,{e},2,1,1\n" for m, e in found.items()]
    in_place = [f"waves,0,{m},1,100,0.5,{e},2,1,1\n" for m, e in {**found, "nguyen2021": 0.63}.items()]
    (tmp_path / "nguyen2021.csv").write_text(header + "".join(in_place + shifted))
    stored = ["--shifts", "0", "1", "--seeds", "1", "--steps", "100", "--minutes", "0"]
    page = call("nguyen2021", "--sets", csv_set, *stored, "--out", tmp_path)
    assert "nguyen2021: pooled excess +4.0% of the teacher's RMSE, mimic's +20.0% (20% of it is left)" in page
    assert "half or less is left: reached" in page
    assert "shift 1: scratch (labels of its place) is better than nguyen2021 on 0 of 1 sets" in page
    assert "no shift, nguyen2021: RMSE against mimic's +5.0% on average, worst +5.0% (waves)" in page
    assert "costs less than 2 %: not reached" in page


@pytest.mark.slow
def test_mismatch_measures_all_methods_once(call, csv_set, tmp_path):
    case = ["--sets", csv_set, "--shifts", 1, "--seeds", 1, "--steps", 100, "--jobs", 1, "--out", tmp_path]
    call("nguyen2021", *case)
    rows = rows_of(tmp_path / "nguyen2021.csv")
    assert [row["method"] for row in rows] == [
        "scratch",
        "mimic",
        "ail",
        "terms",
        "trust_terms",
        "latent",
        "nguyen2021",
        "auto",
    ]
    assert len({row["teacher"] for row in rows}) == 1 and (tmp_path / "nguyen2021.svg").is_file()
    # The untuned latent is a candidate of the tuning, so tuned points are not worse but for other draws.
    assert float(rows[5]["error_after"]) <= 1.1 * float(rows[5]["error_before"])
    call("nguyen2021", *case)
    assert rows_of(tmp_path / "nguyen2021.csv") == rows
