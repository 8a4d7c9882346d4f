"""Widgets that are printed in a few words, rather than with all of their traits and children."""

from __future__ import annotations


class Brief:
    """Is printed in one line.

    Example:
        >>> class Lamp(Brief):
        ...     def _told(self):
        ...         return ["on", "40 W"]
        >>> Lamp()
        Lamp(on, 40 W)
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(filter(None, self._told()))})"

    def _told(self) -> list[str]:
        """What stands between the brackets."""
        return []


def ticked(count: int) -> str:
    """How many nodes are ticked, in words.

    Example:
        >>> ticked(1), ticked(2)
        ('1 node ticked', '2 nodes ticked')
    """
    return f"{count} node{'s' * (count != 1)} ticked"
