"""Recordings and their windows: which samples, which label, and no sample on both sides of a split."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.config import DataConfig
from regkd_edge.config.data import samples_of
from regkd_edge.data import prepare
from regkd_edge.errors import DataError

wavfile = pytest.importorskip("scipy.io.wavfile")
RNG = np.random.default_rng(0)


@pytest.fixture
def sounds(tmp_path):
    """Six mono recordings of 1,000 samples at 8 kHz, labelled by their speed; two per machine."""
    place = tmp_path / "sounds"
    place.mkdir()
    rows = ["file,speed,machine"]
    for i in range(6):
        wavfile.write(place / f"run{i}.wav", 8000, RNG.integers(-3000, 3000, 1000).astype(np.int16))
        rows.append(f"run{i}.wav,{100 * i},{'ABC'[i // 2]}")
    (place / "labels.csv").write_text("\n".join(rows) + "\n")
    return place


def table_of(path, n=400, units=1, name="signal.csv"):
    """a and b, their product as target, units of n / units samples."""
    a, b = RNG.normal(size=(2, n)).round(4)
    rows = [f"{p},{q},{p * q:.8f},{i * units // n}" for i, (p, q) in enumerate(zip(a, b))]
    file = path / name
    file.write_text("a,b,y,unit\n" + "\n".join(rows) + "\n")
    return file


def read(source, **options):
    return prepare(DataConfig(data=str(source), **options), 0)


def samples_by_part(table, parts):
    """``(recording, sample)`` of every sample that a part's windows touch."""
    cut = table.cut
    return [
        {(r, s) for i in index for r in [int(cut.recording[i])] for s in range(cut.start[i], cut.start[i] + cut.length)}
        for index in (parts.train, parts.validation, parts.test)
    ]


def require_apart(table, parts):
    train, validation, test = samples_by_part(table, parts)
    assert train and validation and test
    assert not (train & validation or train & test or validation & test)
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test])) == list(range(len(table)))


def test_windows_hold_the_samples_channel_by_channel(tmp_path):
    file = table_of(tmp_path)
    stored = np.loadtxt(file, delimiter=",", skiprows=1)
    table, parts = read(file, window="20", hop="10", target="y", drop="unit")
    assert table.input_shape == (2, 20)
    for i in (0, 7, len(table) - 1):
        start = table.cut.start[i]
        assert start % 10 == 0 and np.array_equal(table.x[i].reshape(2, 20), stored[start : start + 20, :2].T)
        assert table.y[i, 0] == stored[start + 19, 2]
    require_apart(table, parts)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("first", lambda y: y[0]), ("middle", lambda y: y[5]), ("last", lambda y: y[9]), ("mean", np.mean)],
)
def test_the_label_rule(tmp_path, rule, expected):
    file = table_of(tmp_path)
    y = np.loadtxt(file, delimiter=",", skiprows=1)[:, 2]
    table, _ = read(file, window=10, hop=7, target="y", drop="unit", window_label=rule)
    for i, start in enumerate(table.cut.start):
        assert np.isclose(table.y[i, 0], expected(y[start : start + 10]), rtol=1e-12)


