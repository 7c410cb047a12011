"""Cost of INT8 for a regressor: test RMSE compared with the FP32 student, by method, on the sets of ../shared/data.

    python tools/bench/quantization.py                     all sets, activations and seeds; resumable, then the table
    python tools/bench/quantization.py --sets pole --seeds 1 --methods int8-real,int8-synthetic
    python tools/bench/quantization.py --table             the table of what has been measured

Every graph is run by ONNX Runtime with optimizations off. Students are mlp:64,64, distilled by the default recipe (see
students.py); calibration takes at most 2048 rows. Each result is a line of runs/bench-quantization.jsonl. "products"
are the multiply-adds of the graph over those of the FP32 graph: numbers in two INT8 parts cost more than one product.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import students  # puts the project on the path
from students import ACTIVATIONS, ROOT, SEEDS, SETS, Case, cases, dataset, prepare

from regkd_edge.config import CORRECTIONS
from regkd_edge.graph.precision import GraphPrecision

RESULTS = ROOT / "runs" / "bench-quantization.jsonl"
ROWS = 2048


def multiply_adds(graph: GraphPrecision) -> int:
    return sum(layer.multiply_adds for layer in graph.layers)


class Subject:
    """A case with its graph, rows and FP32 accuracy."""

    def __init__(self, case: Case):
        from regkd_edge.graph.precision import graph_precision
        from regkd_edge.graph.unoptimized import reference_outputs
        from regkd_edge.models import load_model

        prepare(case)
        self.case, self.graph = case, case.graph
        self.data = dataset(case)
        self.student, self.teacher = load_model(case.folder), load_model(case.teacher_folder)
        self.test_x, self.test_y = self.data.rows("test")
        self.products = multiply_adds(graph_precision(self.graph))
        self.rmse = self.error(reference_outputs(self.graph, self.test_x.astype(np.float32)))

    def error(self, y: np.ndarray) -> float:
        return float(np.sqrt(np.mean((y - self.test_y) ** 2)))

    @property
    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Validation rows, which the student was not trained on: they say how exact it is."""
        x, y = self.data.rows("validation")
        return x.astype(np.float32), y

    def real(self) -> np.ndarray:
        x, _ = self.data.rows("train")
        return np.random.default_rng(self.case.seed).permutation(x)[:ROWS].astype(np.float32)

    def synthetic(self, described: bool) -> np.ndarray:
        """From the scaler alone, or from the summary of the inputs that is stored with a student."""
        from regkd_edge.sampling.synthetic import known_inputs, summary_of_inputs, synthetic_rows

        summary = summary_of_inputs(self.data.rows("train")[0]) if described else None
        return synthetic_rows(known_inputs(self.student.scalers.x, summary), ROWS, self.case.seed)


def plain_onnxruntime(subject: Subject, target: Path) -> None:
    """quantize_static with its defaults, on the real rows."""
    from onnxruntime import quantization as ortq

    class Rows(ortq.CalibrationDataReader):
        batches = iter([subject.real()])

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"x": batch}

    logging.getLogger().setLevel(logging.ERROR)
    ortq.quantize_static(subject.graph, target, Rows())


def finetuned(subject: Subject, target: Path) -> None:
    from regkd_edge.objectives import StepRecipe
    from regkd_edge.quantization.qat import quantize_with_qat

    data = subject.data
    quantize_with_qat(
        subject.graph, target, subject.real(), subject.student, subject.teacher.module, train=data.rows("train"),
        validation=data.rows("validation"), recipe=StepRecipe("blend"), seed=subject.case.seed,
    )  # fmt: skip


def bounded(subject: Subject, target: Path) -> None:
    from regkd_edge.quantization import Bound, quantize_int8

    x, y = subject.data.rows("validation")
    quantize_int8(subject.graph, target, subject.real(), bound=Bound(0.01, x.astype(np.float32), y))


def int8(rows, *, labels=False, corrections=CORRECTIONS):
    def method(subject: Subject, target: Path) -> None:
        from regkd_edge.quantization import quantize_int8

        quantize_int8(
            subject.graph, target, rows(subject), corrections=corrections, labelled=subject.labelled if labels else None
        )

    return method


