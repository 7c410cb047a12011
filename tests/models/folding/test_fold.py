"""Modules that are MLPs in disguise become one, equal to float32's precision; what is none stays as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from regkd_edge.models.convert import as_mlp, shared_mlp
from regkd_edge.models.folding.follow import chain_of
from regkd_edge.models.folding.symbolic_row import NotAChain


def normalization(n):
    layer = nn.BatchNorm1d(n)
    nn.init.normal_(layer.running_mean)
    nn.init.uniform_(layer.running_var, 0.5, 2)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


class Net(nn.Module):
    """Two layers whose way through is given by a function."""

    def __init__(self, way, hidden=6):
        super().__init__()
        self.way = way
        self.a, self.b, self.c = nn.Linear(4, hidden), nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, 1)
        self.norm = normalization(hidden)
        self.register_buffer("mean", torch.randn(4))
        self.register_buffer("scale", torch.rand(4) + 0.5)

    def forward(self, x):
        return self.way(self, x)


def scaled_inside(net, x):
    x = (x.view(x.size(0), -1).float() - net.mean) / net.scale
    x = F.dropout(F.relu(net.norm(net.a(x))), 0.3, net.training)
    return (net.c(torch.relu(net.b(x))) * 12.5 - 3).squeeze(-1)


def swish_by_hand(net, x):
    h = net.a(x)
    return net.c(h * torch.sigmoid(h))


def gelu_by_hand(net, x):
    h = net.a(x)
    return net.c(0.5 * h * (1 + torch.erf(h / 2**0.5)))


def columns_in_another_order(net, x):
    return net.c(torch.tanh(net.a(torch.cat([x[:, 2:], x[:, [1, 0]]], dim=1))))


def functional(net, x):
    return F.linear(F.elu(torch.addmm(net.a.bias, x, net.a.weight.T)), net.c.weight, net.c.bias).unsqueeze(-1)


def linear_skip(net, x):
    h = net.a(x)
    return net.c(torch.relu(h + net.b(h)))


def sigmoid_layers(net, x):
    return net.c(torch.sigmoid(net.b(torch.sigmoid(net.a(x)))))


@pytest.mark.parametrize(
    ("way", "activation"),
    [
        (scaled_inside, "relu"),
        (swish_by_hand, "silu"),
        (gelu_by_hand, "gelu"),
        (columns_in_another_order, "tanh"),
        (functional, "elu"),
        (linear_skip, "relu"),
        (sigmoid_layers, "tanh"),
        (lambda net, x: {"y": net.c(F.softplus(net.a(x)))}["y"], "softplus"),
        (lambda net, x: F.leaky_relu(net.a(x.flatten(1)).add_(1.0)), "leaky_relu"),
    ],
)
def test_ways_to_write_an_mlp(way, activation):
    torch.manual_seed(0)
    net = Net(way).eval()
    mlp = as_mlp(net)
    assert mlp is not None and mlp.activation == activation
    x = 3 * torch.randn(50, 4)
    # weights are multiplied in float64 and rounded once; the module rounds at every layer
    assert torch.allclose(mlp(x), net(x).reshape(50, -1), atol=1e-5, rtol=1e-5)
    assert {p.data_ptr() for p in mlp.parameters()}.isdisjoint(p.data_ptr() for p in net.parameters())


@pytest.mark.parametrize(
    ("way", "why"),
    [
        (lambda net, x: net.c(torch.tanh(net.a(x)) + net.a(x)), "residual"),
        (lambda net, x: net.c(torch.relu(net.a(x)) + torch.tanh(net.b(net.a(x)))), "different activations"),
        (lambda net, x: net.c(torch.tanh(net.b(torch.relu(net.a(x))))), "several activations"),
        (lambda net, x: net.c(F.layer_norm(net.a(x), (6,))), "layer_norm"),
        (lambda net, x: net.c(F.elu(net.a(x), 0.5)), "does not have"),
        (lambda net, x: (net.c(net.a(x)), x), "several outputs"),
        (lambda net, x: net.c(torch.relu(net.a(x)) * net.a(x)), "two different branches|does not have"),
        (lambda net, x: net.c(F.dropout(net.a(x), 0.5)), "always on"),
        (lambda net, x: net.c(net.a(x) / x.size(0)), "another shape"),
        (lambda net, x: net.c(net.a(x)) if x.sum() > 0 else net.c(-net.a(x)), "cannot follow"),
        (lambda net, x: net.c(torch.softmax(net.a(x), 1)), "softmax"),
        (lambda net, x: net.c(net.a(x[:1])), "rows"),
    ],
)
def test_what_is_no_mlp_says_why(way, why):
    net = Net(way).eval()
    with pytest.raises(NotAChain, match=why):
        chain_of(net).mlp(torch.float32)
    assert as_mlp(net) is None


def test_layers_in_modules_and_weights_that_are_computed():
    torch.manual_seed(0)
    weighted = nn.utils.parametrizations.weight_norm(nn.Linear(4, 6))
    net = nn.Sequential(
        normalization(4), nn.Sequential(weighted, nn.Identity(), nn.GELU()), nn.Flatten(), nn.Linear(6, 2)
    )
    mlp = as_mlp(net.eval())
    x = torch.randn(20, 4)
    assert mlp.widths == [4, 6, 2] and torch.allclose(mlp(x), net(x), atol=1e-5)


def test_hooks_are_folded_where_they_are_linear_and_else_left_alone():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    x = torch.randn(20, 4)
    hook = net[0].register_forward_hook(lambda module, args, out: out + 1)
    assert torch.allclose(as_mlp(net)(x), net(x), atol=1e-5)
    hook.remove()
    net[0].register_forward_hook(lambda module, args, out: torch.sin(out))
    assert as_mlp(net) is None


class Careful(nn.Module):
    """What torch.fx cannot follow: a look at the shape, and arguments that decide the way."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 6), normalization(6), nn.SiLU(), nn.Linear(6, 2))

    def forward(self, x, return_hidden=False, mask=None):
        if x.dim() == 1:
            x = x.unsqueeze(0)
        if x.shape[-1] != 4:
            raise ValueError("four inputs")
        h = self.net(x.view(len(x), -1))
        return (h, x) if return_hidden else h if mask is None else h * mask


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: net,
        lambda net: torch.jit.trace(net.net, torch.randn(3, 4)),
        lambda net: torch.jit.script(net.net),
        lambda net: nn.utils.spectral_norm(net.net[0]) and net.eval(),
    ],
    ids=["python", "traced", "scripted", "spectral norm by a hook"],
)
def test_what_is_recorded_while_rows_pass(wrap):
    torch.manual_seed(0)
    net = wrap(Careful().eval())
    x = torch.randn(20, 4)
    mlp = as_mlp(net, 4)
    assert mlp.widths == [4, 6, 2] and torch.allclose(mlp(x), net(x), atol=1e-5)


