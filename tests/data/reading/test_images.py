"""Folders of images with their labels: raw pixels of one size, every file with one label."""

from __future__ import annotations

import shutil
import struct
import zlib

import numpy as np
import pytest

from regkd_edge.config import DataConfig
from regkd_edge.data import prepare
from regkd_edge.errors import DataError

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 6, 5)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """20 grey images of 6 x 5 pixels, two per unit, their label the sum of the pixels."""
    place = tmp_path / "frames"
    place.mkdir()
    rows = ["file,total,unit"]
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(place / f"{i:02d}.png")
        rows.append(f"{i:02d}.png,{pixels.sum()},{i // 2}")
    (place / "labels.csv").write_text("\n".join(rows) + "\n")
    return place


def read(folder, **options):
    return prepare(DataConfig(**{"data": str(folder), "target": "total", **options}), 0)


def test_pixels_and_labels_arrive_as_they_are(folder):
    table, parts = read(folder)
    assert table.input_shape == (1, 6, 5) and table.feature_names[7] == "x0.1.2"
    assert np.array_equal(table.x, PIXELS.reshape(20, -1)) and np.array_equal(table.y[:, 0], table.x.sum(axis=1))
    assert sum(parts.counts().values()) == 20


def test_a_unit_is_on_one_side_and_never_an_input(folder):
    table, parts = read(folder, group="unit")
    units = np.arange(20) // 2
    sides = [set(units[index]) for index in (parts.train, parts.validation, parts.test)]
    assert table.d == 30 and not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_labels_may_stand_elsewhere_in_any_order_with_other_forms_of_the_names(folder, tmp_path):
    lines = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").unlink()
    named = [f"frames/{lines[1]}", lines[2].replace(".png", ""), *lines[3:]]
    other = tmp_path / "truth.csv"
    other.write_text("\n".join(["Image,total,unit", *reversed(named)]) + "\n")
    table, _ = read(folder, labels=str(other), drop="unit")
    assert np.array_equal(table.y[:, 0], table.x.sum(axis=1))


def test_test_data_is_a_folder_of_its_own(folder, tmp_path):
    other = tmp_path / "later"
    shutil.copytree(folder, other)
    for path in other.glob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    table, parts = read(folder, test_data=str(other))
    assert len(parts.test) == 20 and np.array_equal(table.x[parts.test], 255 - PIXELS.reshape(20, -1))


def test_colour_depth_size_and_orientation(folder):
    table, _ = read(folder, color="rgb")
    assert table.input_shape == (3, 6, 5) and np.array_equal(table.x[:, :30], table.x[:, 60:])
    table, _ = read(folder, resize="3x5")
    assert table.input_shape == (1, 3, 5)
    means = PIXELS.reshape(20, 3, 2, 5).mean(axis=2).reshape(20, -1)
    assert np.abs(table.x - means).max() <= 0.5  # rounded to whole pixels
    for i, path in enumerate(sorted(folder.glob("*.png"))):
        Image.fromarray(PIXELS[i].astype(np.uint16) * 257).save(path)
    assert np.array_equal(read(folder)[0].x, 257.0 * PIXELS.reshape(20, -1))
    for i, path in enumerate(sorted(folder.glob("*.png"))):
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was held upright: turn by a quarter, clockwise
        Image.fromarray(PIXELS[i]).save(path, exif=exif)
    table, _ = read(folder)
    turned = np.rot90(PIXELS, -1, axes=(1, 2))
    assert table.input_shape == (1, 5, 6) and np.array_equal(table.x, turned.reshape(20, -1))


def test_a_copied_image_is_on_one_side(folder):
    for i in range(10):
        shutil.copy(folder / f"{i:02d}.png", folder / f"{i + 10:02d}.png")
    table, parts = read(folder)
    seen = {row.tobytes() for row in table.x[parts.train]}
    assert not any(row.tobytes() in seen for row in table.x[np.concatenate([parts.validation, parts.test])])
    assert any("distinct inputs" in note for note in table.warnings)


def spoil(folder, how):
    if how == "cut":
        (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:50])
    elif how == "text":
        (folder / "03.png").write_text("no image")
    elif how == "bomb":
        chunk = lambda kind, data: (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0))
        (folder / "03.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"x") + chunk(b"IEND", b""))
    elif how == "size":
        Image.fromarray(PIXELS[3][:4]).save(folder / "03.png")
    elif how == "depth":
        Image.fromarray(PIXELS[3].astype(np.uint16)).save(folder / "03.png")
    elif how == "no label":
        shutil.copy(folder / "03.png", folder / "new.png")
    elif how == "no file":
        (folder / "03.png").unlink()
    elif how == "twice":
        with open(folder / "labels.csv", "a") as labels:
            labels.write("03.png,1,1\n")
    elif how == "no names":
        text = (folder / "labels.csv").read_text()
        (folder / "labels.csv").write_text(text.replace("file,", "shot,"))
    elif how == "word":
        text = (folder / "labels.csv").read_text()
        (folder / "labels.csv").write_text(text.replace(f"03.png,{PIXELS[3].sum()}", "03.png,much"))
    elif how == "pipe":
        (folder / "03.png").unlink()
        __import__("os").mkfifo(folder / "03.png")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "image '.*03.png' cannot be read"),
        ("text", "image '.*03.png' cannot be read: it is not an image"),
        ("bomb", "image '.*03.png' cannot be read: .*pixels"),
        ("size", r"1 of 20 images differ from the size 6x5 of the others: '03.png \(4x5\)'.*--resize 6x5"),
        ("depth", "1 of 20 images have more than 8 bits per pixel .'03.png'"),
        ("no label", "1 of 21 files have no label .'new.png'.*--blanks drop"),
        ("no file", "1 of 20 labels have no file .'03.png'"),
        ("twice", "names '03.png' twice, in line 5 and line 22"),
        ("no names", "no column that names the files.*shot"),
        ("word", "column 'total' holds .*'much'"),
        ("pipe", "image '.*03.png' cannot be read: it is a pipe"),
    ],
)
def test_what_cannot_be_used_is_named(folder, how, message):
    spoil(folder, how)
    with pytest.raises(DataError, match=message):
        read(folder)


def test_files_and_labels_without_each_other_are_left_out_when_told(folder):
    spoil(folder, "no label")
    spoil(folder, "no file")
    table, _ = read(folder, blanks="drop")
    assert len(table) == 19 and sum("left out: " in note for note in table.warnings) == 2
    assert np.array_equal(table.y[:, 0], table.x.sum(axis=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "5"}, "holds images, and window cuts recordings"),
        ({"categorical": "unit"}, "--categorical is about columns of a table"),
        ({"blanks": "mean"}, "--blanks mean fills columns of a table"),
        ({"target": "totl"}, "no column 'totl'.*Did you mean 'total'"),
        ({"labels": "nowhere.csv"}, "no file 'nowhere.csv'"),
        ({"resize": "200x200", "color": "rgb"}, r"\[3, 200, 200\] has 120,000 numbers, expected at most"),
        ({"group": "cell"}, "no column 'cell' .named by --group"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(DataError, match=message):
        read(folder, **options)
