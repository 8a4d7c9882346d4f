"""A real JupyterLab in a real Chromium: one server and one page.

A test has a fresh notebook; those of a class share one, for a kernel takes seconds to start.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright import sync_api

from tests.npm import npm_package

from .widget_page import WidgetPage

REPOSITORY = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The last flag proves that nothing needs a network.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
AXE = "4.11.0"
AXE_RUN = """where => axe.run(where, {runOnly: {type: 'tag', values: [
    'wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}})"""
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false"},
}


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(pytest.mark.browser)
            if item.get_closest_marker("always") is None:
                item.add_marker(pytest.mark.thorough)
    # Last: Playwright's event loop runs until the session ends, and under a loop widgets wait.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def find_chromium(playwright) -> str | None:
    named = os.environ.get("FXEXPLORE_CHROMIUM")
    on_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    own = playwright.chromium.executable_path
    return named or on_path or (own if Path(own).exists() else None)


@pytest.fixture(scope="session")
def browser():
    with sync_api.sync_playwright() as playwright:
        executable = find_chromium(playwright)
        if executable is None:
            (pytest.fail if os.environ.get("FXEXPLORE_REQUIRE_BROWSER") else pytest.skip)(
                "no Chromium found; get one with `apt-get install chromium` or `playwright install "
                "chromium`, or name one in the environment variable FXEXPLORE_CHROMIUM"
            )
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots():
    folder = Path(os.environ.get("FXEXPLORE_SCREENSHOTS", REPOSITORY / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def widget_page(browser, screenshots):
    """A bare page for one widget, without JupyterLab; see its class."""
    page = WidgetPage(browser, screenshots)
    yield page
    page.leave()
    assert page.errors == []


@pytest.fixture(scope="session")
def axe(request):
    """The source of axe-core, to be evaluated in a page before ``AXE_RUN``."""
    return (npm_package(request.config.cache, "axe-core", AXE) / "axe.min.js").read_text()


def faults(result) -> list[str]:
    """What axe-core found, in words."""
    assert len(result["passes"]) > 10  # it did look
    return [
        f"{rule['help']}: {node['html'][:200]}: {node['failureSummary']}"
        for rule in result["violations"]
        for node in rule["nodes"]
    ]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a JupyterLab that serves a folder of its own."""
    home = tmp_path_factory.mktemp("jupyter")
    work = home / "work"
    work.mkdir()
    for plugin, settings in SETTINGS.items():
        file = home / "settings" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    port = _free_port()
    command = [
        sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True",
        "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
        "--LabApp.extension_manager=readonly", f"--ServerApp.root_dir={work}",
    ]  # fmt: skip
    folders = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython", "MPLCONFIGDIR": "matplotlib",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    environment = os.environ | {name: str(home / folder) for name, folder in folders.items()}
    # Kernels import what is tested, whatever else is installed.
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    log = (home / "log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=work)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(address, process, home / "log")
        yield address, work
    finally:
        process.kill()  # its kernels were shut down test by test
        process.wait()
        log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_up(address, process, log):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/api", timeout=2)
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
        else:
            return
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def page(browser, server):
    address, _ = server
    page = browser.new_page(viewport={"width": 1500, "height": 1100}, device_scale_factor=1)
    page.set_default_timeout(60_000)
    page.goto(f"{address}/lab")
    page.wait_for_function("window.jupyterapp && window.jupyterapp.restored.then(() => true)")
    return page


@pytest.fixture(scope="class")
def lab(page, server):
    with notebook_in(page, server) as lab:
        yield lab


@contextlib.contextmanager
def notebook_in(page, server):
    """For fixtures ``lab`` of a wider scope."""
    lab = Lab(page, server[1])
    try:
        yield lab
    finally:
        lab.close()


class Lab:
    """A notebook in the page, and its kernel."""

    def __init__(self, page, folder):
        self.page = page
        self._folder = folder

    def open(self, notebook: dict | Path) -> None:
        """Open a copy of a notebook and wait until its kernel answers."""
        content = json.loads(notebook.read_text()) if isinstance(notebook, Path) else notebook
        name = f"{time.monotonic_ns()}.ipynb"
        (self._folder / name).write_text(json.dumps(content))
        self.page.evaluate(
            """async (path) => {
                const app = window.jupyterapp;
                const widget = await app.commands.execute('docmanager:open', {path});
                await widget.context.ready;
                await widget.sessionContext.ready;
                app.shell.collapseLeft?.();
                window.fxNotebook = widget;
            }""",
            name,
        )

    def run_all(self) -> None:
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(
            "window.fxNotebook.sessionContext.session.kernel.status === 'idle'"
        )

    def python(self, expression: str) -> str:
        """The repr of an expression in the kernel."""
        answer = self.page.evaluate(
            """async (expression) => {
                const kernel = window.fxNotebook.sessionContext.session.kernel;
                const future = kernel.requestExecute(
                    {code: '', silent: true, user_expressions: {value: expression}});
                return (await future.done).content.user_expressions.value;
            }""",
            expression,
        )
        assert answer["status"] == "ok", answer
        return answer["data"]["text/plain"]

    def wait_for(self, expression: str, value: str) -> None:
        """Wait until an expression in the kernel has a value: messages take their time."""
        deadline = time.monotonic() + 30
        while (seen := self.python(expression)) != value:
            assert time.monotonic() < deadline, f"{expression} is still {seen}, not {value}"

    def set_theme(self, name: str) -> None:
        self.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
            name,
        )
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def close(self) -> None:
        self.page.evaluate(
            """async () => {
                if (!window.fxNotebook) return;
                await window.fxNotebook.sessionContext.shutdown();
                await window.fxNotebook.context.save().catch(() => {});
                window.fxNotebook.close();
                window.fxNotebook = undefined;
            }"""
        )


def notebook_of(*cells: str) -> dict:
    """A notebook of code cells."""
    return {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": cell,
            }
            for cell in cells
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        },
        "nbformat": 4,
        "nbformat_minor": 4,
    }
