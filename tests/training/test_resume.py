"""Interrupted training continues with the same bits; a state of another training is never taken up."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.config import TeacherConfig
from regkd_edge.models import ArrayFunction, Teacher
from regkd_edge.training import distill, loop, shards, train_teacher

from .test_train import make_dataset, same_weights, short

CONFIG = short(fraction=0.5, steps=200)


@pytest.fixture(scope="module")
def whole(data, teacher):
    return distill(data, teacher, CONFIG, 0)


def stopped(data, teacher, folder, at, error=KeyboardInterrupt):
    def progress(step, *_):
        if step == at:
            raise error

    with pytest.raises(error):
        distill(data, teacher, CONFIG, 0, progress=progress, checkpoint=folder)


def equal(a, b):
    without = lambda history: [{k: v for k, v in entry.items() if k != "seconds"} for entry in history]
    return (
        same_weights(a, b)
        and without(a.history) == without(b.history)
        and (a.best_step, a.steps) == (b.best_step, b.steps)
    )


@pytest.mark.parametrize("at", [20, 100, 180])
def test_ctrl_c_between_two_looks(data, teacher, whole, tmp_path, at):
    stopped(data, teacher, tmp_path / "c", at)
    steps = []
    again = distill(data, teacher, CONFIG, 0, progress=lambda step, *_: steps.append(step), checkpoint=tmp_path / "c")
    assert steps[0] == at + 20, "it goes on where it was"
    assert equal(again, whole)


def test_ctrl_c_in_the_middle_of_the_steps(data, teacher, whole, tmp_path, monkeypatch):
    genuine, calls = shards.advance, []

    def interrupted(members, n):
        calls.append(n)
        if len(calls) == 4:
            genuine(members, 7)  # some steps of the chunk are done, then the user interrupts
            raise KeyboardInterrupt
        return genuine(members, n)

    monkeypatch.setattr(shards, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        distill(data, teacher, CONFIG, 0, checkpoint=tmp_path / "c")
    monkeypatch.setattr(shards, "advance", genuine)
    assert equal(distill(data, teacher, CONFIG, 0, checkpoint=tmp_path / "c"), whole)


def test_a_killed_process_loses_only_what_came_after_the_last_checkpoint(data, teacher, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_AFTER", -1.0)  # at every look
    stopped(data, teacher, tmp_path / "c", 100, error=MemoryError)  # nothing is written at the end, as when killed
    steps = []
    again = distill(data, teacher, CONFIG, 0, progress=lambda step, *_: steps.append(step), checkpoint=tmp_path / "c")
    assert steps[0] == 120 and equal(again, whole)


def test_a_finished_training_is_not_done_again(data, teacher, whole, tmp_path):
    distill(data, teacher, CONFIG, 0, checkpoint=tmp_path / "c")
    steps = []
    again = distill(data, teacher, CONFIG, 0, progress=lambda step, *_: steps.append(step), checkpoint=tmp_path / "c")
    assert steps == [] and equal(again, whole)


@pytest.mark.parametrize("change", ["seed", "config", "teacher", "data"])
def test_a_state_of_another_training_is_discarded(data, teacher, tmp_path, change):
    stopped(data, teacher, tmp_path / "c", 100)
    seed, config = 0, CONFIG
    if change == "seed":
        seed = 1
    elif change == "config":
        config = short(fraction=0.5, steps=220)
    elif change == "teacher":
        teacher = train_teacher(data, TeacherConfig(teacher="mlp:8:tanh", epochs=10), 1).as_teacher()
    else:
        data = make_dataset(seed=1)
    steps = []
    again = distill(
        data, teacher, config, seed, progress=lambda step, *_: steps.append(step), checkpoint=tmp_path / "c"
    )
    assert steps[0] == 20
    assert equal(again, distill(data, teacher, config, seed))


def test_the_rows_of_a_feed_and_a_teacher_without_weights_are_part_of_the_fingerprint():
    config, data, other = short(sampler="gaussian", terms=["pm"], steps=20), make_dataset(), make_dataset()
    teacher = lambda factor: Teacher(ArrayFunction(lambda x: factor * x[:, :2]), data.scalers(), "standardized", "test")
    other.y[data.split.train[0]] += 1.0
    first = distill(data, teacher(1.0), config, 0).fingerprint
    assert distill(make_dataset(), teacher(1.0), config, 0).fingerprint == first
    assert distill(other, teacher(1.0), config, 0).fingerprint != first
    assert distill(data, teacher(2.0), config, 0).fingerprint != first


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, None])
def test_a_damaged_state_is_discarded(data, teacher, whole, tmp_path, content):
    stopped(data, teacher, tmp_path / "c", 100)
    state = tmp_path / "c" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-20] if content is None else content)
    assert equal(distill(data, teacher, CONFIG, 0, checkpoint=tmp_path / "c"), whole)


def test_a_teacher_resumes_too(data, tmp_path):
    config = TeacherConfig(teacher="mlp:8:tanh", epochs=20)

    def progress(step, *_):
        if step >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_teacher(data, config, 0, progress=progress, checkpoint=tmp_path / "c")
    again = train_teacher(data, config, 0, checkpoint=tmp_path / "c")
    assert equal(again, train_teacher(data, config, 0))
    assert torch.isfinite(again.module.layers[0].weight).all()


@pytest.mark.filterwarnings("ignore:for layers.*no-op")
def test_the_averages_of_a_stored_state_go_where_the_student_is(data, teacher, tmp_path, monkeypatch):
    """Torch's ``meta`` device stands for a GPU: it shows where tensors are and computes nothing."""
    stopped(data, teacher, tmp_path / "c", 100)
    resume, members = loop.resume, []

    def looked(member, *rest):
        member.student.to("meta")
        resume(member, *rest)
        members.append(member)
        raise KeyboardInterrupt  # nothing can be trained there

    monkeypatch.setattr(loop, "resume", looked)
    with pytest.raises(KeyboardInterrupt):
        distill(data, teacher, CONFIG, 0, checkpoint=tmp_path / "c")
    state = members[0].state
    assert state.step == 100 and list(state.slots) == ["m", "v"]
    assert {t.device.type for tensors in state.slots.values() for t in tensors} == {"meta"}


SAMPLED = {
    "generator": {"no_data": True, "sampler": "generator", "w_base": "0..1/10", "w_sampler": "1..0/10"},
    "generator beside rows": {"sampler": "generator", "base": "ail"},
    "direct": {"no_data": True, "sampler": "direct", "terms": ["gm"]},
    "anchored": {"no_data": True, "sampler": "anchored"},
    "latent beside rows": {"sampler": "latent", "base": "mix"},
    "two heads": {"base": "tor", "heads": 2},
    "hint in the middle": {"base": "hint", "hint_layers": [0, 0]},
    "mixed": {"no_data": True, "sampler": "mixed"},
}


@pytest.mark.usefixtures("short_latent")
@pytest.mark.parametrize("kind", SAMPLED)
def test_every_sampler_and_student_continues_with_the_same_bits(data, teacher, tmp_path, kind):
    """The samplers that learn keep it in the checkpoint; what is fitted before the first step is fitted again."""
    config = short(**{"terms": ["pm", "gm"], "steps": 120, **SAMPLED[kind]})

    def progress(step, *_):
        if step == 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(data, teacher, config, 0, progress=progress, checkpoint=tmp_path / "c")
    steps = []
    again = distill(data, teacher, config, 0, progress=lambda step, *_: steps.append(step), checkpoint=tmp_path / "c")
    assert steps[0] == 80
    assert equal(again, distill(data, teacher, config, 0))
