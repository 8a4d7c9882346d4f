"""``%fxnodes model``: the explorer as a line magic, with completion."""

from __future__ import annotations

import re
from typing import Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from torch import nn
from torch.fx.proxy import TraceError

from fxexplore.views import StaticPage

from .explorer import Explorer
from .modes import MODES
from .problems import with_line

_LINE = re.compile(r"(?:[^=]*=)?\s*%?fxnodes\s+(?P<rest>.*)", re.DOTALL)
_PATH = re.compile(r"(?P<path>(?:[^\W\d]\w*\.)*)(?P<start>\w*)$")
_MATCHER = "fxexplore.fxnodes"
_OPTIONS = ("--inputs", "--mode", "--static", "--tokenizer")


@magics_class
class FxMagics(Magics):
    """The magics of fxexplore."""

    @magic_arguments()
    @argument(
        "-i", "--inputs", metavar="NAME", help="variable that holds what the model is to run on"
    )
    @argument(
        "--tokenizer", metavar="NAME", help="variable that holds the tokenizer of a model of text"
    )
    @argument("--mode", choices=MODES, help="the mode to open the model in")
    @argument("--static", action="store_true", help="show a page that needs no kernel, no widget")
    @argument("model", nargs="*", help="the model: a variable, or an expression")
    @line_magic
    def fxnodes(self, line: str) -> Explorer | StaticPage:
        """Show what is inside a model, and what each part of it computes.

        Examples::

            %fxnodes model
            %fxnodes torchvision.models.resnet18(weights=None)
            %fxnodes --inputs batch model.backbone
            %fxnodes --mode train model
            %fxnodes --tokenizer tokenizer bert
            explorer = %fxnodes model
        """
        arguments = parse_argstring(self.fxnodes, line)
        expression = " ".join(arguments.model)
        if not expression:
            raise UsageError("name a model, as in: %fxnodes model")
        model = self._value(expression)
        inputs = self._value(arguments.inputs) if arguments.inputs else None
        tokenizer = self._value(arguments.tokenizer) if arguments.tokenizer else None
        inputs_line = f"%fxnodes --inputs batch {expression}"
        try:
            explorer = Explorer(
                model,
                inputs,
                mode=arguments.mode,
                name=expression,
                inputs_name=arguments.inputs or "x",
                tokenizer=tokenizer,
                tokenizer_name=arguments.tokenizer or "tokenizer",
                inputs_line=inputs_line,
                shell=self.shell,
            )
        except (TraceError, TypeError, ValueError) as problem:
            # In words: the traceback would be of our own code and torch's.
            words = with_line(str(problem), inputs_line)
            if inputs_line not in words:
                words += f"\nIn this line inputs are given by: {inputs_line}"
            raise UsageError(words) from problem
        if not arguments.static:
            return explorer
        page = explorer.static()
        explorer.close()
        return page

    def _value(self, expression: str) -> Any:
        assert self.shell is not None  # a magic is called by a shell
        try:
            return self.shell.ev(expression)
        except (NameError, AttributeError, SyntaxError) as problem:
            raise UsageError(f"{problem} in: {expression}") from None


def load(shell: InteractiveShell) -> None:
    """Register the magic and its completion."""
    unload(shell)
    shell.register_magics(FxMagics)
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(completer_for(shell))


def unload(shell: InteractiveShell) -> None:
    """Take both away again."""
    shell.magics_manager.magics["line"].pop("fxnodes", None)
    shell.magics_manager.registry.pop("FxMagics", None)
    if shell.Completer is not None:
        matchers = shell.Completer.custom_matchers
        matchers[:] = [m for m in matchers if getattr(m, "matcher_identifier", "") != _MATCHER]


def completer_for(shell: InteractiveShell) -> Any:
    """A matcher for what follows ``%fxnodes``: modules first, found without running anything.

    Args:
        shell: the shell whose variables are offered.
    """

    @context_matcher(identifier=_MATCHER, priority=100)
    def fxnodes_matcher(context: CompletionContext) -> SimpleMatcherResult:
        line = _LINE.fullmatch(context.line_with_cursor[: context.cursor_position])
        found = [] if line is None else completions(line["rest"], shell.user_ns)
        return {
            "completions": [SimpleCompletion(text=text, type=kind) for text, kind in found],
            "matched_fragment": re.split(r"\s", context.token)[-1] if found else "",
            "suppress": bool(found),
        }

    return fxnodes_matcher


def completions(rest: str, variables: dict[str, Any]) -> list[tuple[str, str]]:
    """What may stand at the end of the arguments of ``%fxnodes``.

    Args:
        rest: the arguments so far.
        variables: the variables of the notebook.

    Returns:
        Pairs of a completion of the last word and its kind; modules first.

    Example:
        >>> net = nn.Sequential(nn.ReLU(), nn.Linear(2, 2))
        >>> completions("ne", {"net": net, "new": 3})
        [('net', 'Sequential')]
        >>> completions("--mode ", {})
        [('eval', 'mode'), ('train', 'mode')]
    """
    *before, word = re.split(r"\s+", rest)
    previous = before[-1] if before else ""
    if previous == "--mode":
        return [(mode, "mode") for mode in MODES if mode.startswith(word)]
    if word.startswith("-"):
        return [(option, "option") for option in _OPTIONS if option.startswith(word)]
    path = _PATH.fullmatch(word)
    if path is None:
        return []
    if previous in ("-i", "--inputs", "--tokenizer"):
        return _names(path["path"], path["start"], variables, object)
    return _names(path["path"], path["start"], variables, nn.Module)


def _names(path: str, start: str, variables: dict[str, Any], kind: type) -> list[tuple[str, str]]:
    """Names at ``path`` that begin with ``start`` and stand for something of a kind."""
    values = variables
    for owner in path.split(".")[:-1]:
        values = _parts(values.get(owner))  # calls no property
    return [
        (f"{path}{name}", type(value).__name__)
        for name, value in values.items()
        if isinstance(value, kind)
        and name.startswith(start)
        and name.isidentifier()
        and (start or not name.startswith("_"))
    ]


def _parts(owner: Any) -> dict[str, Any]:
    parts = dict(vars(owner)) if hasattr(owner, "__dict__") else {}
    return (dict(owner._modules) | parts) if isinstance(owner, nn.Module) else parts
