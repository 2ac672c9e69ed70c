"""Commands in processes of their own, with one thread each."""

import os
import subprocess
import sys


def run_apart(*arguments: str) -> None:
    """Run a command of `glip` to its end, with what it printed where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "glip_pl", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
