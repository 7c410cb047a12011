"""Text that users read: no misspelt words, and none of the phrasings that the project replaced."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "regkd_edge"

_COUNTED = (
    "rows|steps|points|samples|requests|draws|perturbations|candidates|threads|scales|numbers|evaluations|passes|bytes"
    "|blocks|times|entries|records|lines|values|vectors|calls|parameters|launches|registers|normals|barriers"
)
_UNITS = (
    "step|row|batch|point|feature|layer|process|core|thread|request|unit|output|input|round|line|target|column|finding"
    "|engine|seed|epoch|series|tensor|channel|second|minute|call|rounding|child|kernel|command|size"
)
#: A phrasing that must not come back -> what a native engineer writes, and why.
BANNED = {
    rf"\b(?:{_COUNTED}|once|one|two|[0-9]+) an? (?:{_UNITS})\b": "'per' for a rate: 'rows per step'",
    r"\b[Mm]end(?:s|ed|ing)?\b": "'fix', not 'mend'",
    r"\b[Mm]ost (?:passes|rows|memory|scratch|calibration|held-out|seconds)\b": "'maximum' or 'at most', not 'most'",
    r"\b(?:tells?|says?|said) nothing\b": "'carries no information'",
    r"\btaken up\b": "'is ignored' or 'is not used'",
    r"\bdone before\b": "'up to date'",
    r"\b(?:has|have) not\b(?! (?:been|seen|yet|changed|run))": "'lacks'",
    r"\bgoes on from here\b": "'run the same command to resume'",
    r"\blost and won\b|\bwas lost, what was won\b": "'results', 'accuracy and latency'",
    r"\bquestions an?\b": "'teacher evaluations per point'",
    r"\blooks? at the validation\b": "'validation'",
    r"\bterms are worth\b": "'what the terms add'",
    r"\bis trusted\b": "'how label and teacher are combined'",
    r"\bcomes? to nothing\b|\b(?:is|be) had\b": "an idiom: state the result",
    r"\ban? \w+ a (?:step|row|request|batch)\b": "'per' for a rate",
    r"\banew\b|\bafresh\b": "'again', 'from the beginning'",
    r"\bnobody (?:knows|named|measured)\b|\bwhoever\b": "name the thing: 'unknown', 'unnamed'",
    r"\bis no [a-z]|\bare no torch\b": "'is not a'",
    r"\basked for\b": "'requested'",
    r"\bis the caller's to\b|\bthe user's to\b": "'for the user to fix'",
}
#: Right uses that a pattern above would catch: the whole phrase, with the reason.
ALLOWED = (
    "There is no ",
    "there is no ",  # existence: "there is no GPU"
    "is no longer",
    "is no more than",
    "is no smaller",
)


def texts(path: Path):
    """Yield ``(line, text)`` of every docstring, message and comment of a file."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())
    for number, line in enumerate(source.splitlines(), 1):
        if "  # " in line or line.lstrip().startswith("# "):
            yield number, line.partition("# ")[2]


def findings(text: str) -> list[str]:
    for phrase in ALLOWED:
        text = text.replace(phrase, "")
    return [
        f"{found.group(0)!r}: write {why}" for pattern, why in BANNED.items() for found in re.finditer(pattern, text)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "100 perturbations a row",
        "Mend that line.",
        "Most passes over the training rows.",
        "is constant and tells nothing",
        "a checkpoint with another one is not taken up",
        "methods of the paper have not",
        "2 d questions a point",
        "steps between two looks at the validation rows",
    ],
)
def test_the_old_phrasings_are_found(text):
    assert findings(text)


@pytest.mark.parametrize(
    "text",
    [
        "100 perturbations per row",
        "This needs a step of the student.",
        "A bundle is a folder that has a manifest.",
        "there is no GPU",
        "the graph has not been built",
    ],
)
def test_plain_sentences_pass(text):
    assert not findings(text)


def test_the_package_has_none_of_the_old_phrasings():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in texts(path)
        for what in findings(text)
    ]
    assert not found, "\n".join(found)


def test_documents_and_cpp_have_none_of_them():
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "csrc").rglob("*.md")]
    cpp = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".h", ".cpp", ".cu")]
    assert len(documents) > 15 and len(cpp) > 60
    found = [
        f"{path.relative_to(ROOT)}:{number}: {what}"
        for path in sorted([*documents, *cpp])
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for what in findings(line)
    ]
    assert not found, "\n".join(found)


def test_no_summary_leaves_its_last_word_alone_on_a_line():
    found = [
        f"{path.relative_to(ROOT)}:{node.body[0].lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        for summary in [(ast.get_docstring(node) or "").split("\n\n")[0].splitlines()]
        if len(summary) > 1 and len(summary[-1].split()) == 1
    ]
    assert not found, "an orphaned last word; rephrase or wrap: " + ", ".join(found)


def test_no_word_is_misspelt():
    codespell = shutil.which("codespell") or shutil.which("codespell", path=str(Path(sys.executable).parent))
    if codespell is None:
        pytest.skip("codespell is not installed: pip install 'regkd-edge[test]'")
    names = ("regkd_edge", "csrc", "tools", "tests", "docs", "examples", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
    paths = [name for name in names if (ROOT / name).exists()]
    done = subprocess.run([codespell, *paths], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
