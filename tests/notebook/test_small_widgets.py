from pathlib import Path

import pytest
import traitlets

import fxexplore.notebook
from fxexplore.notebook.notice import Notice
from fxexplore.notebook.return_nodes import ReturnNodes
from fxexplore.notebook.small_widgets import SaveButton, Splitter
from tests.notebook.buttons import button

HERE = Path(fxexplore.notebook.__file__).parent
OURS = (
    "return_nodes",
    "copy_button",
    "save_button",
    "splitter",
    "full_screen_button",
    "node_facts",
    "page_keeper",
)


@pytest.mark.parametrize("name", OURS)
def test_a_widgets_module_is_small_and_imports_nothing(name):
    source = (HERE / f"{name}.js").read_text()
    assert len(source.encode()) < 10_000
    assert "import " not in source
    assert "innerHTML" not in source.replace("never innerHTML", "")


def test_return_nodes_travel_in_order():
    chips = ReturnNodes(return_nodes={"b": "b", "0": "x"})
    assert chips.get_state("return_nodes")["return_nodes"] == [["b", "b"], ["0", "x"]]
    chips.set_state({"return_nodes": [["b", "c"]]})
    assert chips.return_nodes == {"b": "c"}


@pytest.mark.parametrize(("keys", "words"), [(("k", "k"), "'k' is given"), (("", "k"), "empty")])
def test_keys_that_cannot_be_are_refused(keys, words):
    chips = ReturnNodes(return_nodes={"a": "a"})
    with pytest.raises(traitlets.TraitError, match=words):
        chips.return_nodes = dict(zip("ab", keys, strict=True))
    assert chips.return_nodes == {"a": "a"}


def test_the_text_to_save_is_made_at_the_click(monkeypatch):
    sent = []
    button = SaveButton(lambda: f"page {len(sent)}")
    monkeypatch.setattr(button, "send", lambda *message: sent.append(message))
    button._handle_custom_msg("content", [])
    button._handle_custom_msg("nonsense", [])
    button._handle_custom_msg("content", [])
    assert sent == [({"kind": "text/html"}, [f"page {i}".encode()]) for i in (0, 1)]


def test_a_splitter_knows_its_limits():
    with pytest.raises(traitlets.TraitError):
        Splitter(unit="em")


class TestNotice:
    def test_an_error_is_escaped_with_its_traceback_folded(self):
        notice = Notice()
        try:
            int("<script>no</script>")
        except ValueError as problem:
            notice.error(problem)
        page = notice.children[0].value
        assert "<script" not in page
        assert "<details><summary>Traceback" in page
        assert "test_small_widgets.py" in page
        assert notice.layout.display is None

    def test_progress_can_be_stopped(self):
        stopped = []
        notice = Notice()
        notice.progress("Looking", lambda: stopped.append(True))
        assert notice.is_progress
        button(notice, "Stop").click()
        assert stopped == [True]
        assert (notice.words, notice.layout.display) == ("", "none")