def test_a_number_of_recorded_rows_is_no_constant():
    net = Net(lambda net, x: net.c(torch.relu(net.a(x))) / len(x)).eval()
    assert as_mlp(net, 4) is None


def product(net, x):
    return net.c(torch.relu(torch.einsum("bi,oi->bo", x, net.a.weight) + net.a.bias))


def of_selected(net, x):
    x = torch.index_select(torch.cat([x[:, :2], x], 1), 1, torch.tensor([0, 3, 4, 5]))
    first, second = net.a(x).chunk(2, -1)
    return net.c(torch.relu(torch.cat([second, first], 1)[:, torch.tensor([0, 1, 2, 5, 4, 3])]))


def mean_of_columns(net, x):
    h = net.a(x)
    return net.c(torch.relu(h - h.mean(1, keepdim=True) + x.sum(-1, keepdim=True)))


@pytest.mark.parametrize("way", [product, of_selected, mean_of_columns])
def test_products_selections_and_means_are_linear_maps(way):
    torch.manual_seed(0)
    net = Net(way).eval()
    x = torch.randn(20, 4)
    assert torch.allclose(as_mlp(net)(x), net(x), atol=1e-5)


def test_inputs_that_a_module_writes_into_are_not_shared():
    torch.manual_seed(0)
    net = Net(lambda net, x: net.c(torch.relu(net.a(x.sub_(net.mean))))).eval()
    x = torch.randn(20, 4)
    assert torch.allclose(as_mlp(net)(x), net(x.clone()), atol=1e-5)


def test_statistics_of_the_batch_are_no_linear_map():
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 1)).eval()
    assert as_mlp(net) is None


def test_exported_programs_are_followed_too():
    net = Net(scaled_inside).eval()
    rows = torch.export.Dim("rows")
    program = torch.export.export(net, (torch.randn(3, 4),), dynamic_shapes=({0: rows},))
    mlp = as_mlp(program.module(), 4)
    x = torch.randn(20, 4)
    assert mlp.activation == "relu" and torch.allclose(mlp(x)[:, 0], net(x), atol=1e-5)


def test_a_plain_sequence_shares_its_weights_for_training():
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Sequential(nn.Linear(3, 3), nn.Tanh()), nn.Linear(3, 1))
    mlp = shared_mlp(net)
    assert [p.data_ptr() for p in mlp.parameters()] == [p.data_ptr() for p in net.parameters()]
    tied = nn.Linear(3, 3)
    assert shared_mlp(nn.Sequential(tied, nn.ReLU(), tied)) is None
    assert shared_mlp(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(0.1), nn.Linear(3, 1))) is None  # it trains
    assert shared_mlp(nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 1))) is None
