"""The sections with the evidence: the trade-off, errors, training, layers, latency, memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..io.words import counted
from ..measure.accuracy import unit_of
from .collect import Report
from .layers import LAYERS_EXPLAINED, layer_figures
from .markup import details, e, figure, fold, grid, legend, section, table
from .plot_errors import MOST_POINTS, error_by_range, influence, predicted_against_true, residuals_over
from .plot_latency import axis_ends, axis_of, latency_strip, strip_caption
from .plot_pareto import Point, trade_off
from .plot_training import curves, loss_terms, validation_curves
from .race import race_figures, race_table
from .table import size

__all__ = ["error_sections", "latency_section", "layer_section", "memory_section", "trade_section",
    "training_section"]  # fmt: skip

_MOST_TARGETS = 4
_MOST_INPUTS = 3
_CSS = {"teacher": "s3", "baseline": "s4", "student": "s2"}


def _chosen(report: Report) -> str | None:
    """Return the engine that the plots are about."""
    if report.recommended:
        return report.recommended["name"]
    return next((row["name"] for row in report.rows if row["kind"] == "engine" and not row["failed"]), None)


def trade_section(report: Report) -> str:
    """Return error against latency and size, for each target."""
    if not report.batches:
        return ""
    batch = report.batches[0]
    key = f"p50_us_b{batch}"
    engines = [row for row in report.rows if row["kind"] == "engine" and row.get(key) is not None]
    if not engines:
        return ""
    recommended = report.recommended["name"] if report.recommended else None
    teacher = next((row for row in report.rows if row["name"] == "teacher"), None)
    figures = []
    for j, target in enumerate(report.target_names[:_MOST_TARGETS]):
        lines = [("teacher", teacher["targets"][j]["rmse"])] if teacher else []
        lines += [("allowed", report.allowed[target])] if target in report.allowed else []
        for cost, label, title in (
            (key, f"median latency, µs, batch {batch}", "latency"),
            ("size_bytes", "engine file, bytes", "size"),
        ):
            points = [
                Point(str(i + 1), float(row[cost]), row["targets"][j]["rmse"], row["name"] == recommended)
                for i, row in enumerate(engines)
                if row[cost]
            ]
            if points:
                caption = f"{target}: error against {title}; lower left is better"
                figures.append(figure(caption, trade_off(points, label, f"RMSE of {target}", lines)))
    names = "".join(f"<li>{e(row['name'])}{' (FAILED)' if row['failed'] else ''}</li>" for row in engines)
    return section("Error against latency and size", f'<ol class="names">{names}</ol>', grid(*figures))


def error_sections(report: Report) -> list[str]:
    """Return the plots of the errors of each target: models, then the engine of the page."""
    chosen, sections = _chosen(report), []
    for column, target in enumerate(report.target_names[:_MOST_TARGETS]):
        series = {
            name: (_CSS[name], report.predictions[name][:, column]) for name in _CSS if name in report.predictions
        }
        if chosen is not None:
            series[chosen] = ("s1", report.predictions[chosen][:, column])
        if not series:
            continue
        truth = report.truth[:, column]
        pair = {name: series[name] for name in dict.fromkeys(("teacher", list(series)[-1])) if name in series}
        sample = f" (a sample of {MOST_POINTS} of {len(truth):,} rows)" if len(truth) > MOST_POINTS else ""
        colours = {name: css for name, (css, _) in series.items()}
        two = {name: colours[name] for name in pair}
        figures = [
            figure(f"Predicted versus true{sample}", legend(two), predicted_against_true(truth, pair, target)),
            figure("RMSE in each range of the target", legend(colours), error_by_range(truth, series, target)),
        ]
        residuals = {name: (css, values - truth) for name, (css, values) in pair.items()}
        for j in _inputs_that_matter(report, truth):
            name = report.feature_names[j]
            figures.append(
                figure(
                    f"Error over {name}: mean per range; the band holds 80 % of the rows of {list(pair)[-1]}",
                    legend(two),
                    residuals_over(report.inputs[:, j], residuals, name, target),
                )
            )
        sections.append(section(f"Errors of {target}", grid(*figures)))
    if len(report.target_names) > _MOST_TARGETS:
        sections.append(
            f'<p class="quiet">Plots of the first {_MOST_TARGETS} of {len(report.target_names)} targets; report.json '
            f"has the figures for all.</p>"
        )
    return sections


def _inputs_that_matter(report: Report, truth: np.ndarray) -> list[int]:
    """Return the inputs whose ranges explain most of the target's variance."""
    if not len(report.inputs) or report.inputs.shape[1] == 0:
        return []
    shares = influence(report.inputs, truth)
    return [int(j) for j in np.argsort(-shares, kind="stable")[:_MOST_INPUTS] if shares[j] > 0]


