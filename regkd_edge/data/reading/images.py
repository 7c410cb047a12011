"""A folder of images, by Pillow: raw pixel values [C, H, W] of one size, as a camera gives them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...config.data import pixels_of
from ...errors import DataError, NotAvailable
from ...io.limits import COLUMNS, IMAGE_PIXELS
from ...io.memory import require_memory
from ...io.progress import tick
from ...io.regular import file_problem
from .listed import shown

__all__ = ["IMAGES", "read_images", "size_of_image"]

#: Suffixes of the images that are read.
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pnm")
_IMAGE_BYTES = 1 << 30
_GREY = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I", "F"}
_DEEP = {"I;16", "I;16B", "I;16L", "I;16N", "I", "F"}


def read_images(
    files: Sequence[Path], resize: str | None = None, color: str = "auto"
) -> tuple[np.ndarray, list[str]]:  # [N, C, H, W] uint8 or float32
    """Read images of one size; grey ones have one channel, others red, green and blue.

    Pixels keep the values of the file (0 to 255, 0 to 65535 with 16 bits); an image is turned as its camera noted;
    transparency is left out; of an animation the first image is taken.

    Parameters
    ----------
    resize : str, optional
        ``HEIGHTxWIDTH``: bring every image to that size, by area averages where it becomes smaller.
    color : ``auto`` | ``grey`` | ``rgb``
        ``auto`` is grey where every image is.

    Raises
    ------
    DataError
        An image that cannot be read, images of different sizes or depths, images that are too large.
    NotAvailable
        Pillow is not installed.
    """
    image_module = _pillow()
    facts = [size_of_image(path) for path in files]
    height, width = _one_size(files, [size for size, _ in facts], resize)
    modes = [mode for _, mode in facts]
    deep = [path for path, mode in zip(files, modes) if mode in _DEEP]
    if deep and len(deep) < len(files):
        raise DataError(
            f"{len(deep):,} of {len(files):,} images have more than 8 bits per pixel "
            f"({shown([p.name for p in deep])}), "
            "the others 8.",
            "Save all with one depth.",
        )
    coloured = [path for path, mode in zip(files, modes) if mode not in _GREY]
    grey = color == "grey" or (color == "auto" and not coloured)
    channels = 1 if grey else 3
    if deep and not grey:
        raise DataError("images of more than 8 bits per pixel are grey, and color is rgb.", "Omit --color.")
    if channels * height * width > COLUMNS:
        raise DataError(
            f"an image [{channels}, {height}, {width}] has {channels * height * width:,} numbers, expected at most "
            f"{COLUMNS:,}.",
            "Add --resize HEIGHTxWIDTH, such as --resize 96x96.",
        )
    kind = np.float32 if deep else np.uint8
    needed = len(files) * channels * height * width * np.dtype(kind).itemsize
    require_memory(needed, f"reading {len(files):,} images", "Add --resize, or give fewer images.", DataError)
    x = np.empty((len(files), channels, height, width), kind)
    turned = 0
    for i, path in enumerate(files):
        if i % 256 == 0:
            tick("images", i, len(files))
        turned += _read(image_module, path, x[i], resize, grey)
    notes = _notes(x, files, modes, coloured, grey)
    if turned:
        notes.append(f"{turned:,} images are turned as their cameras noted (EXIF)")
    return x, notes


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise NotAvailable(
            "images are read by Pillow, which is not installed.", "Run: pip install 'regkd-edge[data]'."
        ) from None
    return Image


def size_of_image(path: Path) -> tuple[tuple[int, int], str]:
    """``((height, width), mode)`` of an image from its header, as it will stand once it is turned."""
    image_module = _pillow()
    problem = file_problem(path, _IMAGE_BYTES)
    if problem is not None:
        raise DataError(f"image '{path}' cannot be read: {problem}.", "Remove it, or replace it.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with image_module.open(path) as image:
                width, height = image.size
                mode = image.mode
                sideways = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except Exception as error:  # Pillow raises one of a dozen kinds for a damaged file
        raise _unreadable(path, error) from None
    if width * height > IMAGE_PIXELS:
        raise DataError(
            f"image '{path}' announces {width:,} x {height:,} pixels, expected at most {IMAGE_PIXELS:,}.",
            "Remove it, or replace it.",
        )
    return ((width, height) if sideways else (height, width)), mode


def _one_size(files: Sequence[Path], sizes: Sequence[tuple[int, int]], resize: str | None) -> tuple[int, int]:
    if resize is not None:
        return pixels_of(resize)
    counts = Counter(sizes)
    usual = counts.most_common(1)[0][0]
    if len(counts) > 1:
        odd = [f"{path.name} ({h}x{w})" for path, (h, w) in zip(files, sizes) if (h, w) != usual]
        raise DataError(
            f"{len(odd):,} of {len(files):,} images differ from the size {usual[0]}x{usual[1]} of the others: "
            f"{shown(odd)}.",
            f"Add --resize {usual[0]}x{usual[1]}, or remove them.",
        )
    return usual


def _read(image_module: Any, path: Path, out: np.ndarray, resize: str | None, grey: bool) -> bool:
    """Read one image into ``out`` [C, H, W]; whether it was turned."""
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with image_module.open(path) as image:
                image.load()
                turned = image.getexif().get(0x0112, 1) in range(2, 9)
                image = ImageOps.exif_transpose(image) if turned else image
                if image.mode in _DEEP:
                    image = image_module.fromarray(np.asarray(image, dtype=np.float32))
                elif grey:
                    image = image.convert("L")
                else:
                    image = image.convert("RGB")
                if resize is not None:
                    image = image.resize(out.shape[:0:-1], image_module.Resampling.BOX if _shrinks(image, out) else (
                        image_module.Resampling.BILINEAR))  # fmt: skip
                pixels = np.asarray(image)
    except Exception as error:  # as above; the pixels of a cut file fail here
        raise _unreadable(path, error) from None
    out[...] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return bool(turned)


def _shrinks(image: Any, out: np.ndarray) -> bool:
    return image.size[0] >= out.shape[2] and image.size[1] >= out.shape[1]


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).replace(str(path), "").split()).strip(". '") or type(error).__name__
    if "cannot identify" in reason:
        reason = "it is not an image that Pillow knows"
    return DataError(f"image '{path}' cannot be read: {reason}.", "Remove it with its label, or replace it.")


def _notes(x: np.ndarray, files: Sequence[Path], modes: Sequence[str], coloured: list[Path], grey: bool) -> list[str]:
    notes = []
    flat = x.reshape(len(x), -1)
    empty = [path.name for path, low, high in zip(files, flat.min(axis=1), flat.max(axis=1)) if low == high]
    if empty:
        notes.append(f"{len(empty):,} images are of one color throughout: {shown(empty)}")
    if 0 < len(coloured) < len(files) and not grey:
        notes.append(f"{len(files) - len(coloured):,} of {len(files):,} images are grey and get three equal channels")
    if any("A" in mode or "a" in mode for mode in modes):
        notes.append("transparency of images is left out")
    return notes
