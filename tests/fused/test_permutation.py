"""Minibatches without replacement: each epoch is a permutation, a different one, and a step can be asked for alone."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.fused.permutation import batch_rows, epoch_rows


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 9, 64, 100, 1000, 4097])
def test_an_epoch_is_a_permutation(n):
    assert sorted(epoch_rows(5, 0, n).tolist()) == list(range(n))
    assert sorted(epoch_rows(2**62 + 1, 2**33, n).tolist()) == list(range(n))


def test_epochs_and_seeds_differ():
    first = epoch_rows(5, 0, 1000)
    for other in (epoch_rows(5, 1, 1000), epoch_rows(6, 0, 1000), torch.arange(1000)):
        assert (first == other).sum() < 10  # 1 is expected by chance


@pytest.mark.parametrize("n,batch", [(10, 3), (10, 10), (4, 11), (1, 3)])
def test_steps_walk_the_stream_of_epochs(n, batch):
    stream = torch.cat([epoch_rows(9, epoch, n) for epoch in range(40)])
    for step in range(8):
        assert torch.equal(batch_rows(9, step, batch, n), stream[step * batch : (step + 1) * batch])


def test_every_position_is_equally_likely_for_a_row():
    n, epochs = 8, 4000
    counts = torch.zeros(n, n)
    for epoch in range(epochs):
        counts[torch.arange(n), epoch_rows.__wrapped__(1, epoch, n)] += 1
    expected = epochs / n
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 49 + 5 * (2 * 49) ** 0.5  # (n-1)^2 degrees of freedom, 5 standard deviations above the mean
