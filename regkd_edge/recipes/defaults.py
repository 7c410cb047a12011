"""Constants that no paper publishes, each once: the defaults of the configuration and of ``StepRecipe`` alike."""

from __future__ import annotations

__all__ = ["ALPHA", "ASCENT_CANDIDATES", "ASCENT_RULE", "ASCENT_SIZE", "ASCENT_STEPS", "DRAWS", "HEAD_WEIGHT", "MARGIN",
           "NU", "OLD_ASCENT_RULES", "OUTLIER_K", "OUTLIER_LOSS", "OUTLIER_RULE", "POINT_KINDS", "SIGMA",
           "TEACHER_STEP"]  # fmt: skip

POINT_KINDS = ("original", "perturbed", "ascended")
ALPHA = 0.5  # share of the label in blend and ail
NU, MARGIN = 0.5, 0.0  # tbr (Chen et al. 2017)
OUTLIER_RULE, OUTLIER_K, OUTLIER_LOSS = "mean", 2.0, "root"  # tor, of a third party's code
HEAD_WEIGHT = 0.5
SIGMA = 0.3  # standard deviations of a feature
DRAWS = 1
ASCENT_RULE, ASCENT_STEPS, ASCENT_SIZE = "rmsprop", 2, 0.1  # as in the code of Zhou & Chiam 2023
OLD_ASCENT_RULES = {"candidates": "random"}  # under their names of version 0.1, which files of then still have
ASCENT_CANDIDATES = 16
TEACHER_STEP = 0.1  # half width of central differences: trees are flat over shorter ones
