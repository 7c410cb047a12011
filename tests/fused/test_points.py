"""Points of a step, by numbers: noise that is smooth over places is scaled as white noise is."""

from __future__ import annotations

import torch

from regkd_edge.fused.points import perturb_twin, perturbed
from regkd_edge.objectives import StepRecipe


def test_smooth_noise_is_scaled_by_sigma_per_feature():
    x = torch.randn(6, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shape = {"noise_length": 2.0, "shape": (2, 8), "channel_axis": 0, "w_pm": 1.0, "draws": 3}
    unit = perturbed(x, StepRecipe(sigma=1.0, **shape), 5, 7, perturb_twin) - x.repeat_interleave(3, 0)
    half = perturbed(x, StepRecipe(sigma=0.5, **shape), 5, 7, perturb_twin) - x.repeat_interleave(3, 0)
    torch.testing.assert_close(half, 0.5 * unit)
    each = (0.25,) * 8 + (4.0,) * 8  # one per feature: the first channel moves little, the second much
    mixed = perturbed(x, StepRecipe(sigma=each, **shape), 5, 7, perturb_twin) - x.repeat_interleave(3, 0)
    torch.testing.assert_close(mixed, torch.tensor(each, dtype=torch.float64) * unit)
    near, far = (unit[:, :7] * unit[:, 1:8]).mean(), (unit[:, :3] * unit[:, 5:8]).mean()
    assert near > 0.5 and abs(far) < near / 2  # neighbours move together
