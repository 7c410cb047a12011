"""Where the error of a quantized graph comes from, as ``quantize --rank-layers`` says it."""

from __future__ import annotations

from regkd_edge.cli.tables import export_note, graph_notes, sensitivity_notes

FOUND = {
    "rows": 400,
    "targets": ["life [cycles]", "capacity [mAh]"],
    "all": 2.5,
    "all_targets": [3.1234, 0.0211],
    "parts": {"input": 0.2, "weights": 2.4, "activations": 0.001234},
    "layers": [
        {
            "name": "layer0/gemm",
            "precision": "int8",
            "change": 2.4,
            "targets": [3.0, 0.02],
            "data": 0.2,
            "weights": 2.39,
        }
    ],
}


def test_the_change_is_said_in_the_unit_of_each_target_first():
    assert sensitivity_notes([{"precision": "fp16"}, {"precision": "int8", "sensitivity": FOUND}]) == [
        "int8: rounding moves the answers by 3.12 (life [cycles]), 0.0211 (capacity [mAh]) (RMS over 400 rows), "
        "2.5 % of their standard deviation (input 0.20 %, weights 2.4 %, activations 0.0012 %).",
        "int8, layer0/gemm (int8) alone: 3.00, 0.0200, 2.4 % (data 0.20 %, weights 2.4 %).",
    ]


def test_a_layer_that_moves_more_than_all_together_is_explained():
    more = {**FOUND, "layers": [{**FOUND["layers"][0], "change": 2.6}]}
    assert "corrected for the rounding" in sensitivity_notes([{"precision": "int8", "sensitivity": more}])[-1]


def test_of_many_targets_the_first_ones_are_said():
    found = [{"name": f"t{j}", "max_abs": 1e-6 * (j + 1)} for j in range(6)]
    note = export_note({"graph": "g", "targets": found, "rows_checked": 1200})
    assert note == (
        "g: at most 1.0e-06 in t0, 2.0e-06 in t1, 3.0e-06 in t2, 4.0e-06 in t3 (and 2 more targets) from the torch "
        "student on 1,200 held-out rows."
    )


def test_a_note_names_the_precision_that_it_is_about():
    graphs = [{"precision": "int8", "notes": ["a", "b"]}, {"precision": "fp16"}, {"precision": "bf16", "notes": ["c"]}]
    assert graph_notes(graphs) == ["int8: a.", "int8: b.", "bf16: c."]
