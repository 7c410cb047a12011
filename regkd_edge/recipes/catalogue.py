"""Named sets of distillation fields: ``--recipe NAME``, or ``recipe: NAME`` in YAML; explicit fields take precedence.

Plain data without torch. Constants that a paper does not publish are ours (see the fields' own descriptions).
"""

from __future__ import annotations

from typing import Any

from . import defaults
from .terms import TERMS

__all__ = ["RECIPES", "WIDE"]

# The training of the data-free papers, from the code of Zhou & Chiam 2023 (which runs Kang & Kang's method too).
_TRAINING_2023 = {
    "optimizer": "rmsprop",
    "lr": 1e-3,
    "lr_schedule": "constant",
    "weight_decay": 1e-5,
    "batch": 100,
    "steps": 20000,
}

# The three terms with the constants of tools/reproduce/kang2024.py and nguyen2021.py, which are the defaults.
_2024 = ("pm", "abm", "gm")
_TERMS_2024 = {
    "terms": list(_2024),
    **{f"w_{name}": TERMS[name].weight for name in _2024},
    "sigma": [defaults.SIGMA],
    "ascent_size": defaults.ASCENT_SIZE,
}

RECIPES: dict[str, dict[str, Any]] = {
    # Copy the teacher's outputs on the rows, nothing else.
    "mimic": {"base": "mimic", "terms": []},
    # Hints: a hidden layer besides the outputs (Romero et al. 2015; the weight is ours).
    "romero2015": {"base": "hint", "nu": 1.0, "terms": []},
    # Teacher-bounded regression (Chen et al. 2017): an extra loss while the student is worse than the teacher.
    "chen2017": {"base": "tbr", "nu": 0.5, "margin": 0.0, "terms": []},
    # Attentive imitation (Saputra et al. 2019): follow the teacher where it is right about the label.
    "saputra2019": {"base": "ail", "alpha": 0.5, "terms": []},
    # Relational distances besides the outputs (Park et al. 2019).
    "park2019": {"base": "rkd", "nu": 1.0, "terms": []},
    # Teacher outlier rejection with a head for the labels and one for the teacher (Imaoka et al. 2020; constants of a
    # third party's code).
    "imaoka2020": {"base": "tor", "outlier_rule": "mean", "outlier_k": 2.0, "outlier_loss": "root", "heads": 2,
                   "head_weight": 0.5, "export_head": "label", "terms": []},
    # The same with outliers found by the median and left out (ours): many gross outliers do not hide each other, and
    # clean labels cost little (tools/reproduce/imaoka2020.py).
    "imaoka2020-robust": {"base": "tor", "outlier_rule": "median", "outlier_k": 3.5, "outlier_loss": "drop", "heads": 2,
                          "head_weight": 0.5, "export_head": "label", "terms": []},
    # Rows from another distribution: points of a tuned latent added to rows weighted by trust (Nguyen et al. 2021,
    # which is about classification; the carry-over is ours), and all terms on both: without them it costs accuracy
    # where nothing has shifted (tools/reproduce/nguyen2021.py; there "latent" is the recipe without terms).
    "nguyen2021": {"base": "mix", "sampler": "latent", "w_sampler": 1.0, **_TERMS_2024},
    # Perturbation, adversarial and gradient matching for few rows (Kang & Kang 2024; all constants are ours).
    "kang2024": {"base": "mimic", **_TERMS_2024},
    # No rows: points of an adversarial generator, gradually replaced by Gaussian inputs (Kang & Kang 2021).
    "kang2021": {"no_data": True, "sampler": "generator", "base": "mimic", "w_base": "0..1/10", "w_sampler": "1..0/10",
                 "terms": [], **_TRAINING_2023},
    # No rows: points of bounded ascent, gradually replaced by Gaussian inputs (Zhou & Chiam 2023).
    "zhou2023": {"no_data": True, "sampler": "direct", "base": "mimic", "w_base": "0..1/10", "w_sampler": "1..0/10",
                 "terms": [], "ascent_rule": "rmsprop", "ascent_steps": 2, "ascent_size": 0.1, **_TRAINING_2023},
    # No rows: inputs anchored at random outputs of the teacher (Zhou & Chiam 2023, protein study; the mixture is ours).
    "zhou2023-anchored": {"no_data": True, "sampler": "anchored", "base": "mimic", "w_base": 0.5, "w_sampler": 0.5,
                          "terms": [], **_TRAINING_2023},
    # No rows: values and gradients on inputs, half of them as described (Gaussian without a known range), half
    # heavy-tailed (ours; constants chosen on validation rows, see tools/reproduce/zhou2023.py).
    "data-free": {"no_data": True, "sampler": "mixed", "base": "mimic", "terms": ["gm"], "w_gm": 0.3,
                  "optimizer": "adam", "lr": 1e-2, "batch": 100, "steps": 20000},
    # No rows, recipe auto: values on inputs of three kinds; from WIDE inputs on also where the two networks differ,
    # since there random points miss the few directions that matter (ours; measured in docs/concepts/data-free.md). The
    # student begins with neurons of its teacher where it can; else as FROM_RANDOM says.
    "data-free-values": {"no_data": True, "sampler": "broad", "base": "mimic", "terms": [], "initial": "teacher",
                         "optimizer": "adam", "lr": 3e-3, "batch": 100, "steps": 20000},
    "data-free-search": {"no_data": True, "sampler": "broad", "base": "mimic", "terms": ["abm"], "w_abm": 1.0,
                         "ascent_start": "inputs", "initial": "teacher", "optimizer": "adam", "lr": 2e-3, "batch": 50,
                         "steps": 20000},
}  # fmt: skip

FROM_RANDOM = {"initial": "random", "lr": 5e-3}
"""Of recipe auto without data, where a student cannot begin with neurons of its teacher."""

WIDE = 64
"""Inputs from which recipe auto without data is data-free-search, below data-free-values."""
