"""Facts about modules, read without running them."""

from __future__ import annotations

from torch import nn


def class_and_detail(module: nn.Module) -> tuple[str, str]:
    """The class of a module and its arguments, as its ``repr`` shows them.

    Args:
        module: any module; one whose ``extra_repr`` raises has no detail.
    """
    try:
        detail = str(module.extra_repr())
    except Exception:  # noqa: BLE001  # a stranger's code, and only a label
        detail = ""
    return type(module).__name__, detail


def parameter_count(module: nn.Module) -> int:
    """How many numbers the parameters of a module hold, shared ones counted once.

    Example:
        >>> parameter_count(nn.Linear(3, 2))
        8
    """
    # Parameters of lazy modules have no size before the first run.
    lazy = nn.parameter.UninitializedParameter
    return sum(p.numel() for p in module.parameters() if not isinstance(p, lazy))
