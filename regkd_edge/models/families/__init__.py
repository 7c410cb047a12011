"""Families of students, one per file: how a spec is read, built, exported and counted.

=========  ==========================================  ======================================================
family     spec                                        a row
=========  ==========================================  ======================================================
mlp        ``mlp:64,64:tanh``                          d numbers; an image or a signal is taken flat
conv1d     ``conv1d:16x5/2,32d3/2,gap,32:relu``        channels x length
conv2d     ``conv2d:8x3,16d3/2,flat,32:relu``          channels x height x width
gru        ``gru:32``                                  time x features
factory    ``factory:package.module:make``             whatever the module takes
=========  ==========================================  ======================================================

``16x5/2`` is a convolution of 16 channels, kernel 5 and stride 2; ``32d3/2`` a depthwise-separable one; ``gap``
averages every channel over all places and ``flat`` keeps the places; numbers after it are hidden linear layers.
``:channels-last`` (conv1d, conv2d) and ``:channels-first`` (gru) read a row whose channels are in the other place.

A family is added by a file here and a row in :data:`FAMILIES`.
"""

from __future__ import annotations

from .conv1d import FAMILY as CONV1D
from .conv2d import FAMILY as CONV2D
from .factory import FAMILY as FACTORY
from .family import Cost, Family, LayerCost, Spec
from .gru import FAMILY as GRU
from .mlp import FAMILY as MULTILAYER
from .mlp import MLPSpec

__all__ = ["FAMILIES", "Cost", "Family", "LayerCost", "MLPSpec", "Spec"]

FAMILIES: dict[str, Family] = {family.name: family for family in (MULTILAYER, CONV1D, CONV2D, GRU, FACTORY)}
"""Name -> family; the name is what a spec begins with."""
