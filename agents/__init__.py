"""Everything that searches, one algorithm a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.token_embedding import TokenEmbedding

__all__ = ["TokenEmbedding"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Imports what needs torch and Stable-Baselines3 when it is asked for."""
    if name == "TokenEmbedding":
        from agents.token_embedding import TokenEmbedding

        return TokenEmbedding
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
