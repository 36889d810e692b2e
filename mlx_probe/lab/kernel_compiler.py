"""A C++ compiler that writes kernels whole, and that Ctrl-C does not end.

MLX calls g++ for each kernel. Before 0.32.4, g++ writes into the file that every other process
loads as soon as it exists, and MLX writes the source anew while another g++ may read it: two
trainings that begin together can load half a kernel. In every version Ctrl-C ends g++ too, and the
step that needs the kernel fails. Here MLX's call goes to a script of the same name, first in PATH:
it compiles a copy of the source into a file of its own, renames that, and lets no Ctrl-C through.
What is computing then is whole, and the program stops where it wants to.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from pathlib import Path

from mlx_probe.core.files import atomic_replace
from mlx_probe.core.paths import cache_dir

__all__ = ["use_kernel_compiler"]

# MLX's call is g++ OPTIONS SOURCE.cpp -o lib*.so, or tmp_*.so since 0.32.4; any other goes to the
# compiler as it is. Sources end with a brace. Private names have one length, as kernels contain the
# name of their source.
SCRIPT = """\
#!/bin/sh
# Written by mlx-probe: see mlx_probe/lab/kernel_compiler.py.
for target in "$@"; do :; done
case $target in
    */mlx/*/cpu/*.so) ;;
    *) exec {compiler} "$@" ;;
esac
trap '' INT
new=${{target%/*}}/.$(printf %010d $$)
for argument in "$@"; do
    shift
    case $argument in
        "$target") argument=$new.so ;;
        *.cpp) source=$argument; argument=$new.cpp ;;
    esac
    set -- "$@" "$argument"
done
tries=0
until cp "$source" "$new.cpp" && tail -n 1 "$new.cpp" | grep -q '^}}' || [ $tries = 50 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
{compiler} "$@" && mv -f "$new.so" "$target"
status=$?
rm -f "$new.cpp" "$new.so"
exit $status
"""


def use_kernel_compiler(compiler: str) -> None:
    """Have MLX call the script, from now on and in processes that are started from here.

    Nothing happens where the cache folder allows no programs: kernels are compiled all the same.

    Args:
        compiler: The command that MLX calls.
    """
    path = shutil.which(compiler)
    if os.name != "posix" or path is None or Path(path).is_relative_to(cache_dir()):
        return
    text = SCRIPT.format(compiler=shlex.quote(path))
    folder = cache_dir() / "kernel-compiler" / hashlib.sha256(text.encode()).hexdigest()[:16]
    script = folder / compiler
    try:
        if not script.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_replace(script, scratch=folder, flush=False) as temporary:
                temporary.write_text(text, "utf-8")
                temporary.chmod(0o755)
    except OSError:
        return
    if os.access(script, os.X_OK):
        os.environ["PATH"] = os.pathsep.join([str(folder), *os.get_exec_path()])
