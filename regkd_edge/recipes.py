"""Named sets of distillation fields: ``--recipe NAME``, or ``recipe: NAME`` in YAML; any field given beside it wins.

Plain data without torch. What a paper leaves open is our choice (see the fields' own descriptions).
"""

from __future__ import annotations

from typing import Any

__all__ = ["RECIPES"]

RECIPES: dict[str, dict[str, Any]] = {
    # Copy the teacher's answers on the rows, nothing else.
    "mimic": {"base": "mimic", "terms": []},
    # Attentive imitation (Saputra et al. 2019): follow the teacher where it is right about the label.
    "saputra2019": {"base": "ail", "alpha": 0.5, "terms": []},
    # Teacher-bounded regression (Chen et al. 2017): an extra pull while the student is worse than the teacher.
    "chen2017": {"base": "tbr", "nu": 0.5, "margin": 0.0, "terms": []},
    # Teacher outlier rejection (Imaoka et al. 2020), one head.
    "imaoka2020": {"base": "tor", "terms": []},
    # Relational distances beside the answers (Park et al. 2019).
    "park2019": {"base": "rkd", "nu": 1.0, "terms": []},
    # Perturbation, adversarial and gradient matching for few rows (Kang & Kang 2024; all constants are ours).
    "kang2024": {"base": "mimic", "terms": ["pm", "abm", "gm"], "w_pm": 1.0, "w_abm": 1.0, "w_gm": 0.1},
    # No row at all: values and gradients on half Gaussian, half heavy-tailed inputs (ours; see tools/reproduce/zhou2023.py).
    "data-free": {"no_data": True, "sampler": "mixed", "base": "mimic", "terms": ["gm"], "w_gm": 0.3, "optimizer": "adam",
                  "lr": 1e-2, "batch": 100, "steps": 20000},  # fmt: skip
}
