"""Deployment of a bundle on the device, without torch and onnx: unpack, build, verify, time, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import api
from ..config import BenchConfig, RunConfig
from ..data import load_dataset, load_predictions
from ..engines.verify import allowed_difference
from ..errors import GraphError, RunFolderError, UserError
from ..io.arrays import read_npz
from ..io.files import write_json
from ..io.words import counted
from ..measure import accuracy
from ..report import collect, write_report
from ..run import RunFolder
from .archive import Contents, read_archive, read_contents, read_folder, unpack
from .building import build_here, chosen_backends
from .remarks import other_machine, other_version
from .schema import LIST
from .signature import signer
from .signature import verify as verify_signature
from .unlisted import require_listed
from .verify import accuracies, compared

__all__ = ["DEPLOYED", "Deployed", "deploy"]

DEPLOYED = "deploy.json"


@dataclass
class Deployed:
    """The result of :func:`deploy`.

    Attributes
    ----------
    run : RunFolder
        The unpacked bundle with ``engines/``, ``bench/`` and the report.
    verified : list of dict
        One per engine: ``name``, ``passed``, ``difference`` and ``allowed`` (RMS difference from the expected output of
        the target that is nearest to its limit, in its unit), ``largest``, ``rmse`` and ``expected_rmse``.
    left_out : list of str
        Engines that were not built here, each with the reason.
    recommended : dict or None
        As in the report.
    """

    run: RunFolder
    verified: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recommended: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        return bool(self.verified) and all(one["passed"] for one in self.verified)


def deploy(
    archive: str | Path,
    folder: str | Path | None = None,
    *,
    backends: Sequence[str] | None = None,
    batches: Sequence[int] | None = None,
    samples: int | None = None,
    warmup: int | None = None,
    threads: int | None = None,
    verify: str | Path | None = None,
    run_code_of_plan: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Deployed:
    """Build, verify, time and report a bundle on this machine.

    Parameters
    ----------
    archive : path
        The archive of :func:`make_bundle`, or the folder that an earlier call unpacked it to.
    folder : path, optional
        The working folder; by default the archive's name without its extension, in the current folder. The same
        bundle there is checked and reused.
    backends : sequence of str, optional
        The back ends to use; each must be usable. By default all that are usable here.
    batches, samples, warmup, threads
        As in ``BenchConfig``; the bundle's own by default.
    verify : path, optional
        A public Ed25519 key: the bundle must be signed by it (:mod:`.signature`), or nothing is unpacked. A folder
        may hold nothing else then: what an earlier call made (engines, figures) is removed and made again.
    run_code_of_plan : bool
        Load version-compatible TensorRT plans, which executes code from them. The bundle's own setting is not
        consent.

    Raises
    ------
    RunFolderError
        A damaged, changed or foreign file, by its name; a signature that is required and is absent or wrong, or
        beside which the folder holds files that are not listed; or ``folder`` holds something else.
    NotAvailable
        No back end can be used here, or a requested one cannot.
    GraphError
        No engine could be built.
    """
    archive, say = Path(archive), progress or (lambda text: None)
    asked = {"batches": batches, "samples": samples, "warmup": warmup, "threads": threads}
    _changed(RunConfig(), asked)  # report a mistake before anything is unpacked
    chosen, left_out = chosen_backends(backends)
    if archive.is_dir():
        folder = _unpacked(archive, folder)
        contents = read_folder(folder)
        signed = _signed(contents, verify, archive)
    else:
        folder = _folder_for(archive, folder)
        contents = read_contents(archive)
        signed = _signed(contents, verify, archive)
        unpack(archive, folder, contents)
    run = RunFolder.open(folder)
    result = Deployed(
        run, left_out=left_out, notes=[signed, *other_machine(contents.list), *other_version(run, contents.list)]
    )
    with run.lock():
        if verify is not None and (removed := require_listed(run.path, contents.list)):
            result.notes.append(
                f"{counted(removed, 'file')} of an earlier deployment removed: no signature covers them"
            )
        _work(run, contents.list, result, chosen, {**asked, "run_code_of_plan": run_code_of_plan}, say)
    return result


def _signed(contents: Contents, key: str | Path | None, path: Path) -> str:
    """Return what is known of who made the bundle; refuse it when ``key`` did not sign it."""
    if key is not None:
        return f"signed by the key {verify_signature(contents.listing, contents.signature, key, path)}, verified"
    if contents.signature is None:
        return "the bundle is not signed: nothing says who made it"
    named = signer(contents.signature, path)
    return f"the bundle names the key {named} as its signer; give --verify PUBKEY to verify that"


def _unpacked(archive: Path, folder: str | Path | None) -> Path:
    """Return the folder that is given in place of the archive, if it holds a bundle."""
    if folder is not None and Path(folder).resolve() != archive.resolve():
        raise UserError(f"'{archive}' is a folder: an unpacked bundle is used in place.", "Omit the second folder.")
    if not (archive / LIST).is_file():
        raise RunFolderError(
            f"'{archive}' is a folder without {LIST}: no bundle was unpacked there.",
            "Give the .tar.gz that 'regkd-edge bundle' wrote, or the folder it was deployed to.",
        )
    return archive


def _folder_for(archive: Path, folder: str | Path | None) -> Path:
    """Return the working folder: the given one, else one named like the archive without its extension."""
    if folder is None:
        folder = archive.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    if Path(folder).resolve() == archive.resolve():
        read_archive(archive)  # report first if this is not an archive at all
        raise UserError(
            f"'{archive}' does not end in '.tar.gz', so no folder can be named after it.",
            "Give a folder after the bundle.",
        )
    return Path(folder)


def _changed(config: RunConfig, asked: dict[str, Any]) -> BenchConfig:
    """Return the validated bench section with the given options."""
    return config.updated({f"bench.{key}": value for key, value in asked.items() if value is not None}).bench


def _work(
    run: RunFolder,
    content: dict[str, Any],
    result: Deployed,
    backends: list[str],
    asked: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    config = run.config()
    bench = _changed(config, asked)
    dataset = load_dataset(run)
    x, y = dataset.rows("test")
    names = dataset.table.target_names
    expected = _expected(run, content, y.shape)
    engines = [(backend, graph) for backend in backends for graph in content["graphs"]]
    folders = []
    for backend, graph in engines:
        name = f"{backend}.{graph}"
        say(f"building {name}")
        try:
            build_here(run, content, backend, graph, bench.threads)
        except GraphError as error:
            result.left_out.append(f"{name}: {error}")
            continue
        say(f"verifying {name}")
        trusted = {"run_code_of_plan": True} if backend == "tensorrt" and bench.run_code_of_plan else {}
        with api.load_engine(run.file("engines", name), bench.threads, **trusted) as engine:
            answers = engine.predict(x)
        described = content["graphs"][graph]
        found = compared(name, answers, expected[graph], described["allowed"], names)
        if found["difference"] is not None:
            found |= accuracies(accuracy(y, answers, names), described["accuracy"], found.pop("targets"))
        result.verified.append(found)
        if found["passed"]:
            folders.append(run.file("engines", name))
        else:
            met = (
                "outputs that are not finite"
                if found["difference"] is None
                else f"RMS difference {found['difference']:.3g}"
            )
            result.notes.append(
                f"the outputs of {name} differ from its graph's, so it was not timed: {met} in '{found['target']}', "
                f"at most {found['allowed']:.3g} is allowed."
            )
    if not result.verified:
        raise GraphError(
            f"no engine of '{run.path}' could be built: {'; '.join(result.left_out)}",
            "Choose another back end with --backend.",
        )
    for stale in [*run.file("bench").glob("*.json"), *run.file("bench").glob("*.npz")]:
        stale.unlink()  # figures of an earlier call, whose engines may be gone
    if folders:
        teacher = (
            load_predictions(run.file("teacher", "predictions.npz"), y.shape)
            if run.file("teacher", "predictions.npz").is_file()
            else None
        )
        batches = bench.batches if config.export_batch == "dynamic" else [config.export_batch]
        measured = api.bench(
            folders,
            x,
            y,
            teacher=teacher,
            reference=expected["fp32"],
            target_names=names,
            progress=say,
            config=bench.model_copy(update={"batches": batches}),
        )
        measured.save(run.file("bench"))
    ends = {
        "format": 1,
        "bundle": content["name"],
        "target": content["target"],
        "rows": content["rows"],
        "verified": result.verified,
        "left_out": result.left_out,
        "notes": result.notes,
        "two_parts": {name: graph["two_parts"] for name, graph in content["graphs"].items() if "two_parts" in graph},
    }
    write_json(run.file(DEPLOYED), ends)
    report = collect(run)
    write_report(run, report)
    result.recommended = report.recommended


def _expected(run: RunFolder, content: dict[str, Any], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    if content["rows"]["count"] != shape[0]:
        raise RunFolderError(
            f"{LIST} of '{run.path}' announces {content['rows']['count']:,} rows, its data hold {shape[0]:,}.",
            "Create the bundle again.",
        )
    answers = {name: y.astype(np.float64) for name, y in read_npz(run.file("expected.npz")).items()}
    for name in content["graphs"]:
        if name not in answers or answers[name].shape != shape:
            raise RunFolderError(
                f"'expected.npz' of '{run.path}' holds no outputs of the {name} graph for its {shape[0]} rows.",
                "Create the bundle again.",
            )
        if not np.isfinite(answers[name]).all():
            raise RunFolderError(
                f"'expected.npz' of '{run.path}' holds an answer of the {name} graph that is not finite.",
                "Create the bundle again.",
            )
    for name, described in content["graphs"].items():
        if len(described["allowed"]) != shape[1]:
            raise RunFolderError(
                f"'{run.path}' allows {len(described['allowed'])} differences of the {name} "
                f"graph, it has {shape[1]} targets.",
                "Create the bundle again.",
            )
        most = allowed_difference(answers["fp32"], answers[name])
        # Made from float64 answers, judged by their float32: a hundredth covers that.
        if (np.asarray(described["allowed"]) > 1.01 * most + 1e-6 * np.abs(answers["fp32"]).max(axis=0)).any():
            raise RunFolderError(
                f"'{run.path}' allows a difference of {max(described['allowed']):.3g} to the {name} graph, its answers "
                f"justify at most {most.max():.3g}.",
                "Create the bundle again.",
            )
    return answers
