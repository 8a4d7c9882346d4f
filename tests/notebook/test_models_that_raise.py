"""The explorer of a model that raises half-way: what ran, where it raised and why."""

import asyncio
import html

import pytest
import torch
import traitlets
from torch import nn

from fxexplore import explore
from tests.marks import mostly_thorough
from tests.model_graph.test_models_that_raise import MET, LeNet, Raises, X


class Looks(LeNet):
    """Has to be recorded."""

    def forward(self, x):
        return super().forward(x + 1 if x.sum() > 1e9 else x)


def tick_and_run(explorer, name):
    explorer.selected = [name]
    explorer.run()


def picture(explorer):
    return html.unescape(explorer.diagram.svg)


@pytest.mark.parametrize("cls", [LeNet, Looks])
@pytest.mark.parametrize("in_kernel", mostly_thorough([False, True], True))
def test_it_leads_to_where_the_model_raised_and_says_why(cls, in_kernel):
    async def main():
        explorer = explore(cls().eval(), X)
        assert explorer.wait()
        assert explorer.focused == explorer.tree.focused == "head.1"
        assert "head" in explorer.expanded
        for words in ("✗ head.1: RuntimeError at test_models", MET, "there met 1×3136"):
            assert words in explorer.notice.words
        marks = dict(
            zip([row.name for row in explorer.graph.rows], explorer.tree.marks, strict=True)
        )
        assert marks["head.1"].startswith("✗ raised: ")
        assert marks["head"].startswith("✗ inside: ")
        assert marks["last"].startswith(("not reached: ", "never ran: "))
        assert explorer.node.facts[0]["label"] == "raised"
        assert "fx-failed" in picture(explorer)
        assert ("fx-unreached" in picture(explorer)) == (cls is LeNet)
        assert MET in explorer._repr_mimebundle_()[0]["text/html"]
        assert "raises in head.1" in explorer.maps.message
        explorer.selected = ["norm"]
        assert explorer.run()["norm"].shape == (1, 16, 28, 28)
        for name in ("head.1", "head", "last"):  # without a value, in words
            with pytest.raises((traitlets.TraitError, RuntimeError), match="shapes cannot be mult"):
                tick_and_run(explorer, name)
        explorer.close()

    if in_kernel:
        asyncio.run(main())
    else:
        with pytest.raises(StopIteration):  # a coroutine with no loop around it
            main().send(None)


def test_a_module_whose_own_code_raises_is_marked():
    explorer = explore(nn.Sequential(Raises(), nn.ReLU()), X)
    assert explorer.focused == "0.block"
    assert "<b>no" not in explorer.notice.children[0].value
    assert "fx-unfolded fx-failed" in picture(explorer)
    explorer.expanded = []
    assert picture(explorer).count("fx-failed") == 1  # the box that it is in


def test_a_model_that_is_mended_shows_the_whole():
    explorer = explore(LeNet().eval(), torch.ones(1, 1, 28, 28))
    assert explorer.graph.error is None
    assert not explorer.notice.words
    assert "fx-failed" not in picture(explorer)
