"""Import many modules at once, without a search for garbage meanwhile."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Inside this context, which imports modules and may start programs, Python does not look for garbage.

    Modules make a million objects that live until the process ends. Looking through them again and again takes a fifth
    of the time of imports; after this context, too, they are not looked through, unless nothing was imported. An inner
    context does nothing.
    """
    if not gc.isenabled():
        yield
        return
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        gc.enable()
