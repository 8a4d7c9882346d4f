"""``python -m fxexplore``: JupyterLab, opened on the quickstart notebook."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_QUICKSTART = "quickstart.ipynb"


def main(arguments: list[str]) -> int:
    """Start JupyterLab on the quickstart.

    Args:
        arguments: passed on to ``jupyter lab``.

    Returns:
        The exit code of JupyterLab.
    """
    notebook = _notebook()
    # The address that is printed leads to the notebook too, for who opens it by hand.
    place = [
        f"--ServerApp.root_dir={notebook.parent}",
        f"--LabApp.default_url=/lab/tree/{notebook.name}",
    ]
    command = [sys.executable, "-m", "jupyterlab", *place, *_flags(), *arguments]
    return subprocess.run(command, check=False).returncode  # noqa: S603  # the user's own words


def _notebook() -> Path:
    package = Path(__file__).parent
    checkout = package.parent / "notebooks" / _QUICKSTART
    if checkout.exists():
        return checkout
    # Installed as a wheel: a copy that the user may change.
    copy = Path.cwd() / f"fxexplore-{_QUICKSTART}"
    if not copy.exists():
        shutil.copy(package / "notebooks" / _QUICKSTART, copy)
    return copy


def _flags() -> list[str]:
    flags = []
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--allow-root")  # as in a container
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not has_display:
        flags.append("--no-browser")
    return flags


if __name__ == "__main__":
    try:
        import jupyterlab  # noqa: F401
    except ImportError:
        sys.exit('JupyterLab is not installed; run: pip install "fxexplore[lab]"')
    sys.exit(main(sys.argv[1:]))
