"""Promise 3 in the notebook: an interrupt leaves no widget, thread, figure or setting behind."""

import gc
import threading
import traceback

import matplotlib as mpl
import pytest
from comm import get_comm_manager
from ipywidgets.widgets.widget import _instances
from matplotlib import _pylab_helpers

from fxexplore import explore, extract_features, plot_feature_maps
from tests.feature_extraction.test_interrupts import (
    SENDERS,
    Branching,
    Counting,
    Plain,
    X,
    at_event,
    at_random,
    everything,
    quiet,
)
from tests.marks import mostly_thorough

__all__ = ["quiet"]  # a fixture for every test
NODES = ["norm", "head"]


def action_of(name):
    """A model, what is done with it, and what the user then closes."""
    kind = {"explore recorded": Counting, "run": Branching}.get(name, Plain)
    model = kind().train()
    made = []
    if name == "plot":
        features = extract_features(model, NODES, X)
        return model, lambda: plot_feature_maps(features), made
    if name == "close":

        def make_and_close():
            made.append(explore(model, X, selected=NODES))
            made[-1].run()
            made[-1].close()

        return model, make_and_close, made
    if name == "run":
        explorer = explore(model, X, selected=NODES)
        return model, explorer.run, made
    return model, lambda: made.append(explore(model, X, selected=NODES)), made


def all_around(model):
    threads = [t for t in threading.enumerate() if t.name == "fxexplore-task" and t.is_alive()]
    return everything(model) | {
        "widgets": set(_instances),
        "comms": set(get_comm_manager().comms),
        "threads": threads,
        "settings": dict(mpl.rcParams),
        "figures": _pylab_helpers.Gcf.get_all_fig_managers(),
    }


def check(name, interrupted, moments):
    model, action, made = action_of(name)

    def close():
        while made:
            made.pop().close()

    action()
    close()
    before = all_around(model)
    for moment in moments(action):
        where = ""
        try:
            interrupted(action, moment)
        except KeyboardInterrupt:
            where = traceback.format_exc()
        close()
        after = all_around(model)
        left = {key: after[key] for key in before if before[key] != after.get(key)}
        assert left == {}, f"{name}, interrupted at {moment}: {where}"
    action()
    close()
    gc.collect()


def spread(times, last=1.0):
    def moments(action):
        count = at_event(action, 0)
        return range(int((1 - last) * count) + 1, count, max(1, int(last * count) // times))

    return moments


ACTIONS = ["explore", "explore recorded", "run", "plot", "close"]


@pytest.mark.parametrize("name", mostly_thorough(ACTIONS, "explore", "plot"))
def test_an_interrupt_leaves_nothing_behind(name):
    check(name, at_event, spread(4, last=0.3 if name == "close" else 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIONS)
def test_of_hundreds_of_interrupts_none_leaves_anything_behind(name):
    check(name, at_event, spread(250, last=0.3 if name == "close" else 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("send", SENDERS)
@pytest.mark.parametrize("name", ACTIONS)
def test_of_hundreds_from_another_thread_none_leaves_anything_behind(name, send):
    check(name, lambda action, _: at_random(action, send, 0.6), lambda _: range(150))
