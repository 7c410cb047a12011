"""The shrunk covariance is scikit-learn's, without importing it."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.sampling.covariance import shrunk_covariance


@pytest.mark.parametrize(("n", "d"), [(5, 12), (40, 3), (2000, 6)])
def test_it_is_ledoit_and_wolfs(n, d):
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(n)
    z = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3.0
    assert np.allclose(shrunk_covariance(z), covariance.ledoit_wolf(z)[0])
    assert np.linalg.eigvalsh(shrunk_covariance(z)).min() > 0


def test_rows_that_are_all_alike_have_none():
    assert (shrunk_covariance(np.ones((4, 2))) == 0).all()