def training_section(report: Report) -> str:
    """Return the curves of the training, and the race that chose the recipe.

    With several targets, the curves and the bars of the race for all but the first, and the pooled ones, open on a
    click; the table of the race has every figure.
    """
    found = report.evidence
    figures, more = [], []
    if "student" in found.histories:
        terms = loss_terms(found.histories["student"])
        if terms:
            colours = {name: css for name, (css, _, _) in terms.items()}
            drawn = curves(terms, "loss", "loss of the student by term")
            figures.append(figure("Loss of the student, by term", legend(colours) if drawn else "", drawn))
    several = len(report.target_names) > 1
    errors = [(j, f"RMSE of {name}", f", {name}") for j, name in enumerate(report.target_names[:_MOST_TARGETS])]
    unit = report.unit if several else unit_of(report.unit) or report.unit
    pooled = (None, f"RMSE ({unit})", ", pooled over the targets" if several else "")
    synthetic = bool(report.facts["config"]["distill"]["no_data"])
    for names in (("teacher",), ("baseline", "student")):
        histories = {n: found.histories[n] for n in names if n in found.histories}
        for target, label, of in [*errors, pooled] if several else [pooled]:
            lines = validation_curves(histories, _CSS, target)
            if lines:
                colours = {name: css for name, (css, _, _) in lines.items()}
                caption = _validated(lines, synthetic) + of
                drawn = curves(lines, label, caption)
                shown = figure(caption, legend(colours) if drawn else "", drawn)
                (figures if target == 0 or not several else more).append(shown)
    race = ""
    if found.race:
        first, *others = race_figures(found.race)
        figures.append(first)
        more += others
        explanation = found.race.get("explanation") or found.race.get("sentence")
        race = f"<p>{e(explanation)}.</p>" if explanation else ""
    title = f"Training{' and race' if found.race else ''} for the other targets, and pooled"
    folded = fold(title, grid(*more))
    return section("Training", race, grid(*figures), race_table(found.race) if found.race else "", folded)


def _validated(models: Iterable[str], synthetic: bool) -> str:
    """Return what a curve of the validation shows: without data the students are judged by their teacher's answers."""
    who = " and ".join(models)
    if synthetic and who != "teacher":
        return f"Distance of {who} from the teacher on synthetic inputs"
    return f"Error of {who} on the validation rows"


def layer_section(report: Report) -> str:
    """Return what the quantization of each layer alone changes."""
    figures = []
    for precision, found in report.evidence.layers.items():
        figures += layer_figures(precision, found)
    if not figures and report.evidence.rankable and any(row["precision"] in ("int8", "fp8") for row in report.rows):
        return section(
            "Where the quantization error arises",
            "<p>Not ranked by layer in this run: <code>regkd-edge quantize RUN --rank-layers</code> does it.</p>",
        )
    return section("Where the quantization error arises", LAYERS_EXPLAINED if figures else "", grid(*figures))


def latency_section(report: Report) -> str:
    """Return the distribution of the latency, one strip per engine and batch size."""
    figures = []
    for batch in report.batches:
        raw = {name: values[batch] for name, values in report.latencies.items() if batch in values}
        if not raw:
            continue
        ends = axis_ends(raw)
        chosen = _chosen(report)
        strips = "".join(
            f"<p>{e(strip_caption(name, ns, ends))}</p>{latency_strip(name, ns, ends, name == chosen)}"
            for name, ns in raw.items()
        )
        figures.append(
            figure(f"Microseconds per call with {counted(batch, 'row')} (logarithmic)", strips, axis_of(ends))
        )
    return section(
        "Distribution of the latency",
        "<p>These are calls from Python. A C++ application does not pay for the interpreter: the table's columns "
        "“in C++” are of requests in a loop in C++, for engines that have one (native). On the device "
        "<code>regkd-run engines/NAME ROWS.csv --time</code> measures the same.</p>"
        if figures
        else "",
        grid(*figures),
    )


def memory_section(report: Report) -> str:
    """Return what each engine needs: multiply-adds, flash, working memory."""
    costs = report.evidence.costs
    if not costs:
        return ""
    heads = [("engine", True), ("engine file", False), ("multiply-adds per row", False)]
    heads += [("constants (flash)", False), ("working memory (RAM, stack)", False)]
    sizes = {row["name"]: row["size_bytes"] for row in report.rows}
    lines = [
        (
            "",
            [
                e(name),
                size(sizes.get(name)),
                "–" if cost.multiply_adds is None else f"{cost.multiply_adds:,}",
                size(cost.flash_bytes),
                size(cost.stack_bytes),
            ],
        )
        for name, cost in costs.items()
    ]
    return section(
        "Memory and computation",
        table("Memory and computation", heads, lines),
        '<p class="quiet">Flash and RAM are those of the native engine and its C header, counted from the network; '
        "those of ONNX Runtime and TensorRT include a library and are not counted.</p>",
    )


def machine_details(report: Report) -> str:
    """Return the records of the measurement, to open on a click."""
    benches = list(report.facts["benches"].values())
    if not benches:
        return ""
    machine = {**benches[0]["machine"], "changed while measuring": benches[0].get("machine_after", {})}
    return details("Machine", machine) + "".join(
        details(
            f"Engine {bench['name']}",
            {
                "measured": bench["measured"],
                "threads": bench.get("threads"),
                **bench["engine"],
                "executed": bench.get("executed"),
                "latency": bench["latency"],
            },
        )
        for bench in benches
    )
