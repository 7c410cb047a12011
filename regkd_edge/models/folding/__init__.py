"""MLPs in disguise: a module's graph is followed with a symbolic row, and becomes one chain of linear layers.

:mod:`.follow` walks the graph, :mod:`.operations` names what it may meet, :mod:`.symbolic_row` is what comes out.
:mod:`..convert` proves the chain on rows before it is used.
"""
