"""Run mutants of the package's numerical rooms against the tests of their room (tools/mutate).

A sample of N mutants by a seed is taken over all rooms together, so that each mutant is equally likely. A mutant is
caught if a test fails, and also if it does not end in time. The tests that run the changed line come first, by a
coverage of the room; then the whole room, if the line also runs outside of tests. Every result is a line of JSON in
--out, by which the run can be resumed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
TWINS = ("twin", "philox", "permutation", "passes", "points", "reference")
ROOMS = {  # room: files of the package, folder of tests
    "objectives": (["objectives/*.py"], "tests/objectives"),
    "twins": ([f"fused/{name}.py" for name in TWINS], "tests/fused"),
    "quantization": (["quantization/*.py"], "tests/quantization"),
    "measure": (["measure/*.py"], "tests/measure"),
}


# An editable installation sends every import of the package to its own sources: in the copy it must not.
_UNREDIRECTED = """
import sys

sys.meta_path[:] = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/mutate", description=__doc__)
    parser.add_argument("--n", type=int, default=150, help="size of the sample")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", default=",".join(ROOMS), help=f"of {','.join(ROOMS)}")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants.jsonl")
    parser.add_argument("--survivors", action="store_true", help="list what no test noticed so far, and run nothing")
    parser.add_argument("--again", action="store_true", help="run the survivors in --out once more: tests were added")
    chosen = parser.parse_args()
    rooms = chosen.rooms.split(",")
    if unknown := set(rooms) - set(ROOMS):
        parser.error(f"no room {', '.join(sorted(unknown))}; known: {', '.join(ROOMS)}")
    if chosen.survivors:
        return report(read(chosen.out).values(), survivors=True)

    everything = [(room, path, mutant) for room in rooms for path in files(room) for mutant in mutants(text_of(path))]
    sample = random.Random(chosen.seed).sample(everything, min(chosen.n, len(everything)))
    done = {key: found for key, found in read(chosen.out).items() if found["caught"] or not chosen.again}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    print(f"{len(sample)} of {len(everything)} mutants; results in {chosen.out}", flush=True)
    found = []
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        tree = copied(Path(folder))
        tests = {}
        for room in rooms:  # the mutants of a room one after the other: its tests are looked at once
            for path, mutant in [(path, mutant) for r, path, mutant in sample if r == room]:
                key = identity(path, mutant)
                if key not in done:
                    if room not in tests:
                        tests[room] = Tests(tree, ROOMS[room][1])
                    result = tests[room].judge(path, mutant)
                    done[key] = {"key": key, "room": room, "file": path, "line": mutant.line, "kind": mutant.kind,
                                 "change": mutant.change(text_of(path)), **result}  # fmt: skip
                    with chosen.out.open("a") as stream:
                        stream.write(json.dumps(done[key]) + "\n")
                    print(line(done[key]), flush=True)
                found.append(done[key])
    return report(found, survivors=True)


def files(room: str) -> list[str]:
    """The sources of a room, as paths in the project."""
    found = [p for pattern in ROOMS[room][0] for p in sorted((ROOT / "regkd_edge").glob(pattern))]
    return [str(p.relative_to(ROOT)) for p in found]


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def identity(path: str, mutant: Mutant) -> str:
    """A mutant is the same if its file, place and change are, and the file has not been edited since."""
    about = f"{path} {text_of(path)} {mutant.start} {mutant.end} {mutant.new}"
    return hashlib.sha256(about.encode()).hexdigest()[:16]


def read(path: Path) -> dict[str, dict]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {found["key"]: found for found in map(json.loads, lines)}


