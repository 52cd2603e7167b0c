"""A virtual environment for each peer, from PyPI, with pinned versions; or the reason why there is none."""

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TORCH = "not asked for: torch from PyPI brings CUDA along on Linux, some 3 GB to fetch and 6 GB on the disk; BENCH_TORCH=1 takes it"


def python_of(name, folder, torch=False):
    """(the environment's python, None) or (None, why not)."""
    requirements = HERE / "requirements" / f"{name}.txt"
    wanted = requirements.read_text()
    if "torch==" in wanted and not torch:
        return None, TORCH
    place = Path(folder) / name
    python, mark = place / "bin" / "python", place / "installed"
    key = hashlib.sha256(wanted.encode() + sys.version.encode()).hexdigest()
    if mark.exists() and mark.read_text() == key:
        return python, None
    print(f"bench: installing {name} into {place}", file=sys.stderr)
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "-r", str(requirements)],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
            return None, f"does not install: {next((line for line in lines if 'ERROR' in line), lines[-1])}"
    mark.write_text(key)
    return python, None
