"""Tree, picture and code of a model as HTML, for where no kernel runs."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Mapping

from fxexplore.model_graph import ModelGraph

from .outline import to_html

_DOCUMENT = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>body {{ margin: 24px; font: 14px/1.5 system-ui, sans-serif; }}</style>
</head>
<body>
{body}
</body>
</html>
"""
# The picture has colours for white paper, whatever the page around it is.
_PICTURE = "max-width:100%;margin:10px 0;background:#fff;border-radius:6px"
_CODE = "padding:10px 12px;overflow:auto;font:12px/1.5 ui-monospace,Menlo,Consolas,monospace"


def to_fragment(
    graph: ModelGraph,
    *,
    svg: str = "",
    expanded: Collection[str] | None = None,
    return_nodes: Mapping[str, str] | None = None,
    code: str = "",
) -> str:
    """Write tree, picture and code as HTML that needs no script, and stays when sanitised.

    Args:
        graph: the model.
        svg: its picture, if there is one.
        expanded: paths of the modules that are unfolded.
        return_nodes: the ticked names with their keys.
        code: the code to show; ``""`` for none.

    Returns:
        HTML to put into a page.

    Example:
        >>> to_fragment(ModelGraph("M", (), ()), code="1 < 2")[-21:]
        '>1 &lt; 2</pre></div>'
    """
    parts = [to_html(graph, expanded, return_nodes)]
    if svg:
        data = base64.b64encode(svg.encode()).decode()
        alt = html.escape(f"Diagram of {graph.model}", quote=True)
        parts.append(f'<img alt="{alt}" style="{_PICTURE}" src="data:image/svg+xml;base64,{data}">')
    if code:
        parts.append(f'<pre style="{_CODE}">{html.escape(code)}</pre>')
    return f"<div>{''.join(parts)}</div>"


def to_document(title: str, fragment: str) -> str:
    """Put what :func:`to_fragment` wrote into a page of its own.

    Args:
        title: the title of the page.
        fragment: its body.

    Returns:
        A whole HTML document without script, picture files or fonts from elsewhere.
    """
    return _DOCUMENT.format(title=html.escape(title), body=fragment)


class StaticPage:
    """Shows HTML in a notebook, with no widget: for tutorials that are read without a kernel.

    Args:
        fragment: the HTML.
        text: what is shown where there is no HTML.
    """

    def __init__(self, fragment: str, text: str) -> None:
        self._fragment = fragment
        self._text = text

    def _repr_html_(self) -> str:
        return self._fragment

    def __repr__(self) -> str:
        return self._text
