"""One table of terms and one catalogue: a name means one thing, and a new term is a function and a row."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from regkd_edge.config import DistillConfig
from regkd_edge.objectives import KERNEL_COLUMNS, LOSS_COLUMNS, StepRecipe
from regkd_edge.recipes import RECIPES, TERMS
from regkd_edge.training import recipe_of


def test_kang2024_is_one_definition():
    assert recipe_of(DistillConfig(recipe="kang2024"), 3) == StepRecipe.kang2024()


def test_the_defaults_of_a_step_are_those_of_the_configuration():
    assert recipe_of(DistillConfig(base="mimic", terms=[]), 3) == StepRecipe()
    named = dict.fromkeys(TERMS)
    config = DistillConfig(terms=list(named))
    assert recipe_of(config, 3) == StepRecipe.kang2024()


@pytest.mark.parametrize("name", [name for name in RECIPES if "sampler" not in RECIPES[name]])
def test_a_name_of_the_catalogue_is_the_same_from_python_and_from_the_command_line(name):
    config = DistillConfig(recipe=name)
    if config.base == "hint":  # two widened networks with base mimic
        return
    over = {"second_head": config.head_weight} if config.heads == 2 else {}
    assert recipe_of(config, 3) == StepRecipe.named(name, **over)


def test_every_term_has_its_column_field_and_function():
    assert ("total", "base", *TERMS) == LOSS_COLUMNS
    for name, term in TERMS.items():
        assert term.name == name and callable(term.resolve())
        assert getattr(DistillConfig(), f"w_{name}") == term.weight
        assert term.kernel == (name in KERNEL_COLUMNS)


NEW_TERM = """
    import sys, types

    # What a contributor adds: a function, and a row in the table.
    added = types.ModuleType("added")
    def mean_answer(step):
        return (step.s["original"].mean(0) - step.t["original"].mean(0)).square().sum()
    added.mean_answer = mean_answer
    sys.modules["added"] = added
    from regkd_edge.recipes import terms
    terms.TERMS["mean"] = terms.Term("mean", "matching of the mean answer", "added:mean_answer", 0.5)

    import numpy as np
    from regkd_edge.config import DistillConfig, TeacherConfig
    from regkd_edge.data import Dataset, Table, split
    from regkd_edge.training import distill, train_teacher

    x = np.random.default_rng(0).normal(size=(120, 3))
    data = Dataset(Table(x, np.sin(x[:, :1]), ["a", "b", "c"], ["y"], "memory"), split(120, 0.2, 0.2, 0))
    teacher = train_teacher(data, TeacherConfig(teacher="mlp:8:tanh", epochs=3), 0).as_teacher()
    short = {"student": "mlp:6:tanh", "steps": 40, "evaluate_every": 20}
    student = distill(data, teacher, DistillConfig(terms=["pm", "mean"], **short), 0)
    last = student.history[-1]
    assert last["mean"] > 0 and last["pm"] > 0 and last["gm"] == 0
    assert abs(last["total"] - (last["base"] + last["pm"] + 0.5 * last["mean"])) < 1e-4
    assert student.recipe["w_mean"]["start"] == 0.5
    assert student.choice.compute == "torch" and "has no kernel" in student.choice.reason
    kept = distill(data, teacher, DistillConfig(terms=["pm"], **short), 0)
    assert kept.choice.compute == sys.argv[1] and kept.history[-1]["mean"] == 0
"""


def test_a_new_term_costs_a_function_and_a_row(tmp_path):
    from regkd_edge.fused import native

    core = "torch" if native.unavailable("cpu") else "cpu"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NEW_TERM), core], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
