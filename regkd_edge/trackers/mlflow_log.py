"""A run in MLflow: on the server of ``MLFLOW_TRACKING_URI``, or in the run folder's ``mlflow/``."""

from __future__ import annotations

import os
import re

from ..errors import NotAvailable
from ..run import RunFolder
from .content import Content

__all__ = ["write"]

_BATCH = 500  # metrics of one call; the interface allows 1,000


def write(run: RunFolder, content: Content) -> str:
    """Write parameters, curves as metrics with steps, figures, and the files as artefacts, as one new MLflow run."""
    # Its plain files need nothing installed; MLflow 3 wants this to be said.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    where = os.environ.get("MLFLOW_TRACKING_URI") or run.file("mlflow").resolve().as_uri()
    try:
        client = MlflowClient(where)
        found = client.get_experiment_by_name("regkd-edge")
        experiment = client.create_experiment("regkd-edge") if found is None else found.experiment_id
        made = client.create_run(experiment, run_name=content.name)
        number = made.info.run_id
        parameters = [Param(key, str(value)[:500]) for key, value in content.parameters.items()]
        for start in range(0, len(parameters), 100):
            client.log_batch(number, params=parameters[start : start + 100])
        metrics = [
            Metric(_key(tag), value, 0, step) for tag, points in content.curves.items() for step, value in points
        ]
        metrics += [Metric(_key(tag), value, 0, 0) for tag, value in content.figures.items()]
        for start in range(0, len(metrics), _BATCH):
            client.log_batch(number, metrics=metrics[start : start + _BATCH])
        for tag, svg in content.plots.items():
            client.log_text(number, svg, f"predicted against true/{_key(tag).replace('/', ' ')}.svg")
        for path in content.files:
            client.log_artifact(number, str(path), path.parent.name if path.suffix == ".onnx" else None)
        client.set_terminated(number)
    except Exception as error:  # a server that is away, a folder that cannot be written: MLflow's own classes
        raise NotAvailable(
            f"MLflow at '{where}' refused the run: {type(error).__name__}: {error}.",
            "Check MLFLOW_TRACKING_URI, or leave --log mlflow out.",
        ) from error
    return f"mlflow run {number} at {where}"


def _key(tag: str) -> str:
    """A name that MLflow takes: letters, digits, and _ - . / space."""
    return re.sub(r"[^\w\-./ ]", "_", tag)
