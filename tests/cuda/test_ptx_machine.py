"""tools/lib/ptx itself: right kernels pass, and each kind of wrong one is reported with its place."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from cuda_emulation import HERE, ptx, ptx_cache  # noqa: F401

THREADS = 64


class Call(ctypes.Structure):
    _fields_ = [("x", ctypes.c_void_p), ("y", ctypes.c_void_p), ("flag", ctypes.c_void_p), ("n", ctypes.c_int)]


def build(mode, cache):
    try:
        return ptx.build([HERE / "ptx_faults.cu"], None, cache, mode=mode)
    except ptx.Unavailable as why:
        pytest.skip(f"PTX cannot be compiled and run here: {why}")


@pytest.fixture(scope="module")
def machine(ptx_cache):  # noqa: F811
    return build("check", ptx_cache)


@pytest.fixture(scope="module")
def counting(ptx_cache):  # noqa: F811
    return build("count", ptx_cache)


def run(machine, kernel, blocks=1, shared=4 * THREADS, flag=True):
    """(status, y) of a launch of 64 threads a block."""
    x, y, up = np.arange(1, THREADS + 1, dtype=np.float32), np.zeros(THREADS, np.float32), np.zeros(1, np.uint32)
    machine.forget()
    for name, array in (("x", x), ("y", y), ("flag", up)):
        machine.window(array, name)
    call = Call(x.ctypes.data, y.ctypes.data, up.ctypes.data if flag else None, THREADS)
    return machine.launch(kernel, (blocks, 1), THREADS, shared, bytes(call)), y


@pytest.mark.parametrize(
    "kernel, words",
    [
        ("misaligned", "16 bytes at an address that is 4 modulo 16: misaligned"),
        ("null_pointer", "a write at a null pointer"),
        ("beyond_the_end", "which is in no memory of the kernel"),
        ("copy_beyond_the_end", "which is in no memory of the kernel"),
        ("beyond_shared", "shared memory ends at 256, 4 bytes at 256 are asked for"),
    ],
)
def test_a_wrong_access_stops_the_launch_and_is_placed(machine, kernel, words):
    status, _ = run(machine, kernel, flag=kernel != "null_pointer")
    assert status == 1
    assert words in machine.error() and f"{kernel} (ptx_faults.cu:" in machine.error()


@pytest.mark.parametrize(
    "kernel", ["neighbour_without_barrier", "lane_without_barrier", "warps_with_warp_barrier", "write_after_read"]
)
def test_an_access_that_no_barrier_orders_is_a_race(machine, kernel):
    assert run(machine, kernel)[0] == 0
    races = machine.races()
    assert races and all(race.window == "shared memory" for race in races)
    assert {race.kind for race in races} <= {"read after write", "write after read"}


@pytest.mark.parametrize("kernel, distance", [("neighbour_with_barrier", 32), ("lane_with_warp_barrier", 1)])
def test_a_barrier_orders(machine, kernel, distance):
    status, y = run(machine, kernel)
    assert status == 0 and not machine.races()
    rows = np.arange(1, THREADS + 1).reshape(-1, 2 * distance if distance > 1 else 32)
    np.testing.assert_array_equal(y, np.roll(rows, -distance, axis=1).ravel())


def test_a_deleted_barrier_is_a_race(machine):
    (line,) = [b for b in machine.barriers if "neighbour_with_barrier" in machine.place(b)]
    machine.settings(skipped_barrier=line)
    try:
        run(machine, "neighbour_with_barrier")
    finally:
        machine.settings()
    assert machine.races()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_blocks_are_ordered_by_release_acquire_and_a_barrier(machine, order):
    machine.settings(order=order)
    try:
        status, y = run(machine, "message_with_all", blocks=2)
    finally:
        machine.settings()
    assert status == 0 and not machine.races()
    np.testing.assert_array_equal(y, 2.0)


@pytest.mark.parametrize("lacks", ["release", "acquire", "barrier"])
def test_a_message_that_lacks_a_piece_is_a_race_between_blocks(machine, lacks):
    assert run(machine, f"message_without_{lacks}", blocks=2)[0] == 0
    race = machine.races()[0]
    assert race.window == "x" and race.threads[0][0] != race.threads[1][0]


def test_threads_that_wait_for_ever_are_an_error(machine):
    assert run(machine, "waits_for_ever")[0] == 1
    assert "wait for each other" in machine.error()


def test_a_copy_arrives_when_its_thread_waits_for_it(machine):
    _, y = run(machine, "copy_with_all", shared=8 * THREADS)
    assert not machine.races()
    rows = np.arange(1, THREADS + 1).reshape(-1, 32)
    np.testing.assert_array_equal(y, np.roll(rows, -1, axis=1).ravel())
    _, y = run(machine, "copy_of_its_own", shared=8 * THREADS)
    assert not machine.races()
    np.testing.assert_array_equal(y, rows.ravel())


def test_a_copy_that_is_not_waited_for_has_not_arrived(machine):
    for kernel in ("copy_without_wait", "copy_of_its_own_without_wait"):
        _, y = run(machine, kernel, shared=8 * THREADS)
        np.testing.assert_array_equal(y, 0.0)


def test_a_copy_that_another_thread_reads_needs_a_barrier(machine):
    run(machine, "copy_seen_by_another", shared=8 * THREADS)
    assert machine.races() and all(race.window == "shared memory" for race in machine.races())


def test_lanes_exchange_values(machine):
    status, y = run(machine, "butterfly")
    assert status == 0
    np.testing.assert_array_equal(y, np.repeat([32 * 33 / 2, 32 * 33 / 2 + 32 * 32], 32))


def test_integer_instructions_wrap_and_shift_as_on_a_device(machine):
    t = np.arange(THREADS, dtype=np.uint64)
    wide = (t << np.uint64(33)) * np.uint64(0x9E3779B97F4A7C15)
    high = ((t * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)) * np.uint64(40503) >> np.uint64(32)
    mixed = ((wide >> np.uint64(40)) ^ high ^ (t << (t & np.uint64(7)))) & np.uint64(0xFFFF)
    shifted = t.astype(np.int64) - 20
    quotient = np.trunc(shifted / 7)
    leading = np.array([32 - int(v + 1).bit_length() for v in t])
    expected = mixed + 0.25 * quotient + 0.125 * (shifted - 7 * quotient) + leading
    np.testing.assert_array_equal(run(machine, "integers")[1], expected.astype(np.float32))


def test_a_warp_issues_what_its_busiest_lane_needs(counting):
    counting.counts()
    run(counting, "diverging")
    counts = counting.counts()["diverging"]
    assert counts["fma"] == 2 * 32  # two warps
    assert counts["load global"] == counts["store global"] == 2
    assert counts["chain"] < counts["integer"] + counts["fma"] + counts["branch"] + 40  # one warp's, not both


def test_what_is_not_translated_is_named():
    module = ptx.parse(".visible .entry k()\n{\n.reg .b32 %r<3>;\nvote.sync.all.pred %r1, %r2, -1;\nret;\n}\n")
    with pytest.raises(ptx.PtxError, match="PTX line 4: 'vote.sync.all.pred"):
        ptx.translate([module])