def test_a_window_never_crosses_units_and_whole_units_are_held_out(tmp_path):
    table, parts = read(table_of(tmp_path, units=8), window="16", hop="4", target="y", group="unit")
    assert table.input_shape == (2, 16) and len(table.cut.names) == 8
    assert (table.cut.start + 16 <= 50).all()
    sides = [set(table.cut.recording[index]) for index in (parts.train, parts.validation, parts.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    require_apart(table, parts)


@pytest.mark.parametrize("hop", ["3", "16", "40"])
def test_one_recording_is_cut_in_time_and_windows_across_the_cut_are_left_out(tmp_path, hop):
    table, parts = read(table_of(tmp_path, 800), window="16", hop=hop, target="y", drop="unit")
    require_apart(table, parts)
    last = lambda index: table.cut.start[index].max()
    assert last(parts.train) < last(parts.validation) < last(parts.test)
    assert any("cannot be parted whole" in note for note in table.warnings)


def test_time_cuts_every_recording(sounds):
    table, parts = read(sounds, window="10ms", hop="5ms", split="time", target="speed")
    assert table.input_shape == (1, 80) and table.rate == 8000
    require_apart(table, parts)
    assert all(set(table.cut.recording[index]) == set(range(6)) for index in (parts.train, parts.test))


def test_sounds_are_read_with_full_scale_1_and_get_the_label_of_their_recording(sounds):
    table, parts = read(sounds, window="100", target="speed")
    _, first = wavfile.read(sounds / "run0.wav")
    row = int(np.flatnonzero((table.cut.recording == 0) & (table.cut.start == 300))[0])
    assert np.array_equal(table.x[row], first[300:400] / 32768)
    assert np.array_equal(table.y[:, 0], 100.0 * table.cut.recording)
    sides = [set(table.cut.recording[index]) for index in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, sides)) == 6


def test_units_of_recordings_come_from_the_labels(sounds):
    table, parts = read(sounds, window="100", target="speed", group="machine")
    machine = table.cut.recording // 2
    sides = [set(machine[index]) for index in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, sides)) == 3


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32"])
def test_every_depth_means_the_same_sound(sounds, kind):
    wave = np.round(RNG.uniform(-0.9, 0.9, 1000) * 128) / 128
    for path in sounds.glob("*.wav"):
        values = {"uint8": wave * 128 + 128, "int16": wave * 2**15, "int32": wave * 2**31, "float32": wave}[kind]
        wavfile.write(path, 8000, values.astype(kind))
    (sounds / "run0.wav").unlink()
    wavfile.write(sounds / "run0.wav", 8000, (RNG.normal(size=1000) * 1000).astype(np.int16))
    table, _ = read(sounds, window="1000", target="speed", split_column="part", labels=str(_labels(sounds)))
    assert np.array_equal(table.x[1], wave)


def _labels(sounds):
    part = ["train", "train", "validation", "test", "test", "test"]
    path = sounds.parent / "parts.csv"
    path.write_text("file,speed,part\n" + "".join(f"run{i}.wav,{i},{part[i]}\n" for i in range(6)))
    wavfile.write(sounds / "run2.wav", 8000, (RNG.normal(size=1000) * 1000).astype(np.int16))
    wavfile.write(sounds / "run3.wav", 8000, (RNG.normal(size=1000) * 1000).astype(np.int16))
    for i in (4, 5):
        wavfile.write(sounds / f"run{i}.wav", 8000, (RNG.normal(size=1000) * 1000).astype(np.int16))
    return path


def test_test_data_and_a_split_column_decide_windows(tmp_path):
    file, later = table_of(tmp_path), table_of(tmp_path, 200, name="later.csv")
    table, parts = read(file, window="20", target="y", drop="unit", test_data=str(later))
    assert (table.cut.recording[parts.test] == 1).all() and len(parts.test) == 10
    require_apart(table, parts)
    text = file.read_text().splitlines()
    words = ["part", *["train"] * 205, *["val"] * 95, *["test"] * 100]
    file.write_text("\n".join(f"{line},{word}" for line, word in zip(text, words)) + "\n")
    table, parts = read(file, window="20", hop="10", target="y", drop="unit", split_column="part")
    require_apart(table, parts)
    assert table.cut.start[parts.train].max() + 20 <= 205 <= table.cut.start[parts.validation].min()


def test_windows_with_missing_samples_are_left_out_when_told(tmp_path):
    file = table_of(tmp_path)
    lines = file.read_text().splitlines()
    lines[101] = "," + lines[101].split(",", 1)[1]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="column 'a' holds 1 blank"):
        read(file, window="20", target="y", drop="unit")
    table, _ = read(file, window="20", hop="10", target="y", drop="unit", blanks="drop")
    assert not ((table.cut.start <= 100) & (table.cut.start + 20 > 100)).any()
    with pytest.raises(ValueError, match="blanks mean cannot fill samples"):
        read(file, window="20", target="y", blanks="mean")


def test_a_copied_recording_is_not_held_out(sounds):
    (sounds / "run5.wav").write_bytes((sounds / "run0.wav").read_bytes())
    (sounds / "run4.wav").write_bytes((sounds / "run0.wav").read_bytes())
    table, parts = read(sounds, window="100", target="speed")
    seen = {row.tobytes() for row in table.x[parts.train]}
    assert not any(row.tobytes() in seen for row in table.x[np.concatenate([parts.validation, parts.test])])


