"""Tables and remarks of kang2024.py, all from the measurements."""

from __future__ import annotations

import json
from pathlib import Path

from common import Records, as_text, data_file, dot_plot, how_it_was_run, mean, sd, table
from kang2024_students import DEFAULTS, VARIANTS, split

PAPER = 43.91  # [%] mean reduction of the RMSE at 10 % of the data, from the abstract
STRETCH = 50.0  # [%] what we aimed at beyond the paper
HURT = 1.0  # [%] a loss below it is not called one
FEWEST = 20  # rows that a share must have: 16 to train on, 4 for early stopping


def share_of(path: Path, fraction: float) -> int:
    """Rows that a student sees: ``fraction`` of the teacher's training rows."""
    with path.open(encoding="utf-8") as stream:
        return round(fraction * len(split(sum(1 for line in stream if line.strip()) - 1, 0)[0]))


def reductions(records: Records, variant: str, **key) -> list[float]:
    """1 - RMSE(variant) / RMSE(base), in percent, paired by set, base, fraction and seed."""
    found = {_pair(row): float(row["rmse"]) for row in _match(records, variant="base", **key)}
    return [
        100 * (1 - float(row["rmse"]) / found[_pair(row)])
        for row in _match(records, variant=variant, **key)
        if _pair(row) in found
    ]


def _pair(row: dict) -> tuple:
    return row["set"], row["fraction"], row["base"], row["seed"]


def _match(records: Records, **key) -> list[dict]:
    return [row for row in records.rows if all(row[k] == as_text(v) for k, v in key.items())]


def interval(records: Records, sets: list[str], variant: str, **key) -> tuple[float, float]:
    """95 % bootstrap interval of the mean reduction: sets are drawn again, and seeds within each, 2000 times."""
    import numpy as np

    rng = np.random.default_rng(0)
    by_set = [values for name in sets if (values := reductions(records, variant, set=name, **key))]
    if not by_set:
        return float("nan"), float("nan")
    means = []
    for _ in range(2000):
        drawn = [by_set[i] for i in rng.integers(0, len(by_set), len(by_set))]
        means.append(np.mean([np.mean(rng.choice(values, len(values))) for values in drawn]))
    return tuple(np.percentile(means, [2.5, 97.5]))


def status(records: Records, args) -> list[str]:
    """What was measured, what is absent and why, and how it compares with the targets, from the measurements."""
    key, lines = {"steps": args.steps, "score": args.score}, []
    paths = {path.stem: path for path in (data_file(args.data, n) for n in args.sets)}
    for fraction in args.fractions:
        few = {name: n for name, path in paths.items() if (n := share_of(path, fraction)) < FEWEST}
        cells = [(n, b, v) for n in paths if n not in few for b in args.bases for v in args.variants]
        there = sum(
            min(len(args.seeds), len(records.values("rmse", set=n, fraction=fraction, base=b, variant=v, **key)))
            for n, b, v in cells
        )
        whole = (
            f"{len(cells) * len(args.seeds)} students measured ({len(paths) - len(few)} sets, {len(args.seeds)} seeds)"
        )
        says = f"- {fraction:.0%}: {there} of {whole}"
        if few:
            says += f"; absent, as the share has fewer than {FEWEST} rows: " + ", ".join(
                f"{name} ({n})" for name, n in few.items()
            )
        gains = {n: v for n in paths if (v := reductions(records, "all", set=n, fraction=fraction, **key))}
        if gains:
            hurt = {n: mean(v) for n, v in gains.items() if mean(v) < -HURT}
            pairs = [
                (n, b, mean(v))
                for n in gains
                for b in args.bases
                if (v := reductions(records, "all", set=n, base=b, fraction=fraction, **key)) and mean(v) < -HURT
            ]
            says += f"; all terms hurt by more than {HURT} % on " + (
                ", ".join(f"{n} ({v:+.1f} %)" for n, v in hurt.items()) or "no set"
            )
            says += " and by set and base on " + (", ".join(f"{n}/{b} ({v:+.1f} %)" for n, b, v in pairs) or "none")
            every = [g for v in gains.values() for g in v]
            says += f"; {sum(g < 0 for g in every)} of {len(every)} single students are worse than their base"
        lines.append(says)
    gain = [mean(v) for n in paths if (v := reductions(records, "all", set=n, fraction=0.1, **key))]
    if gain:
        top = mean([v for n in paths if (v := ceiling(records, set=n, fraction=0.1, **key)) == v])
        reached = lambda yes: "reached" if yes else "not reached"
        says = f"{mean(gain):.2f} % against the paper's {PAPER:.2f} %: {reached(mean(gain) > PAPER)}"
        says += f"; stretch of {STRETCH:.0f} %: {reached(mean(gain) >= STRETCH)}"
        auto = [mean(v) for n in paths if (v := reductions(records, "auto", set=n, fraction=0.1, **key))]
        if auto:
            seeds = len({row["seed"] for row in _match(records, variant="auto", fraction=0.1, **key)})
            beside = [v for n in paths if (v := ceiling(records, "auto", set=n, fraction=0.1, **key)) == v]
            says += (
                f"; recipe auto, the default of distill: {mean(auto):.2f} % ({len(auto)} sets, {seeds} seeds, where "
            )
            says += f"a student equal to its teacher would be at {mean(beside):.1f} %)"
        lines.append(f"- target at 10 %: {says}; on all seeds a student equal to its teacher would be at {top:.1f} %")
    spent = sum(records.values("seconds", **key))
    lines.append(f"- training of the students in the CSV: {spent / 60:.0f} min of wall clock on one thread")
    return lines


