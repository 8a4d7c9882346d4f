"""Tree, picture and code of a model as HTML, for where no kernel runs."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection

from fxexplore.feature_extraction import ReturnNodes, keys_by_mode
from fxexplore.model_graph import ModelGraph

from .detail import Detail
from .outline import tree_html

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


def to_html(
    graph: ModelGraph,
    expanded: Collection[str] | None = None,
    return_nodes: ReturnNodes | None = None,
    *,
    svg: str = "",
    code: str = "",
    limit: int = 1_000,
    detail: Detail = "operations",
) -> str:
    """Write a model as HTML that needs no script and no network, and stays when sanitised.

    It is the tree, whose modules fold; below it a picture and code, where they are given. What
    a notebook shows of a graph is this, too.

    Args:
        graph: the model.
        expanded: paths of the modules that are unfolded; by default those that tell much in
            few lines.
        return_nodes: the ticked names, or a dict from name to key.
        svg: a picture to show below the tree, such as ``to_svg(graph)``; ``""`` for none.
        code: code to show below it; ``""`` for none.
        limit: how many lines the tree may have; the deepest levels are left out of a larger one.
        detail: how much has a line, ``"modules"``, ``"operations"`` or ``"everything"``; what is
            ticked has one in any case.

    Returns:
        HTML to put into a page.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> graph = open_model(nn.Sequential(*[nn.Linear(4, 4) for _ in range(9)]))
        >>> page = to_html(graph, code="1 < 2")
        >>> "0 … 8" in page, "9 × Linear" in page, "1 &lt; 2" in page
        (True, True, True)
    """
    keys = keys_by_mode(return_nodes, None, None)[0] if return_nodes else {}
    parts = [tree_html(graph, expanded, keys, limit=limit, detail=detail)]
    if svg:
        data = base64.b64encode(svg.encode()).decode()
        alt = html.escape(f"Diagram of {graph.model}", quote=True)
        parts.append(f'<img alt="{alt}" style="{_PICTURE}" src="data:image/svg+xml;base64,{data}">')
    if code:
        parts.append(f'<pre style="{_CODE}">{html.escape(code)}</pre>')
    return f"<div>{''.join(parts)}</div>"


def to_document(title: str, fragment: str) -> str:
    """Put what :func:`to_html` wrote into a page of its own.

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
