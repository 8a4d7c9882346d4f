import concurrent.futures
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from fxexplore import layout
from fxexplore.layout import LayoutTimeoutError, to_svg

SMALL = "digraph { a -> b }"
DENSE = "digraph {" + ";".join(f"a{i} -> a{j}" for i in range(120) for j in range(i)) + "}"
PATIENCE = 60  # generous, for a busy machine: it takes milliseconds


def python(code, **kwargs):
    """Run a script in a process of its own, with this fxexplore."""
    path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **kwargs,
    )


def worker_id():
    """The worker that waits for the next graph."""
    layout.warm_up()
    wait_until(lambda: layout._spares)
    return layout._spares[0].pid


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid):
    """Whether a process has ended; one that nobody has waited for counts as ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_the_worker_of_the_next_picture_is_started_ahead():
    before = worker_id()
    assert to_svg(SMALL)
    assert is_gone(before)
    assert worker_id() != before


def test_a_layout_that_takes_too_long_is_stopped_and_the_next_one_works():
    before = worker_id()
    with pytest.raises(LayoutTimeoutError, match="fold a module"):
        to_svg(DENSE, time_limit=0.3)
    assert is_gone(before)
    assert to_svg(SMALL).startswith("<svg")


def test_sources_are_tried_until_one_is_laid_out_in_time():
    assert layout.lay_out([DENSE, SMALL], time_limit=0.3).attempt == 1
    assert layout.lay_out([SMALL, DENSE]).attempt == 0


def test_sources_are_not_asked_for_until_they_are_needed():
    def sources():
        yield SMALL
        pytest.fail("the first was good")

    assert layout.lay_out(sources()).attempt == 0


def test_an_error_in_making_a_source_arrives_with_the_result():
    def sources():
        raise KeyError("mine")
        yield

    with pytest.raises(KeyError, match="mine"):
        layout.lay_out(sources())
    assert to_svg(SMALL)


def test_a_stopped_layout_ends_at_once_and_those_after_it_are_served():
    before = worker_id()
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        stopped = [
            pool.submit(layout.lay_out, [DENSE, DENSE], time_limit=PATIENCE, stop=stop)
            for _ in range(2)
        ]
        wait_until(lambda: not layout._spares)  # one has begun
        last = pool.submit(to_svg, SMALL)
        stop.set()
        for future in stopped:
            with pytest.raises(concurrent.futures.CancelledError):
                future.result(PATIENCE)
        assert last.result(PATIENCE).startswith("<svg")
    assert is_gone(before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="nobody can be interrupted here")
def test_an_interrupt_of_the_kernel_ends_the_layout_that_its_thread_waits_for():
    before = worker_id()
    me = threading.get_ident()
    threading.Timer(0.5, lambda: signal.pthread_kill(me, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        to_svg(DENSE, time_limit=PATIENCE)
    wait_until(lambda: is_gone(before))
    assert to_svg(SMALL)


def test_a_worker_that_was_killed_is_replaced():
    os.kill(before := worker_id(), signal.SIGKILL)
    wait_until(lambda: is_gone(before))
    assert to_svg(SMALL)


@pytest.mark.thorough
def test_many_threads_get_each_its_own_picture():
    def one(i):
        return f">n{i}<" in to_svg(f"digraph {{ n{i} }}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(40)))


def test_interrupting_the_kernel_does_not_stop_the_worker():
    pid = worker_id()
    layout._spares[0].stdout.read(1)  # it has started
    os.kill(pid, signal.SIGINT)
    layout._spares[0].stdin.write(b"svg 60 %d\n%s" % (len(SMALL), SMALL.encode()))
    assert layout._spares.pop().communicate()[0].endswith(b"</svg>\n")


def test_layout_keeps_stderr_quiet(capfd):
    to_svg(SMALL)
    with pytest.raises(ValueError, match="Graphviz"):
        to_svg("digraph {")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("source", ["digraph {", "", "digraph { a [label=<<b>] }", "no graph"])
def test_what_graphviz_refuses_is_said_in_words(source):
    with pytest.raises(ValueError, match="Graphviz cannot lay out this graph: "):
        to_svg(source)
    assert to_svg(SMALL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_has_a_worker_of_its_own_and_leaves_ours_alone():
    pid = worker_id()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # whatever happens, the forked child must not go on with the tests
        try:
            os.write(writing, b"%d" % (worker_id() if to_svg(SMALL) else 0))
        finally:
            layout._at_exit()
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        theirs = said.read()
    os.waitpid(child, 0)
    assert int(theirs) not in (0, pid)
    assert worker_id() == pid
    assert not is_gone(pid)
    assert to_svg(SMALL)


THREAD = """
arguments = {{"target": layout.to_svg, "args": ({!r},), "kwargs": {{"time_limit": {}}}}}
threading.Thread(**arguments, daemon=True).start()
"""
STARTS = """
import threading, time
from fxexplore import layout
layout.warm_up()
while not layout._spares: pass
print(layout._spares[0].pid, flush=True)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="processes are looked up in /proc")
@pytest.mark.parametrize(
    "then",
    ["", f"{THREAD.format(DENSE, 600)}while layout._spares: pass"],
    ids=["idle", "busy"],
)
def test_an_interpreter_ends_at_once_and_its_worker_with_it(then):
    process = python(STARTS + then)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    wait_until(lambda: is_gone(int(out)))


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("busy", [False, True])
def test_the_worker_of_a_kernel_that_was_killed_ends_too(busy):
    # A layout in progress ends by its own watchdog, a little after the time limit.
    then = f"{THREAD.format(DENSE, 0.5)}time.sleep(0.2)\n" if busy else ""
    process = python(f"{STARTS}{then}print('now', flush=True)\ninput()", stdin=subprocess.PIPE)
    pid = int(process.stdout.readline())
    process.stdout.readline()
    process.kill()
    process.communicate()
    wait_until(lambda: is_gone(pid))


# A `dot` on the PATH instead of pygraphviz, played by a script.

FAKE_DOT = """#!{python}
import sys, time
source = sys.stdin.read()
if "slow" in source:
    time.sleep(60)
if "bad" in source:
    sys.exit("Error: bad graph")
print(f"<?xml?><svg>{{sys.argv[1]}} {{source}}</svg>")
"""


@pytest.fixture
def fake_dot(tmp_path):
    path = tmp_path / "dot"
    path.write_text(FAKE_DOT.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(params=["chosen", "the only one"])
def dot_in_use(request, fake_dot, monkeypatch):
    if request.param == "chosen":
        monkeypatch.setenv("FXEXPLORE_DOT", str(fake_dot))
    else:
        monkeypatch.setattr(layout.importlib.util, "find_spec", lambda _: None)
        monkeypatch.setattr(shutil, "which", lambda _: str(fake_dot))


@pytest.mark.usefixtures("dot_in_use")
def test_a_dot_on_the_path_serves():
    assert to_svg(SMALL) == f"<svg>-Tsvg {SMALL}</svg>"
    with pytest.raises(ValueError, match="bad graph"):
        to_svg("bad")
    with pytest.raises(LayoutTimeoutError):
        to_svg("slow", time_limit=0.2)
    assert to_svg(SMALL)


def test_without_any_graphviz_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(layout.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match="pip install pygraphviz"):
        to_svg(SMALL)


def test_a_dot_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("FXEXPLORE_DOT", str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="nothing does not start"):
        to_svg(SMALL)
