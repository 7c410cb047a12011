"""Drawings, read back."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree


def picture(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.replace("<svg ", "<svg xmlns:x='x' ", 1))
