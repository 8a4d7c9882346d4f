"""Numbers and shapes as people read them."""

from __future__ import annotations

_THOUSAND = 1000


def short_count(number: float) -> str:
    """A count in three digits.

    Example:
        >>> [short_count(n) for n in (0, 128, 9408, 73984, 2099712, 11689512, 7e9)]
        ['0', '128', '9.41 k', '74.0 k', '2.10 M', '11.7 M', '7.00 G']
    """
    for unit in ("", "k", "M", "G"):
        if abs(number) < _THOUSAND * 0.9995:
            break
        if unit != "G":
            number /= _THOUSAND
    if not unit:
        return f"{number:.0f}"
    digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0  # noqa: PLR2004
    return f"{number:.{digits}f} {unit}"


def short_flops(flops: float, at_least: bool = False) -> str:
    """Floating point operations in three digits.

    Args:
        flops: how many.
        at_least: whether there are more, of which it is not known how many.

    Example:
        >>> short_flops(16), short_flops(3_630_000_000), short_flops(16, at_least=True)
        ('16 FLOPs', '3.63 GFLOPs', 'at least 16 FLOPs')
    """
    count = short_count(flops)
    unit = "FLOPs" if " " in count else " FLOPs"
    return f"{'at least ' * at_least}{count}{unit}"


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape with signs of multiplication.

    Example:
        >>> shape_text((1, 64, 56, 56)), shape_text(())
        ('1×64×56×56', 'scalar')
    """
    return "×".join(map(str, shape)) or "scalar"
