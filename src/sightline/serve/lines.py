"""Lines for people on stderr."""

from __future__ import annotations


def say(mark: str, style: str, text: str) -> None:
    """Print one line on stderr that begins with a coloured word."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble((mark, style), " ", " ".join(text.split())))
