"""Describe the size of a forest (its trees and leaves) and of an ONNX graph (its stored numbers), for messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...io.words import counted

__all__ = ["size_of_estimator", "size_of_graph"]

_DEPTH = 6  # pipelines inside votings inside searches
_INSIDE = ("estimators_", "best_estimator_", "regressor_", "estimator_", "final_estimator_", "booster_")


def size_of_estimator(model: Any) -> str | None:
    """Return "30 trees with 1,234 leaves" of a fitted forest or of an estimator that holds some, else None.

    Known are scikit-learn's trees, forests and histograms, XGBoost, LightGBM and CatBoost, also inside pipelines,
    searches, votings and estimators of several targets.
    """
    try:
        leaves = list(_leaves(model, _DEPTH))
    except Exception:  # not fitted, or another version of the library: the size is a remark
        return None
    return _said(leaves)


def size_of_graph(graph: Any) -> str | None:
    """Return the size of an ONNX graph: its trees where it has some, else the numbers stored in it.

    Parameters
    ----------
    graph : onnx.GraphProto
    """
    leaves = []
    for node in graph.node:
        if node.op_type.startswith("TreeEnsemble"):
            found = {attribute.name: attribute for attribute in node.attribute}
            if "nodes_treeids" in found and "nodes_modes" in found:
                modes = found["nodes_modes"].strings
                leaves += [0] * (len(set(found["nodes_treeids"].ints)) - 1) + [sum(m == b"LEAF" for m in modes)]
    numbers = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    return _said(leaves) or (f"{counted(numbers, 'stored number')}" if numbers else None)


def _said(leaves: list[int]) -> str | None:
    return f"{counted(len(leaves), 'tree')} with {_of(sum(leaves))}" if leaves else None


def _of(leaves: int) -> str:
    return "1 leaf" if leaves == 1 else f"{leaves:,} leaves"


def _leaves(model: Any, depth: int) -> Iterator[int]:
    """The number of leaves of every tree."""
    library = type(model).__module__.partition(".")[0]
    if library == "xgboost":
        booster = model.get_booster() if hasattr(model, "get_booster") else model
        yield from (tree.count("leaf=") for tree in booster.get_dump())
    elif library == "lightgbm":
        booster = getattr(model, "booster_", model)
        lines = booster.model_to_string().splitlines()
        yield from (int(line.removeprefix("num_leaves=")) for line in lines if line.startswith("num_leaves="))
    elif library == "catboost":
        yield from map(int, model.get_tree_leaf_counts())
    elif hasattr(model, "tree_"):
        yield int(model.tree_.n_leaves)
    elif hasattr(model, "_predictors"):
        yield from (int(tree.get_n_leaf_nodes()) for trees in model._predictors for tree in trees)
    elif depth:
        for inside in _parts(model):
            yield from _leaves(inside, depth - 1)


def _parts(model: Any) -> Iterable[Any]:
    if hasattr(model, "steps"):  # a pipeline
        return [model.steps[-1][1]]
    if hasattr(model, "kind") and hasattr(model, "model"):  # a forest from its own file
        return [model.model]
    found: list[Any] = []
    for name in _INSIDE:
        value = getattr(model, name, None)
        found += (
            list(np.ravel(value)) if isinstance(value, np.ndarray) else value if isinstance(value, list) else [value]
        )
    return [part for part in found if part is not None and not isinstance(part, str)]