def ceiling(records: Records, beside: str = "base", **key) -> float:
    """The mean reduction [%] of a student that equals its teacher, where there is a student ``beside`` the base."""
    pairs = {_pair(row) for row in _match(records, variant=beside, **key)}
    rows = [row for row in _match(records, variant="base", **key) if _pair(row) in pairs]
    return mean([100 * (1 - float(r["teacher"]) / float(r["rmse"])) for r in rows])


def report(records: Records, args, seconds: float) -> str:
    key = {"steps": args.steps, "score": args.score}
    sets = [data_file(args.data, n).stem for n in args.sets]
    rows_scored = "test" if args.score == "test" else "selection"
    lines = [
        "# Little data: Kang & Kang 2024",
        "",
        how_it_was_run(seconds),
        f"- teacher {args.teacher}, student {args.student}, optimizer {args.optimizer}, batch {args.batch}, "
        f"{args.steps} steps, constants {json.dumps({**DEFAULTS, **json.loads(args.constants)})}",
        *status(records, args),
        "",
    ]
    lines += [
        f"Reduction of the student's RMSE (label error on {rows_scored} rows) by the terms, mean over sets of the mean",
        "over bases and seeds. Pairs: students with the terms and their base beside them. Ceiling: a student equal to",
        "its teacher.",
        "",
    ]
    rows = []
    for fraction in args.fractions:
        for variant in VARIANTS[1:]:
            per_set = [mean(v) for n in sets if (v := reductions(records, variant, set=n, fraction=fraction, **key))]
            if per_set:
                low, high = interval(records, sets, variant, fraction=fraction, **key)
                top = mean([v for n in sets if (v := ceiling(records, variant, set=n, fraction=fraction, **key)) == v])
                paper = f"{PAPER:.2f} %" if fraction == 0.1 and variant == "all" else ""
                rows.append(
                    [
                        f"{fraction:.0%}",
                        {"all": "+PM+ABM+GM", "auto": "recipe auto"}.get(variant, f"+{variant}"),
                        len(per_set),
                        len(reductions(records, variant, fraction=fraction, **key)),
                        f"{mean(per_set):.2f} %",
                        f"{low:.1f} to {high:.1f} %",
                        f"{top:.1f} %",
                        paper,
                    ]
                )
    header = ["rows", "terms", "sets", "pairs", "mean reduction", "95 % bootstrap", "ceiling", "paper"]
    lines += [table(header, rows), ""]
    for fraction in args.fractions:
        body = []
        for name in sets:
            for base in args.bases:
                at = {**key, "set": name, "fraction": fraction, "base": base}
                cells = [mean(records.values("rmse", variant=v, **at)) for v in VARIANTS]
                if not records.values("rmse", variant="base", **at):
                    continue
                n = records.values("rows", variant="base", **at)[0]
                gain = reductions(records, "all", **at)
                body.append(
                    [
                        name,
                        f"{n:.0f}",
                        base,
                        len(records.values("rmse", variant="base", **at)),
                        f"{mean(records.values('teacher', variant='base', **at)):.4f}",
                        *(f"{c:.4f}" if c == c else "-" for c in cells),
                        f"{mean(gain):.1f} %" + (f" (sd {sd(gain):.1f})" if len(gain) > 1 else "") if gain else "-",
                    ]
                )
        if body:
            header = ["set", "rows", "base", "seeds", "teacher", "base alone", "+PM", "+ABM", "+GM", "+all", "auto"]
            lines += [f"## {fraction:.0%} of the rows: RMSE on standardised targets", ""]
            lines += [table([*header, "reduction by all"], body), ""]
    return "\n".join(lines)


def plot(records: Records, args, path: Path) -> None:
    """Draw a line per set and share, a dot for each term alone and for all of them; a tick at the paper's mean."""
    groups = {}
    for fraction in args.fractions:
        for name in args.sets:
            key = {
                "set": data_file(args.data, name).stem,
                "fraction": fraction,
                "steps": args.steps,
                "score": args.score,
            }
            found = {v: (mean(g), sd(g)) for v in VARIANTS[1:] if (g := reductions(records, v, **key))}
            if found:
                groups[f"{key['set']} {fraction:.0%}"] = found
    marks = {name: PAPER for name in groups if name.endswith(" 10%")}
    dot_plot(path, "Reduction of the RMSE by the terms", groups, "percent", marks)
