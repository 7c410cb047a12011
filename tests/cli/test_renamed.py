"""Flags and fields of version 0.1 still mean what they meant."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from regkd_edge.cli.app import app
from regkd_edge.cli.options import SECTIONS
from regkd_edge.cli.renamed import current
from regkd_edge.config import RunConfig
from regkd_edge.errors import UserError
from regkd_edge.objectives import StepRecipe


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["quantize", "r", "--finetune", "--inputs", "i.yaml"], ["quantize", "r", "--qat", "--describe", "i.yaml"]),
        (["quantize", "r", "--target=orin"], ["quantize", "r", "--platform=orin"]),
        (
            ["train-teacher", "r", "--target", "y", "--inputs", "raw"],
            ["train-teacher", "r", "--target", "y", "--units", "raw"],
        ),
        (["distill", "r", "--backend", "torch"], ["distill", "r", "--compute", "torch"]),
        (["distill", "r", "--qat", "int8", "--steps", "5"], ["distill", "r", "--qat", "--steps", "5"]),
        (
            ["bundle", "r", "--rows", "synthetic", "--output=b"],
            ["bundle", "r", "--evaluate-on", "synthetic", "--out=b"],
        ),
        (["build", "r", "--backend", "native"], ["build", "r", "--backend", "native"]),
        (["build", "r", "--header", "pump"], ["build", "r", "--c-header", "pump"]),
        (["distill", "r", "--no-header", "--candidates=8"], ["distill", "r", "--no-header", "--ascent-candidates=8"]),
        (["quantize", "r", "--report"], ["quantize", "r", "--rank-layers"]),
        (["distill", "r", "--student", "--inputs"], ["distill", "r", "--student", "--units"]),
    ],
)
def test_old_flags_have_their_new_names(old, new):
    assert current(old) == new


def test_a_yaml_of_version_0_1_is_read():
    config = RunConfig.from_dict(
        {
            "data": {"source": "digits"},
            "teacher": {"inputs": "standardized"},
            "distill": {"backend": "torch", "recipe": "none", "candidates": 8, "ascent_rule": "candidates"},
            "build": {"backend": "native", "header": "pump"},
            "quantize": {
                "placer": "own",
                "finetune": True,
                "finetune_steps": 7,
                "inputs": "i.yaml",
                "target": "orin",
                "report": True,
            },
        }
    )
    quantize = config.quantize
    assert (config.data.data, config.teacher.units, config.distill.compute) == ("digits", "standardized", "torch")
    assert (quantize.quantizer, quantize.qat, quantize.qat_steps, quantize.rank_layers) == ("own", True, 7, True)
    assert (config.distill.ascent_candidates, config.build.c_header) == (8, "pump")
    assert config.distill.ascent_rule == "random"
    assert (quantize.describe, quantize.platform) == ("i.yaml", "orin")
    assert "placer" not in config.to_yaml()
    with pytest.raises(UserError, match="unknown field quantize.placr"):
        RunConfig.from_dict({"quantize": {"placr": "own"}})


def test_an_old_name_given_later_wins_over_what_was_stored():
    assert RunConfig().updated({"quantize.placer": "onnxruntime"}).quantize.quantizer == "onnxruntime"


def test_the_old_name_of_the_random_search_is_read_everywhere():
    """``candidates`` is the word of the race."""
    assert RunConfig().updated({"distill.ascent_rule": "candidates"}).distill.ascent_rule == "random"
    assert StepRecipe(w_abm=1.0, ascent_rule="candidates") == StepRecipe(w_abm=1.0, ascent_rule="random")
    with pytest.raises(UserError, match="'rmsprop', 'sign', 'normalised' or 'random'"):
        RunConfig().updated({"distill.ascent_rule": "luck"})


def test_a_flag_and_its_field_have_one_name():
    fields = {f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields}
    fields |= {"seed", "export_batch", "log"}
    seen = set()
    for command in typer.main.get_command(app).commands.values():
        for option in command.params:
            section, dunder, name = option.name.partition("__")
            if not dunder:
                continue
            field = name if section == "run" else f"{section}.{name}"
            assert option.opts[0] == "--" + field.rsplit(".", 1)[-1].replace("_", "-"), field
            seen.add(field)
    assert seen == fields


def test_a_flag_without_a_section_is_not_the_name_of_a_field_with_another_meaning():
    """``deploy --batches`` is ``bench.batches``: the same word, the same values."""
    fields = {name for model in SECTIONS.values() for name in model.model_fields}
    same = {"deploy": {"backend", "batches", "samples", "warmup", "threads", "run_code_of_plan"}}
    same["run"] = {"accept_teacher"}
    platform = {"check": {"platform"}, "bundle": {"platform"}}  # quantize.platform: the device that the graphs are for
    for name, command in typer.main.get_command(app).commands.items():
        own = {p.opts[0][2:].replace("-", "_") for p in command.params if p.opts[0][:2] == "--" and "__" not in p.name}
        # --trust is teacher.trust wherever it stands: code of the named files may run.
        assert (own & fields) - {"trust"} == same.get(name, set()) | platform.get(name, set()), name


def test_a_field_has_one_meaning_in_all_sections():
    """``--header`` was the first line of a table for ``distill`` and a C file for ``build``."""
    meant = {"batch", "optimizer", "lr", "weight_decay", "device"}  # of the teacher's training and of the student's
    meant |= {"describe"}  # a file that describes the inputs
    seen, twice = set(), set()
    for model in SECTIONS.values():
        twice |= seen & set(model.model_fields)
        seen |= set(model.model_fields)
    assert twice <= meant


def test_a_batch_size_is_never_taken_for_that_of_the_exported_graph(tmp_path):
    """``--batch-size`` was the graph's in version 0.1; who types it today means the training's."""
    result = CliRunner().invoke(
        app, ["distill", "--data", "digits", "--batch-size", "32", "--out", str(tmp_path / "r")]
    )
    assert result.exit_code == 2
    assert "--batch" in result.output
    assert not (tmp_path / "r").exists()
    assert RunConfig.from_dict({"batch_size": 4}).export_batch == 4  # files of 0.1, written when it had one meaning
