"""From a scikit-learn regressor to an engine, in two ways.

python examples/from_sklearn.py
"""

from __future__ import annotations

from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.model_selection import train_test_split

import regkd_edge as rk


def main() -> None:
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x, x_test, y, y_test = train_test_split(x, y, random_state=0)
    forest = GradientBoostingRegressor(random_state=0).fit(x, y)

    # 1. A fitted regressor is a teacher. It has values and no gradients: pm and abm need none.
    student = rk.distill(forest, x, y, student="mlp:16:tanh", base="mimic", terms=["pm"], steps=300)

    # 2. A student with the habits of scikit-learn: it fits in a pipeline, a grid search, a cross-validation.
    regressor = rk.DistilledRegressor(
        GradientBoostingRegressor(random_state=0), "mlp:16:tanh", steps=300, options={"base": "mimic", "terms": ["pm"]}
    ).fit(x, y)

    engine = rk.build(rk.quantize(student, "int8", calibrate=x), backend="native")
    print(student)
    print(f"R2: forest {forest.score(x_test, y_test):.3f}, student {student.score(x_test, y_test):.3f}, "
          f"DistilledRegressor {regressor.score(x_test, y_test):.3f}, "
          f"INT8 engine {engine.score(x_test, y_test):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
