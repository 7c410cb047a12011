"""The C++ readers under libFuzzer, AddressSanitizer and UBSan: short here, long by ``tools/fuzz cpp``."""

from __future__ import annotations

import pytest
from libfuzzer_build import TARGETS, build, compiler, executed, fuzz, write_seeds


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    pytest.importorskip("torch")
    clang = compiler()
    if clang is None:
        pytest.skip("needs a clang++ that brings libFuzzer")
    folder = tmp_path_factory.mktemp("libfuzzer")
    write_seeds(folder / "seeds")
    return build(folder / "programs", clang), folder / "seeds"


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_are_read_or_refused(target, programs):
    done = fuzz(*programs, target, "-runs=3000", "-max_total_time=60", "-seed=1")
    assert done.returncode == 0, done.stderr[-4000:]
    assert executed(done) >= len(list((programs[1] / target).iterdir())) > 0
