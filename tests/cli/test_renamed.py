"""Flags and fields of version 0.1 still mean what they meant."""

from __future__ import annotations

import pytest

from regkd_edge.cli.renamed import current
from regkd_edge.config import RunConfig
from regkd_edge.errors import UserError


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
        (["build", "r", "--backend", "native"], ["build", "r", "--backend", "native"]),
        (["distill", "r", "--student", "--inputs"], ["distill", "r", "--student", "--units"]),
    ],
)
def test_old_flags_have_their_new_names(old, new):
    assert current(old) == new


def test_a_yaml_of_version_0_1_is_read():
    config = RunConfig.from_dict(
        {
            "teacher": {"inputs": "standardized"},
            "distill": {"backend": "torch"},
            "quantize": {"placer": "own", "finetune": True, "finetune_steps": 7, "inputs": "i.yaml", "target": "orin"},
        }
    )
    quantize = config.quantize
    assert (config.teacher.units, config.distill.compute) == ("standardized", "torch")
    assert (quantize.quantizer, quantize.qat, quantize.qat_steps) == ("own", True, 7)
    assert (quantize.describe, quantize.platform) == ("i.yaml", "orin")
    assert "placer" not in config.to_yaml()
    with pytest.raises(UserError, match="unknown field quantize.placr"):
        RunConfig.from_dict({"quantize": {"placr": "own"}})


def test_an_old_name_given_later_wins_over_what_was_stored():
    assert RunConfig().updated({"quantize.placer": "onnxruntime"}).quantize.quantizer == "onnxruntime"
