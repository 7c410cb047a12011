"""How large a file may be, and how much of what it announces is believed: all limits of the readers, in one place.

A limit is checked before the memory is taken or the time is spent. Each is many times what a real file needs; together
they keep the answer to a hostile file under 5 seconds and 500 MB.
"""

from __future__ import annotations

__all__ = [
    "ARCHIVE_BYTES",
    "ARRAYS",
    "COLUMNS",
    "COLUMN_NAME",
    "ENGINE_BYTES",
    "FOLDER_FILES",
    "IMAGE_PIXELS",
    "INFLATED_BYTES",
    "INFLATED_RATIO",
    "JSON_BYTES",
    "JSON_VALUES",
    "LISTED_BYTES",
    "LIST_BYTES",
    "MAPPED_BYTES",
    "NAME_BYTES",
    "NESTING",
    "NUMBER_DIGITS",
    "PATH_BYTES",
    "SHEET_BYTES",
    "SHEET_RATIO",
    "SHEET_SECONDS",
    "TABLE_BYTES",
    "TENSORS_HEADER_BYTES",
    "YAML_BYTES",
    "YAML_NODES",
]

#: A JSON file: scalers of 100,000 columns take 4 MiB.
JSON_BYTES = 32 << 20
#: Values in a JSON file; each costs Python about 60 bytes.
JSON_VALUES = 1_000_000
#: A YAML file: it is read at about 100 kB per second; a run has 3 kB, a description of 1,000 inputs 60 kB.
YAML_BYTES = 256 << 10
#: Nodes of a YAML file after its aliases were replaced by what they stand for.
YAML_NODES = 50_000
#: Depth of brackets in JSON and of nodes in YAML; files of this project have 6.
NESTING = 64
#: Digits of a whole number: 2**64 has 20.
NUMBER_DIGITS = 20

#: A path inside a folder, and one part of it, in UTF-8: what Linux and Windows take.
PATH_BYTES = 1024
NAME_BYTES = 255

#: A table of data.
TABLE_BYTES = 8 << 30
#: An array that is mapped into memory and read in parts.
MAPPED_BYTES = 1 << 40
#: Images and recordings in a folder.
FOLDER_FILES = 2_000_000
#: Pixels of one image: 200 megapixels, what the largest cameras give.
IMAGE_PIXELS = 200_000_000
#: Columns of a table.
COLUMNS = 100_000
#: Characters of a column's name.
COLUMN_NAME = 2_000
#: Arrays in an NPZ file.
ARRAYS = 20_000
#: What a compressed table or NPZ file may grow to: this much, or this many times its own size.
INFLATED_BYTES = 64 << 20
INFLATED_RATIO = 20

#: Memory to read a spreadsheet with: this much and this many times the size of the file, for a cell of 10 bytes becomes
#: an object of 100; and seconds, beside one per 256 KiB.
SHEET_BYTES = 256 << 20
SHEET_RATIO = 150
SHEET_SECONDS = 4

#: An ONNX graph or an engine: 2 GiB is the limit of protobuf.
ENGINE_BYTES = 2 << 30
#: Header of a safetensors file, the limit of the format.
TENSORS_HEADER_BYTES = 100_000_000

#: A bundle: the archive, the list at its beginning, and all listed files together.
ARCHIVE_BYTES = 128 << 20
LIST_BYTES = 1 << 20
LISTED_BYTES = 128 << 20
