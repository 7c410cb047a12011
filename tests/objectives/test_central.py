"""Central differences in the place of a gradient that a teacher does not have."""

from __future__ import annotations

import torch

from regkd_edge.models import MLP, ArrayFunction
from regkd_edge.objectives.central import CentralDifferences
from regkd_edge.objectives.networks import is_differentiable, jacobian_products


def test_the_derivative_is_that_of_the_function():
    network = MLP([3, 8, 2], "tanh", generator=torch.Generator().manual_seed(0)).double()
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = jacobian_products(network, x, None, graph=False)[1]
    calls = []

    def ask(rows):
        calls.append(len(rows))
        with torch.no_grad():
            return network(torch.from_numpy(rows)).numpy()

    teacher = CentralDifferences(ArrayFunction(ask), 1e-3)
    assert is_differentiable(teacher)
    values, products = jacobian_products(teacher, x, None, graph=False)
    assert (values == network(x)).all()
    assert (products - exact).abs().max() < 1e-6  # the error is of the order of half^2 = 1e-6
    assert len(calls) == 1 + 2 * 3  # one answer and two an input, however many outputs