def percentile(subject: Subject, target: Path) -> None:
    from regkd_edge.quantization import quantize_int8

    quantize_int8(subject.graph, target, subject.real(), method="percentile", quantizer="onnxruntime")


METHODS = {
    "onnxruntime-defaults": plain_onnxruntime,
    "per-channel-percentile": percentile,  # symmetric, weights per channel, nothing else
    "int8-one-part": int8(Subject.real, corrections=tuple(name for name in CORRECTIONS if name != "split")),
    "int8-real": int8(Subject.real, labels=True),
    "int8-synthetic": int8(lambda s: s.synthetic(True)),
    "int8-gaussian": int8(lambda s: s.synthetic(False)),  # the scaler is all that is known
    "mixed-1%": bounded,
    "finetuned": finetuned,
}


def measure(names: list[str], chosen: list[Case]) -> None:
    from regkd_edge.graph.unoptimized import reference_outputs
    from regkd_edge.quantization import graph_precision

    for case in chosen:
        done = {
            (r["set"], r["activation"], r["seed"], r["method"]) for r in read()
        }  # another process may work on other sets
        missing = [name for name in names if (case.name, case.activation, case.seed, name) not in done]
        if not missing:
            continue
        subject = Subject(case)
        for name in missing:
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder, "q.onnx")
                started = time.monotonic()
                METHODS[name](subject, target)
                seconds = time.monotonic() - started
                rmse = subject.error(reference_outputs(target, subject.test_x.astype(np.float32)))
                counted = graph_precision(target)
                share, products = counted.share.get("int8", 0.0), multiply_adds(counted) / subject.products
            record = {
                "set": case.name, "activation": case.activation, "seed": case.seed, "method": name,
                "rmse_fp32": subject.rmse,
                "rmse": rmse, "increase": rmse / subject.rmse - 1.0, "int8_share": share, "products": products,
                "seconds": round(seconds, 2),
            }  # fmt: skip
            with RESULTS.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")


def read() -> list[dict]:
    if not RESULTS.is_file():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def table(records: list[dict]) -> str:
    """Return Markdown: a line per method, then the worst case of each set."""
    lines = [
        "| method | students | median | worst | worst case | within 1 % | INT8 share (least) | in two parts | "
        "products (median, most) | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in METHODS:
        found = [r for r in records if r["method"] == name]
        if not found:
            continue
        rise = np.array([r["increase"] for r in found])
        worst = found[int(rise.argmax())]
        products = np.array([r["products"] for r in found])
        lines.append(
            f"| {name} | {len(found)} | {np.median(rise):+.2%} | {rise.max():+.2%} | {worst['set']} "
            f"{worst['activation']} {worst['seed']} | "
            f"{np.mean(rise <= 0.01):.0%} | {min(r['int8_share'] for r in found):.0%} | "
            f"{np.mean(products > 1.0):.0%} | {np.median(products):.2f}, {products.max():.2f} | "
            f"{np.median([r['seconds'] for r in found]):.1f} |"
        )
    present = [name for name in METHODS if any(r["method"] == name for r in records)]
    lines += ["", "| largest increase | " + " | ".join(present) + " |", "|---" * (len(present) + 1) + "|"]
    for name in SETS:
        cells = [[r["increase"] for r in records if r["set"] == name and r["method"] == method] for method in present]
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(f"{max(c):+.2%}" if c else "-" for c in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--activations", default=",".join(ACTIVATIONS))
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--data", type=Path, default=students.DATA, help="folder of the CSV files")
    parser.add_argument("--table", action="store_true", help="measure nothing, print the existing measurements")
    options = parser.parse_args()
    if not options.table:
        import torch

        torch.set_num_threads(1)
        students.DATA = options.data
        chosen = cases(
            options.sets.split(","), options.activations.split(","), [int(s) for s in options.seeds.split(",")]
        )
        measure(options.methods.split(","), chosen)
    print(table(read()))


if __name__ == "__main__":
    main()
