"""Runs a command, and ends it when the process that wants it is gone.

Started by path, without the package. Its standard input is a pipe that nobody writes to: it ends
when the other process closes it, or is killed.
"""

import os
import subprocess
import sys
import threading

# Seconds in which a command may save what it has.
_GRACE = 60.0


def _end(child: "subprocess.Popen[bytes]") -> None:
    os.read(0, 1)
    child.terminate()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()


def main() -> int:
    """Run the command that the arguments name; its exit code, 128 + N after signal N."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end, args=(child,), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # Not by `sys.exit`, which would wait for the thread's read.
    os._exit(main())