def test_silence_and_clipping_are_warned_of(sounds):
    wavfile.write(sounds / "run1.wav", 8000, np.zeros(1000, np.int16))
    loud = np.clip(RNG.normal(size=1000) * 60000, -32768, 32767).astype(np.int16)
    wavfile.write(sounds / "run2.wav", 8000, np.repeat(loud, 3)[:1000])
    notes = read(sounds, window="100", target="speed")[0].warnings
    assert any("silent: 'run1.wav'" in note for note in notes) and any("clipped" in n and "run2" in n for n in notes)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("rate", r"1 of 6 recordings differ from the sample rate 8000 Hz of the others: 'run3.wav \(44100 Hz\)'"),
        ("channels", r"1 of 6 recordings differ from the number of channels 1 of the others: 'run3.wav \(2\)'"),
        (
            "short",
            r"1 of 6 recordings .* shorter than a window of 80 samples: 'run3.wav \(50 samples\)'.*1,000 samples",
        ),
        ("cut", "run3.wav' ends before the samples"),
        ("text", "run3.wav' is not a readable WAV file"),
        ("no label", "1 of 7 files have no label .'run9.wav'"),
        ("no samples", "run3.wav' holds 0 samples"),
    ],
)
def test_recordings_that_cannot_be_used_are_named(sounds, how, message):
    path, plain = sounds / "run3.wav", RNG.integers(-99, 99, 1000).astype(np.int16)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif how == "text":
        path.write_text("no sound at all, but long enough for a header of sound")
    else:
        rate, values, name = {
            "rate": (44100, plain, path), "channels": (8000, plain.reshape(-1, 2), path),
            "short": (8000, plain[:50], path),
            "no label": (8000, plain, sounds / "run9.wav"), "no samples": (8000, plain[:0], path),
        }[how]  # fmt: skip
        wavfile.write(name, rate, values)
    with pytest.raises(DataError, match=message):
        read(sounds, window="10ms", target="speed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "is a folder of recordings, and no window"),
        ({"window": "0.01ms"}, "shorter than one sample"),
        ({"window": "1"}, ""),
        ({"window": "9", "resize": "3x3"}, "resize is about images"),
        ({"window": "-9"}, "expected a number of samples"),
        ({"hop": "9"}, "hop 9 is about windows"),
        ({"window": "2000"}, "6 of 6 recordings"),
    ],
)
def test_options_that_do_not_fit_are_refused(sounds, options, message):
    if message:
        with pytest.raises(ValueError, match=message):
            read(sounds, target="speed", **options)
    else:
        assert read(sounds, target="speed", **options)[0].d == 1


def test_tables_of_other_columns_are_named(tmp_path):
    for name in ("r0.csv", "r1.csv", "r2.csv"):
        table_of(tmp_path, name=name)
    text = (tmp_path / "r1.csv").read_text()
    (tmp_path / "r1.csv").write_text(text.replace("a,b", "a,c", 1))
    with pytest.raises(DataError, match="r1.csv' and '.*r0.csv' have other columns: b"):
        read(tmp_path, window="20", target="y")
    with pytest.raises(DataError, match="a table states no samples per second"):
        read(tmp_path / "r0.csv", window="2ms", target="y")
    with pytest.raises(DataError, match="no samples in time order"):
        read("diabetes", window="2")


def test_spans_of_time_become_samples():
    assert [samples_of(s, 8000.0) for s in ("256", "20ms", "0.5s")] == [256, 160, 4000] and samples_of(
        "1s", None
    ) is None


def test_sounds_with_values_that_are_not_finite_are_refused_unless_they_are_to_go(tmp_path):
    place = tmp_path / "sounds"
    place.mkdir()
    for i in range(5):
        wave = RNG.normal(size=400).astype(np.float32) / 4
        wave[[7, 8]] = np.nan if i == 2 else wave[[7, 8]]
        wavfile.write(place / f"run{i}.wav", 8000, wave)
    (place / "labels.csv").write_text("file,y\n" + "".join(f"run{i}.wav,{i}\n" for i in range(5)))
    with pytest.raises(DataError, match="not finite"):
        read(place, labels=str(place / "labels.csv"), window="100")
    table, _ = read(place, labels=str(place / "labels.csv"), window="100", blanks="drop")
    assert len(table) == 19 and any("1 of 20 windows" in note for note in table.warnings)


def test_windows_know_their_unit(sounds):
    """A share of the rows keeps units whole (--fraction with --group), also where rows are windows."""
    table, parts = read(sounds, labels=str(sounds / "labels.csv"), target=["speed"], group="machine", window="100")
    assert parts.units is not None and len(parts.units) == len(table)
    for recording in range(6):
        assert len(set(parts.units[table.cut.recording == recording])) == 1
    assert len(set(parts.units)) == 3
