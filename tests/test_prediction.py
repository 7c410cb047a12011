"""A run answers with the engines that it built and compared with their graphs, and with no other."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.config import RunConfig
from regkd_edge.errors import RunFolderError
from regkd_edge.io.files import file_hash
from regkd_edge.prediction import Answers, predict_file
from regkd_edge.run import RunFolder
from regkd_edge.run.state import write_state


@pytest.mark.parametrize("harm", ["changed", "added", "removed"])
@pytest.mark.parametrize("by", [None, "native.int8"])
def test_an_engine_that_was_changed_after_it_was_built_does_not_answer(tmp_path, harm, by):
    """Its manifest vouches for the file beside it: whoever changes one changes both."""
    run = RunFolder.create(tmp_path / "run", RunConfig())
    engine = run.file("engines", "native.int8")
    engine.mkdir(parents=True)
    (engine / "engine.rkdn").write_bytes(b"built")
    (engine / "manifest.json").write_text("{}")
    record = {"fingerprint": "0", "machine": "", "outputs": {"engines/native.int8": file_hash(engine)}, "summary": {}}
    write_state(run.path, {"build": record})
    with pytest.raises(RunFolderError, match="has format None"):
        predict_file(run.path, tmp_path / "rows.csv", by=by)  # as built: it goes on to the manifest
    if harm == "removed":
        (engine / "engine.rkdn").unlink()
    else:
        (engine / ("engine.rkdn" if harm == "changed" else "other")).write_bytes(b"other")
    with pytest.raises(RunFolderError, match=r"'native\.int8'.*changed or removed after it was built"):
        predict_file(run.path, tmp_path / "rows.csv", by=by)


def test_answers_of_float32_are_written_with_the_digits_that_they_have():
    single = np.array([[194.678], [1e-9]], np.float32).astype(np.float64)
    assert Answers("native.fp32", ["y"], single).csv() == "y\n194.678\n1e-09\n"
    assert Answers("teacher", ["y"], np.array([[0.1], [2 / 3]])).csv() == "y\n0.1\n0.6666666666666666\n"
