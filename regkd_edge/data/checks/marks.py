"""What programs and sensors write for "no value", and the ends of the ranges of converters and integer types."""

from __future__ import annotations

__all__ = ["MARKS"]

#: Known marks; any of them may be a reading too.
MARKS = {
    *(-(10.0**k - 1) for k in range(2, 8)), *(10.0**k - 1 for k in range(2, 8)),
    *(-(10.0**k - 1) / 10 for k in range(3, 7)), *((10.0**k - 1) / 10 for k in range(3, 7)),
    -1.0, -9.0, -200.0, -888.0, 888.0, 8888.0, -8888.0, -7777.0, 7777.0, 6999.0, -6999.0, -32768.0, 32767.0, 65535.0,
    65534.0, 2147483647.0, -2147483648.0, 4294967295.0, 1e20, -1e20, 1e30, -1e30, 255.0, 1023.0, 4095.0, 16383.0,
    6553.5, 6553.4, 655.35, 655.34, 3276.7, -3276.8, 327.67, -327.68,  # of registers in tenths and hundredths
}  # fmt: skip
