"""``%fxnodes model``: the explorer as a line magic."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from torch import nn

from .explorer import Explorer


@magics_class
class FxMagics(Magics):
    """The magics of fxexplore."""

    @magic_arguments()
    @argument(
        "-i", "--inputs", metavar="NAME", help="variable that holds what the model is to run on"
    )
    @argument("model", nargs="*", help="the model: a variable, or an expression")
    @line_magic
    def fxnodes(self, line: str) -> Explorer:
        """Show what is inside a model, and what each part of it computes.

        Examples::

            %fxnodes model
            %fxnodes torchvision.models.resnet18(weights=None)
            %fxnodes --inputs batch model.backbone
        """
        arguments = parse_argstring(self.fxnodes, line)
        expression = " ".join(arguments.model)
        if not expression:
            raise UsageError("name a model, as in: %fxnodes model")
        model = self._value(expression)
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"{expression} is a {type(model).__name__}; %fxnodes shows a torch.nn.Module"
            )
        inputs = self._value(arguments.inputs) if arguments.inputs else None
        return Explorer(model, inputs, name=expression, inputs_name=arguments.inputs or "x")

    def _value(self, expression: str) -> Any:
        assert self.shell is not None  # a magic is called by a shell
        try:
            return self.shell.ev(expression)
        except NameError as problem:
            raise UsageError(f"{problem} in: {expression}") from None