def copied(folder: Path) -> Path:
    """A copy of what the tests read, in which sources can be spoiled."""
    for name in ("regkd_edge", "tests", "tools", "csrc", "docs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy(path, folder)
    found = importlib.util.find_spec("regkd_edge")
    for place in (Path(place) for place in (found.submodule_search_locations if found else ())):
        for compiled in place.glob("*.so"):
            shutil.copy(compiled, folder / "regkd_edge")
    (folder / "sitecustomize.py").write_text(_UNREDIRECTED)
    return folder


class Tests:
    """The tests of a room in a copy of the project: how long they take, and which of them run which line."""

    def __init__(self, tree: Path, folder: str):
        self.tree, self.folder, self.contexts = tree, folder, {}
        data = tree / "mutate.coverage"
        rc = tree / "mutate.ini"
        rc.write_text(f"[run]\nsource_pkgs = regkd_edge\ndynamic_context = test_function\ndata_file = {data}\n")
        started = time.monotonic()
        command = [sys.executable, "-m", "coverage", "run", f"--rcfile={rc}", "-m", "pytest", "-q", "-x", folder]
        done = subprocess.run(command, cwd=tree, env=self.environment(), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"mutate: {folder} fails without a mutant:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        self.seconds = time.monotonic() - started
        import coverage

        self.data = coverage.CoverageData(str(data))
        self.data.read()
        print(f"{folder}: {self.seconds:.0f} s without a mutant", flush=True)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.tree)}

    def of_line(self, path: str, line: int) -> tuple[list[str], bool]:
        """The tests that run a line, as pytest names them, and whether it also runs outside of them: in a fixture, or
        when the module is imported."""
        if path not in self.contexts:
            self.contexts[path] = self.data.contexts_by_lineno(str((self.tree / path).resolve()))
        names, contexts = [], self.contexts[path].get(line, [])
        for context in contexts:
            parts = context.split(".")  # tests.room.test_module.test_name, test_module.TestClass.test_name, ...
            at = next((i for i, part in enumerate(parts) if (self.tree / self.folder / f"{part}.py").exists()), None)
            if at is not None:
                names.append("::".join([f"{self.folder}/{parts[at]}.py", *parts[at + 1 :]]))
        return sorted(names), len(names) < len(contexts) or not contexts

    def judge(self, path: str, mutant: Mutant) -> dict:
        """Run the tests on one mutant: ``caught`` and by what, in how many seconds."""
        started = time.monotonic()
        (self.tree / path).write_text(mutant.apply(text_of(path)), encoding="utf-8")
        try:
            first, elsewhere = self.of_line(path, mutant.line)
            end = self.run(first) if first else 0
            if end in (4, 5):  # pytest did not find a name: the whole room answers
                end, elsewhere = 0, True
            if end == 0 and elsewhere:
                end = self.run([self.folder])
        finally:
            shutil.copyfile(ROOT / path, self.tree / path)
        by = {0: None, None: "time"}.get(end, "test")
        return {"caught": end != 0, "by": by, "seconds": round(time.monotonic() - started, 1)}

    def run(self, tests: list[str]) -> int | None:
        """The exit status of pytest, None after three times the seconds of the room."""
        process = os.fork()  # this process has the large libraries in memory already
        if process == 0:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            os.chdir(self.tree)
            os.environ.update(self.environment())
            sys.path.insert(0, str(self.tree))
            exec(_UNREDIRECTED, {})
            import pytest

            os._exit(int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests])))
        limit = time.monotonic() + 3 * self.seconds + 20
        while time.monotonic() < limit:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return None


def line(found: dict) -> str:
    what = f"caught ({found['by']})" if found["caught"] else "SURVIVED"
    return f"{what:14} {found['file']}:{found['line']}  {found['kind']}: {found['change']}"


def report(found, survivors: bool) -> int:
    """Print the share that was caught per room and in all; 1 if it is below 85 %."""
    found = list(found)
    for room in [*ROOMS, "in all"]:
        part = [f for f in found if room in (f["room"], "in all")]
        if part:
            caught = sum(f["caught"] for f in part)
            print(f"{room:14} {caught} of {len(part)} caught, {caught / len(part):.1%}")
    if survivors:
        print(*[line(f) for f in found if not f["caught"]], sep="\n")
    return int(sum(f["caught"] for f in found) < 0.85 * len(found))


if __name__ == "__main__":
    for library in ("torch", "numpy", "onnx", "onnxruntime", "scipy.stats", "hypothesis", "pytest"):
        with contextlib.suppress(ImportError):
            __import__(library)
    sys.exit(main())
