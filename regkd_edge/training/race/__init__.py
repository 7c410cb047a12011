"""The race of recipe auto: candidates enter, are trained together, halved, and the winner meets the base alone.

:mod:`.halving` holds it, :mod:`.entrant` is a candidate in it, :mod:`.last_heat` its end.
"""
