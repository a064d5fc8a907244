"""Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import kiln


def run(code: str, **environment: str) -> str:
    """What a new Python prints, which finds the package and the tests' modules as this one does."""
    paths = [os.path.dirname(os.path.dirname(kiln.__file__)), os.path.dirname(__file__)]
    paths += [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
