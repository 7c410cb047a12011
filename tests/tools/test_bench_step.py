"""The table of ``tools/bench/step.py``: what it writes from known figures, and that an interrupted run goes on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regkd_edge._core")

BENCH = Path(__file__).parents[2] / "tools" / "bench"
sys.path.insert(0, str(BENCH))

import step  # noqa: E402
from step_providers import RULE_ONLY, SHAPES, cases, providers  # noqa: E402

TANH = ["tanh"]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def figures(us):
    return {"us": us, "all": [us], "steps": 1}


def result(case, **by):
    words = {n: "-".join(map(str, getattr(case, n))) for n in ("teacher", "student")}
    return {"case": {**case.__dict__, **words}, "flop": case.flop, "floor_us": 5.0, "providers": by}


def test_the_flop_of_a_case_is_that_of_the_formula():
    value, gradient, ascent = cases(["small"], ["value", "gradient", "ascent"], TANH)
    teacher, student = 8 * 64 + 64 * 64 + 64, 8 * 32 + 32 * 32 + 32
    assert value.flop == 2 * 128 * (teacher + 3 * student)
    assert gradient.flop == 2 * 128 * (2 * teacher + 6 * student)
    assert ascent.flop == 2 * 128 * (2 * (2 * teacher + 6 * student) + 2 * 5 * (teacher + student))
    assert cases(["small"], ["gradient"], ["relu"])[0].flop == 2 * 128 * (2 * teacher + 4 * student)


def test_the_usual_run_has_every_case_of_the_issue():
    arguments = step.arguments_of(["--device", "cpu"])
    chosen = cases(*(v.split(",") for v in (arguments.shapes, arguments.modes, arguments.activations)))
    assert len(chosen) == 4 * 3 * 3 + 1 and not {case.name for case in chosen} & set(RULE_ONLY)
    assert {case.name for case in chosen} == {*SHAPES, "direct"} - set(RULE_ONLY)


@pytest.mark.parametrize("device, members", [("cpu", 16), ("cuda", 100)])
def test_a_table_from_known_figures(device, members):
    (case,) = cases(["small"], ["value"], TANH)
    known = providers(device)
    by = {"eager": figures(1000.0), "compile": {"reason": "NotImplementedError: no"}, "fused many": figures(40.0)}
    by[f"ensemble of {members}"] = figures(800.0)
    by["jax"], by[f"jax vmap of {members}"] = figures(120.0), figures(min(2000.0, 119.0 * members))
    by["jax default"] = figures(1.0)  # TF32: not a peer
    whole = {"seconds": [1.0, 3.0, 2.0], "compute": device}
    text = step.page({"device": "a machine"}, [result(case, **by)], known, whole, ["wide value tanh"])
    assert "- device: a machine" in text and "- compile: no figure in some rows (NotImplementedError: no)" in text
    assert f"back end '{device}': 2.00 s (of 1.00, 3.00, 2.00)" in text
    assert "- NOT MEASURED, the time was up: wide value tanh" in text
    head, _, line = text.strip().splitlines()[-3:]
    cells = dict(zip((c.strip() for c in head.split("|")), (c.strip() for c in line.split("|"))))
    assert cells["networks"] == "8-64-64-1 -> 8-32-32-1" and cells["floor us"] == "5.0"
    assert cells["eager / fused many"] == "25.0"
    assert cells[f"eager / ensemble of {members}"] == f"{1000 * members / 800:.1f}"
    assert cells["best peer"] == "jax" and cells["best peer / fused many"] == "3.0"
    assert (
        cells[f"best peer / ensemble of {members}"] == f"{min(2000.0, 119.0 * members) / 800:.1f}"
    )  # an ensemble of JAX's, not as many steps
    assert "compile us" not in cells  # a column without any figure


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch):
    measured = []

    def time_case(case, *_):
        if len(measured) == 2:
            measured.append("interrupted")
            raise KeyboardInterrupt
        measured.append(case.key)
        return {"eager": figures(10.0), "fused many": figures(2.0)}

    monkeypatch.setattr(step, "time_case", time_case)
    monkeypatch.setattr(step, "peak", lambda device: 1e11)
    monkeypatch.setattr(step, "whole_run", lambda device: {"seconds": [1.5], "compute": "cpu"})
    command = ["--device", "cpu", "--shapes", "small,direct", "--activations", "tanh", "--out", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        step.main(command)
    assert [p.name for p in tmp_path.iterdir()] == ["step-cpu.partial"]  # no table of half a run
    step.main(command)
    before, after = ["small value tanh", "small gradient tanh"], ["small ascent tanh", "direct direct tanh"]
    assert measured == [*before, "interrupted", *after]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-cpu.json", "step-cpu.md"]
    stored = json.loads((tmp_path / "step-cpu.json").read_text())
    assert len(stored["results"]) == 4 and stored["not_measured"] == [] and stored["whole_run"]["seconds"] == [1.5]


def test_what_a_limit_leaves_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "time_case", lambda *_: pytest.fail("the time is up before the first line"))
    monkeypatch.setattr(step, "peak", lambda device: 1e11)
    one = ["--device", "cpu", "--shapes", "small", "--modes", "value", "--activations", "tanh"]
    step.main([*one, "--limit", "-1", "--out", str(tmp_path)])
    assert "NOT MEASURED, the time was up: small value tanh" in (tmp_path / "step-cpu.md").read_text()


def test_a_case_is_timed_by_every_provider_that_can(monkeypatch):
    (case,) = cases(["small"], ["gradient"], TANH)
    torch.set_num_threads(1)
    by = step.time_case(case, "cpu", 2, 0.002, 0.01, 1e11, providers("cpu"))
    assert set(by) == set(providers("cpu"))
    for name in ("eager", "fused 1 step", "fused many", "ensemble of 16"):
        assert by[name]["us"] > 0 and len(by[name]["all"]) >= 2
    assert "double backward" in by["compile"]["reason"] and "needs a GPU" in by["CUDA graph"]["reason"]
    slow = step.time_case(case, "cpu", 2, 0.002, 0.01, case.flop / (4 * step.LONGEST_CALL), providers("cpu"))
    assert "one call would take more than" in slow["eager"]["reason"]


@pytest.mark.parametrize(
    "name, mode",
    [
        *(("torch.func compiled", mode) for mode in ("value", "gradient")),
        *(("jax", mode) for mode in ("value", "gradient", "ascent", "direct")),
        ("jax vmap of 16", "ascent"),
    ],
)
def test_functional_providers_train_as_eager_does(name, mode, monkeypatch):
    """Without noise all take the same steps: the parameters after three are eager PyTorch's."""
    import step_functional
    import step_jax
    from step_providers import Case

    from regkd_edge.models.mlp import MLP

    if name.startswith("jax"):
        jax = pytest.importorskip("jax")
        monkeypatch.setattr(jax.random, "normal", lambda key, shape: jax.numpy.zeros(shape))
    else:
        monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    for module in (step_functional, step_jax):
        monkeypatch.setattr(module, "RATE", 1e-2)
    case = Case("tiny", (3, 7, 1), (3, 5, 1), 6, mode, "tanh")
    g = torch.Generator().manual_seed(0)
    teacher, student = MLP(case.teacher, "tanh", generator=g).requires_grad_(False), MLP(case.student, generator=g)
    student.activation = "tanh"
    x = torch.randn(6, 3, generator=g)
    known = providers("cpu")
    ours = known[name](case, student, teacher, x)
    ours.run(3)
    eager = known["eager"](case, student, teacher, x)
    for group in eager.optimizer.param_groups:
        group["lr"] = 1e-2
    eager.run(3)
    found = ours.carry[0] if name.startswith("jax") else ours.student
    expected = torch.cat([p.detach().reshape(-1) for p in student.parameters()])
    for member in range(getattr(ours, "members", 1)):
        flat = [torch.as_tensor(p.tolist()) for layer in found for p in layer]
        flat = [p[member] for p in flat] if "vmap" in name else flat
        torch.testing.assert_close(torch.cat([p.reshape(-1) for p in flat]), expected, rtol=0, atol=1e-5)


def test_the_gpu_table_holds_what_was_timed_on_both(tmp_path, monkeypatch, capsys):
    import gpu_table

    from regkd_edge.fused import gain

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    small, wide = cases(["small", "wide"], ["gradient"], TANH)
    both = result(small, **{"fused many": figures(20.0), "fused many on its CPU": figures(60.0)})
    measured = {"about": {"device": "NVIDIA Test 9000"}, "results": [both, result(wide, eager=figures(1.0))]}
    path = tmp_path / "step-cuda.json"
    path.write_text(json.dumps(measured))
    assert gpu_table.main([str(path)]) == 0
    stored = json.loads(gain.table_path("NVIDIA Test 9000").read_text())
    assert stored["rows"] == [{"flops": small.flop, "cpu_us": 60.0, "cuda_us": 20.0}]
    path.write_text(json.dumps({**measured, "results": []}))
    assert gpu_table.main([str(path)]) == 1 and "no table is written" in capsys.readouterr().err
