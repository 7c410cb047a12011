# Sourced by the commands of tools/: makes or reuses .venv and installs the package with its extension into it.
#
#   PYTHON            the interpreter to make .venv with (default: python3; 3.10 or newer)
#   REGKD_EDGE_TORCH  what to install as torch: a requirement, a wheel or a folder of one
#                     (default: the pin of constraints.txt)
#   REGKD_EDGE_VENV   where the virtual environment is (default: .venv in the project)
#
# A second call with nothing changed takes well under a second: a stamp in .venv holds the hash of everything that the
# installation depends on.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${REGKD_EDGE_VENV:-$root/.venv}

fail() { echo "set-up: $1" >&2; exit 2; }

stamp_now() {
    (
        cd "$root"
        cat pyproject.toml constraints.txt CMakeLists.txt regkd_edge/__init__.py
        find csrc -type f | LC_ALL=C sort | xargs cat
        find regkd_edge -name '*.py' | LC_ALL=C sort  # an editable installation knows where each module was
        echo "root=$root torch=${REGKD_EDGE_TORCH:-} nvcc=$(command -v nvcc || true)"
        "$venv/bin/python" -VV 2>/dev/null
    ) | cksum
}

setup() {
    local python=${PYTHON:-python3} stamp=$venv/.regkd-edge-stamp
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
        command -v "$python" >/dev/null || fail "no '$python' on the PATH; install Python 3.10 or newer, or set PYTHON."
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
            || fail "$("$python" -V) is too old, expected 3.10 or newer; set PYTHON to a newer interpreter."
        echo "set-up: making $venv with $("$python" -V)" >&2
        "$python" -m venv --clear "$venv" || fail "'$python -m venv' failed; on Debian and Ubuntu install python3-venv."
    fi
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(stamp_now)" ]; then return; fi
    rm -f "$stamp"
    command -v "${CXX:-c++}" >/dev/null || fail "no C++ compiler '${CXX:-c++}'; install g++ or clang, or set CXX."

    local torch constraints=$venv/constraints.txt
    if [ -n "${REGKD_EDGE_TORCH:-}" ]; then
        torch=$REGKD_EDGE_TORCH
        grep -v '^torch==' "$root/constraints.txt" >"$constraints"
    else
        torch=$(grep '^torch==' "$root/constraints.txt")
        cp "$root/constraints.txt" "$constraints"
    fi
    echo "set-up: installing $torch, the package and its extension (once; a few minutes)" >&2
    local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
    "${pip[@]}" "$torch" || fail "torch could not be installed from '$torch'; set REGKD_EDGE_TORCH to a requirement or wheel that fits this machine."
    "${pip[@]}" -c "$constraints" -e "$root[distill,test]" || fail "the package could not be installed; the lines above say why."
    stamp_now >"$stamp"
}
