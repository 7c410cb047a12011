"""Trees whose nodes lead where they should: libraries follow the numbers of a file without looking.

A child or a feature out of its range is read from memory that belongs to something else: mostly an answer that is
wrong, sometimes the end of the process.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import ModelError

__all__ = ["lightgbm_problem", "require_sound_trees", "tree_problem", "xgboost_problem"]

Values = Sequence[int] | np.ndarray
_PLAIN = (str, bytes, int, float, bool, type(None), type, types.FunctionType, types.BuiltinFunctionType)


# The next three run in the process of .probe too, which has their source alone: of other names they use numpy.
def tree_problem(left: Values, right: Values, feature: Values, width: int, leaves: int | None = None) -> str | None:
    """Return what is wrong with the nodes of one tree of ``width`` inputs, or None.

    Parameters
    ----------
    left, right : sequences of int
        Child of each node. Without ``leaves`` a node whose left one is -1 is a leaf; with it (LightGBM) all nodes have
        children, and ~k is leaf k.
    feature : sequence of int
        What each node splits by; of a leaf, anything.
    """
    n = len(left)
    if not n == len(right) == len(feature):
        return f"its lists have {n}, {len(right)} and {len(feature)} entries"
    a, b, asked = (np.asarray(values, np.int64) for values in (left, right, feature))
    inner = np.full(n, True) if leaves is not None else a != -1
    children = np.concatenate([a[inner], b[inner]])
    wrong = children[(children < (1 if leaves is None else -leaves)) | (children >= n) | (children == 0)]
    if wrong.size:
        return f"a child is node {wrong[0]} of {n}"
    if len(np.unique(children)) < len(children):
        return "two of its nodes have one child"
    wrong = asked[inner & ((asked < 0) | (asked >= width))]
    return f"a node asks for input {wrong[0]} of {width}" if wrong.size else None


def xgboost_problem(model: dict, width: int) -> str | None:  # type: ignore[type-arg]
    """Return what is wrong with the trees of XGBoost's JSON, or None."""
    boosting = model["learner"]["gradient_booster"]
    boosting = boosting.get("gbtree", boosting)  # of dart
    trees, sizes = boosting["model"].get("trees", ()), model["learner"]["learner_model_param"]
    outputs = max(1, int(sizes.get("num_class", 0)), int(sizes.get("num_target", 1)))
    belongs = boosting["model"].get("tree_info", ())  # the output that each tree adds to
    if len(belongs) != len(trees) or any(not 0 <= output < outputs for output in belongs):
        return f"its {len(trees)} trees do not belong to its {outputs} outputs"
    for number, tree in enumerate(trees):
        problem = tree_problem(tree["left_children"], tree["right_children"], tree["split_indices"], width)
        kinds, many = tree.get("split_type", ()), len(tree["left_children"])
        begins, counts = tree.get("categories_segments", ()), tree.get("categories_sizes", ())
        most = len(tree.get("categories", ()))
        vectors = [r for c, r in zip(tree["left_children"], tree["right_children"]) if c == -1]  # of several targets
        if any(not -1 <= vector < many for vector in vectors):
            problem = "a leaf asks for values that it does not have"
        if not len(begins) == len(counts) == len(tree.get("categories_nodes", ())) == sum(kind == 1 for kind in kinds):
            problem = "its categorical splits have no categories"
        elif any(not 0 <= node < many for node in tree.get("categories_nodes", ())):
            problem = "categories belong to a node that it does not have"
        elif any(b < 0 or c < 0 or b + c > most for b, c in zip(begins, counts)):
            problem = f"a node asks for categories beyond its {most}"
        if problem is not None:
            return f"tree {number} is damaged: {problem}"
    return None


def lightgbm_problem(text: str) -> str | None:
    """Return what is wrong with the trees of LightGBM's text, or None."""
    head, *trees = text.split("\nTree=")
    width = int(head.split("\nmax_feature_idx=", 1)[1].split("\n", 1)[0]) + 1
    for number, tree in enumerate(trees):
        lines = tree.split("\nend of trees", 1)[0].splitlines()
        found = {key: value.split() for key, _, value in (line.partition("=") for line in lines)}
        ints = lambda key, found=found: [int(value) for value in found.get(key, ())]
        (leaves,) = ints("num_leaves")
        problem = None
        if len(found["leaf_value"]) != leaves:
            problem = f"it has {leaves} leaves and {len(found['leaf_value'])} values"
        elif any(not 0 <= f < width for f in ints("leaf_features")):
            problem = f"a leaf asks for an input beyond its {width}"
        elif leaves > 1:
            left, right, feature = ints("left_child"), ints("right_child"), ints("split_feature")
            problem = tree_problem(left, right, feature, width, leaves)
            if problem is None and len(left) != leaves - 1:
                problem = f"it has {leaves} leaves and {len(left)} splits"
            kinds, ends, words = ints("decision_type"), ints("cat_boundaries"), len(found.get("cat_threshold", ()))
            codes = [float(at) for kind, at in zip(kinds, found["threshold"]) if kind & 1]
            if any(a > b for a, b in zip(ends, ends[1:])) or (ends and not 0 <= ends[0] <= ends[-1] <= words):
                problem = "its categories end before they begin"
            elif any(not 0 <= code < len(ends) - 1 for code in codes):
                problem = "a node asks for categories that it does not have"
        if problem is not None:
            return f"tree {number} is damaged: {problem}"
    return None


def require_sound_trees(model: Any, path: Any) -> None:
    """Refuse a fitted estimator of scikit-learn whose trees, at any depth, lead out of themselves.

    Raises
    ------
    ModelError
    """
    for number, problem in enumerate(_problems(model)):
        if problem is not None:
            raise ModelError(f"'{path}': tree {number} is damaged: {problem}.", "Save the model again.")


def _problems(model: Any) -> Iterator[str | None]:
    """What is wrong with each tree of scikit-learn that an object holds, or None."""
    queue, seen = deque([(model, 0)]), set()
    while queue:
        one, width = queue.popleft()
        if isinstance(one, _PLAIN) or id(one) in seen:
            continue
        seen.add(id(one))
        kind = type(one)
        if isinstance(one, dict):
            queue += [(value, width) for value in one.values()]
        elif isinstance(one, (list, tuple)) or (isinstance(one, np.ndarray) and one.dtype == object):
            queue += [(value, width) for value in (one if isinstance(one, (list, tuple)) else one.ravel())]
        elif kind.__name__ == "Tree" and kind.__module__ == "sklearn.tree._tree":
            yield tree_problem(one.children_left, one.children_right, one.feature, int(one.n_features))
        elif kind.__name__ == "TreePredictor":
            yield _histogram_problem(one, width)
        elif kind.__module__.partition(".")[0] == "sklearn":
            width = int(getattr(one, "n_features_in_", width) or width)
            queue += [(value, width) for value in getattr(one, "__dict__", {}).values()]


def _histogram_problem(predictor: Any, width: int) -> str | None:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"] != 0
    categories = nodes["bitset_idx"][~leaf & (nodes["is_categorical"] != 0)]
    if categories.size and categories.max() >= len(predictor.raw_left_cat_bitsets):
        return "a node asks for categories that it does not have"
    left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    return tree_problem(left, right, nodes["feature_idx"], width)
