"""How many threads llama.cpp shall have, in a process of ours and in a server."""

import os

from command import UserError


def threads() -> int:
    """OMP_NUM_THREADS, as torch has it, else the cores that we may use. UserError if it is no number.

    llama.cpp's own default is the machine's cores; with more threads than free cores it is slowed many times over, as they spin.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").strip()
    if not asked:
        # macOS has no sched_getaffinity
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    first = asked.partition(",")[0].strip()  # the others are of parallel regions inside of parallel regions
    if not (first.isdecimal() and int(first)):
        raise UserError(
            f"OMP_NUM_THREADS is {asked!r}; it must be a number of threads, 1 or more. Correct or unset it."
        )
    return int(first)
