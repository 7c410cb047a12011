"""The run folder: its file names, and which stages are done, stale or incomplete.

One run is one folder. Every command opens it, does what is missing or stale, and adds to it::

    run.yaml                      the configuration (RunConfig)
    state.json                    the finished stages: fingerprint of the inputs, hashes of the outputs
    data.npz  data.json           the table in raw units with its split, so that later stages need no source
    teacher/  student/  baseline/ model.safetensors, model.json, predictions.npz, history.json
    onnx/student.<precision>.onnx scalers inside: raw units in, raw units out
    engines/<backend>.<precision>/  engine.* and manifest.json
    bench/<backend>.<precision>.json and .npz (raw latencies, predictions)
    report.html  report.json
    run.log                       the commands that were called, their stages, notes and errors
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import RunFolderError, UserError
from ..io.command import command_line
from ..io.files import digest, file_hash, write_atomic, write_json
from ..io.names import inside
from .state import STAGES, may_write, read_state, write_state

__all__ = ["STAGES", "RunFolder", "digest", "file_hash", "write_atomic", "write_json"]

# Names of temporary files and folders: those of write_atomic and scratch_folder.
_LEFT = re.compile(r"\..+\.\w+\.tmp(\.\w+)?")
_MAKE_IT = "Create it with: {} --data FILE.csv --target NAME"


class RunFolder:
    """A run on disk.

    Parameters
    ----------
    path : path
        The folder. :meth:`create` creates it; :meth:`open` requires that it exists.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    # -- opening ------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder; anything else is a :class:`RunFolderError` with the command to run."""
        run = cls(path)
        if not run.path.is_dir():
            raise RunFolderError(f"no run folder '{path}'.", _MAKE_IT.format(command_line("train-teacher", run.path)))
        if not run.file("run.yaml").is_file():
            empty = not run._holds_files()
            remedy = (
                _MAKE_IT.format(command_line("train-teacher", run.path))
                if empty
                else "Give a folder that 'train-teacher' or 'run' created."
            )
            raise RunFolderError(
                f"'{path}' is not a run folder: it {'is empty' if empty else 'has no run.yaml'}.", remedy
            )
        run.state()
        return run

    @classmethod
    def create(cls, path: str | Path, config: RunConfig) -> RunFolder:
        """Create or open the run folder ``path`` and write ``config`` to it; finished stages are kept.

        A run that another command is working on is refused and left as it is.
        """
        run = cls.prepare(path)
        with run.lock():
            run.write_config(config)
        return run

    @classmethod
    def prepare(cls, path: str | Path) -> RunFolder:
        """Return the run folder ``path``, made if it does not exist; nothing is written into it.

        Raises
        ------
        RunFolderError
            It is a file, cannot be made, or holds files and is not a run. What a killed command left is not counted.
        """
        run = cls(path)
        if run.path.exists() and not run.path.is_dir():
            raise RunFolderError(f"'{path}' is a file, expected a folder.", "Choose another name for the run.")
        if run.path.is_dir() and not run.file("run.yaml").exists() and run._holds_files():
            raise RunFolderError(
                f"'{path}' holds other files but no run.yaml.", "Choose an empty or new folder for the run."
            )
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"cannot create '{path}': {error.strerror}.", "Choose a writable folder.") from error
        run.state()
        return run

    def _holds_files(self) -> bool:
        """Whether there is more than what a command leaves that was refused or killed before it wrote run.yaml."""
        return any(
            inner.name not in (".lock", "run.log") and not _LEFT.fullmatch(inner.name) for inner in self.path.iterdir()
        )

    # -- names --------------------------------------------------------------------------------------------------

    def file(self, *names: str) -> Path:
        """Return the path of a file of the run: ``run.file("onnx", "student.fp32.onnx")``.

        Names may come from a file: one that leads out of the folder is a :class:`RunFolderError`.
        """
        return inside(self.path, "/".join(names), "the run")

    def relative(self, path: str | Path) -> str:
        """Return ``path`` as written in state.json: relative to the folder, with forward slashes."""
        return Path(path).relative_to(self.path).as_posix()

    # -- configuration ------------------------------------------------------------------------------------------

    def config(self) -> RunConfig:
        """Read ``run.yaml``; :class:`UserError` names every wrong field with its line."""
        return RunConfig.from_yaml(self.file("run.yaml"))

    def write_config(self, config: RunConfig) -> None:
        """Write ``run.yaml``, unless it holds that already."""
        text = config.to_yaml()
        path = self.file("run.yaml")
        if path.is_file() and path.read_bytes() == text.encode():
            return
        with write_atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    # -- state --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the records of the stages, ``{stage: record}``; a corrupt file is a :class:`RunFolderError`."""
        return read_state(self.path)

    def record(self, stage: str) -> dict[str, Any] | None:
        """Return the record of a finished stage in state.json, or None."""
        record = self.state().get(stage)
        return None if record is None or record.get("fingerprint") is None else record

    def outputs_hash(self, stage: str) -> str:
        """Return one hash over all outputs of a finished stage; the fingerprints of later stages contain it."""
        record = self.record(stage)
        if record is None:
            raise RunFolderError(f"stage '{stage}' of '{self.path}' is not done.", "Run that stage first.")
        return digest(record["outputs"])

    def missing_or_stale(self, stage: str, fingerprint: str) -> str | None:
        """Return why a stage must run (``"missing"``, ``"stale: ..."``), or None if it is done.

        A stage is done when its fingerprint is the one recorded and each output still has the recorded hash.
        """
        record = self.record(stage)
        if record is None:
            return "missing"
        if record.get("fingerprint") != fingerprint:
            return "stale: its inputs or options changed"
        for name, recorded in record.get("outputs", {}).items():
            path = self.file(name)
            if not path.exists():
                return f"stale: {name} is missing"
            if file_hash(path) != recorded:
                return f"stale: {name} was changed after it was written"
        return None

    def run_stage(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        work: Callable[[], tuple[list[Path], dict[str, Any]]],
        *,
        machine: str = "",
        force: bool = False,
    ) -> tuple[bool, dict[str, Any], list[str]]:
        """Run ``work`` if the stage is missing or stale, and record it.

        Parameters
        ----------
        stage : one of :data:`STAGES`
        inputs : JSON-able mapping
            Everything that decides the result: the options used and the hashes of what is read.
        work : callable
            Returns the paths it wrote and a JSON-able summary. It writes with :func:`write_atomic`.
        machine : str
            The machine that the stage is bound to (engine, latency); another machine runs it again. Empty: not bound.
        force : bool
            Run it even if it is done.

        Returns
        -------
        ran : bool
            Whether ``work`` was called.
        summary : dict
            The result of ``work``, from now or from its last run.
        removed : list of str
            Outputs of its last run that it no longer writes.
        """
        fingerprint = digest(dict(inputs))
        record = self.record(stage)
        if not force and self.missing_or_stale(stage, fingerprint) is None and record.get("machine", "") == machine:
            return False, record["summary"], []
        # Until the work is done the stage counts as missing; its old outputs stay recorded, to be removed.
        before = self.known_outputs(stage)
        write_state(self.path, {**self.state(), stage: {"fingerprint": None, "outputs": before}})
        started = time.monotonic()
        try:
            paths, summary = work()
        except UserError:
            # Refused before it wrote anything, e.g. for a missing file: the earlier result is still valid.
            if record is not None and all(self.is_as_recorded(name, recorded) for name, recorded in before.items()):
                with contextlib.suppress(RunFolderError):  # a full disk: it counts as missing, no more is lost
                    write_state(self.path, {**self.state(), stage: record})
            raise
        outputs = {self.relative(path): file_hash(path) for path in paths}
        assert all(may_write(stage, name) for name in outputs), f"add to OUTPUTS['{stage}']: {', '.join(outputs)}"
        record = {
            "fingerprint": fingerprint,
            "machine": machine,
            "outputs": outputs,
            "seconds": round(time.monotonic() - started, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "summary": summary,
        }
        write_state(self.path, {**self.state(), stage: record})
        return True, summary, self.remove(set(before) - set(outputs))

    def known_outputs(self, stage: str) -> dict[str, str]:
        """Return path -> hash of a stage's last outputs, even if a later attempt at it did not finish."""
        return self.state().get(stage, {}).get("outputs", {})

    def is_as_recorded(self, name: str, recorded: str) -> bool:
        """Return whether an output exists with the hash that was recorded."""
        path = self.file(name)
        return path.exists() and file_hash(path) == recorded

    def discard(self, stage: str) -> list[str]:
        """Drop a stage and its outputs, and return the names removed, so that no figure of an
        older model can be mistaken for one of this run.
        """
        stages = self.state()
        record = stages.pop(stage, None)
        if record is not None:
            write_state(self.path, stages)
            return self.remove(record["outputs"])
        return []

    def remove(self, names: Iterable[str]) -> list[str]:
        """Delete outputs of the run, and folders that are empty then; return the names of those that existed."""
        removed = []
        for name in sorted(names):
            path = self.file(name)
            if path.exists():
                removed.append(name)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                path.parent.rmdir()
        return removed

    # -- one writer at a time -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing; a second command on it gets a :class:`RunFolderError` at once."""
        path = self.file(".lock")
        try:
            stream = open(path, "a+")
        except OSError as error:
            raise RunFolderError(
                f"cannot write to '{self.path}': {error.strerror}.", "Choose a writable folder."
            ) from error
        with stream:
            try:
                import fcntl
            except ImportError:  # Windows: no advisory locks; atomic writes still keep every file complete
                yield
                return
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunFolderError(
                    f"another regkd-edge command is using '{self.path}'.", "Wait for it to end, or stop it."
                ) from None
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove temporary files of a command that was killed; only the lock's holder may."""
        for left in self.path.rglob(".*.tmp*"):
            if not _LEFT.fullmatch(left.name):  # a user's own, e.g. .notes.tmpl
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
