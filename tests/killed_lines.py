"""A process that is killed before a line of some files, for tests that try every line in turn."""

import os
import signal
import sys
from contextlib import contextmanager

from mlx_probe.library.catalog import database as database_module


@contextmanager
def open_database(path):
    with database_module.open_database(path) as opened:
        # What was written survives a kill, if not a power cut.
        opened.run("PRAGMA synchronous = OFF")
        yield opened


def ended_before(step, watched, path, act):
    """Whether ``act(database)`` came to its end before so many lines of the watched files."""
    child = os.fork()
    if not child:
        left = step

        def trace(frame, event, argument):
            nonlocal left
            if not frame.f_code.co_filename.endswith(watched):
                return None
            if event == "line":
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        with open_database(path) as database:
            sys.settrace(trace)
            act(database)
            sys.settrace(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return not os.WIFSIGNALED(status)
