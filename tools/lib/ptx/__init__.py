"""Execute nvcc's PTX on the CPU: parse it, translate it to C++, run it with a fiber per device thread.

    import ptx                                                                  # with tools/lib on sys.path
    machine = ptx.build([Path("kernel.cu")], Path("driver.cpp"), cache=Path("cache"))
    machine.window(array, "x")                                                  # what kernels may access
    machine.lib.function_of_the_driver(...)
    machine.error(), machine.races(), machine.counts()

``parse`` reads the text, ``expressions`` and ``operations`` translate instructions, ``translate`` writes the C++ file,
``machine*.h`` is what that file runs on, ``build`` compiles all of it, ``report`` reads what a run found.

What it shows: the values that the compiled code computes, misaligned and wild accesses, races between barriers, and
how many instructions of which kind a warp issues. What it cannot show: lockstep of a warp, the weak memory order of a
device, what ptxas makes of the PTX (registers, spills, scheduling), and time.
"""

from .build import Unavailable, build, compile_ptx
from .parse import PtxError, parse
from .report import Machine
from .translate import translate

__all__ = ["Machine", "PtxError", "Unavailable", "build", "compile_ptx", "parse", "translate"]
