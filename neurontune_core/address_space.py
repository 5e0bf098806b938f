"""Check, before anything is computed, that the limit of address space is large enough for a process."""

import resource

from neurontune_core.errors import InputError

LIBRARIES = 6 << 30
"""Bytes of address space of a run with the smallest model: libraries, threads and their stacks, most of it untouched.

Below it threads cannot start and torch ends by a segmentation fault.
"""
PARAMETER = 8
"""Bytes a parameter: the mapped file and the weights in float32."""
LIMIT, _ = resource.getrlimit(resource.RLIMIT_AS)
"""The limit when the process started: rendering a chat template lowers it for a moment."""


def check_address_space(parameters: int = 0) -> None:
    """Check that the limit of this process is at least `LIBRARIES + PARAMETER * parameters` bytes.

    Raises:
        InputError: it is less; the message names the limit, its value and the remedy.
    """
    need = LIBRARIES + PARAMETER * parameters
    if LIMIT != resource.RLIM_INFINITY and need > LIMIT:
        raise InputError(
            f"the limit of address space (ulimit -v) is {LIMIT >> 10} KiB, and a run with this model needs at least "
            f"{need >> 10} KiB; remove it with `ulimit -v unlimited`, or limit memory by a cgroup instead"
        )
