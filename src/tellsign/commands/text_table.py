"""Tables as aligned Markdown, which reads well on a terminal too."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table in Markdown with columns of one width; all but the first ``left`` columns are flush right."""
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    widths = [max(3, *(len(line[k]) for line in escaped)) for k in range(len(head))]

    def written(cells: Sequence[str]) -> str:
        texts = [f"{c:<{w}}" if k < left else f"{c:>{w}}" for k, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return f"| {' | '.join(texts)} |"

    ruler = ["-" * width if k < left else "-" * (width - 1) + ":" for k, width in enumerate(widths)]
    return "\n".join([written(escaped[0]), written(ruler), *map(written, escaped[1:])])


def percent(fraction: float) -> str:
    """A fraction in per cent."""
    return f"{100 * fraction:.1f}"


def points(fraction: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * fraction:+.1f}".replace("-", "−")
