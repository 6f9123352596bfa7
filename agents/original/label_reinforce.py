"""REINFORCE in the form of labels: the policy gradient as cross-entropy with a made-up target.

With probabilities p when a was drawn, advantage Ĝ and step α, the target of a row is

    y = p + α · Ĝ · (onehot(a) − p).

It sums to 1; the gradient of −Σ_k y_k log q_k by the logits of q is q − y, which at q = p is
−α · Ĝ · (onehot(a) − p): that of −α · Ĝ · log q(a), which is REINFORCE.
"""

from __future__ import annotations

import torch
from torch import Tensor

KERAS_CLIP = 1e-7


def labels(probabilities: Tensor, actions: Tensor, advantages: Tensor, alpha: float) -> Tensor:
    """The targets y.

    Args:
        probabilities: p, shape (..., K).
        actions: a, shape (...).
        advantages: Ĝ, which fits the shape of the actions.
        alpha: α.
    """
    chosen = torch.zeros_like(probabilities).scatter_(-1, actions[..., None], 1.0)
    step = (alpha * advantages).to(probabilities.dtype)[..., None]
    return probabilities + step * (chosen - probabilities)


def label_loss(log_probs: Tensor, targets: Tensor) -> Tensor:
    """Mean over sequences of the sum over their rows of −Σ_k y_k log q_k.

    Args:
        log_probs: log q, shape (B, T, K); where a token is illegal, and y so 0, any finite number.
        targets: y, the same shape.
    """
    return -(targets * log_probs).sum(dim=(1, 2)).mean()


def keras_cross_entropy(probabilities: Tensor, targets: Tensor) -> Tensor:
    """The original's loss: mean over all rows of −Σ_k y_k log q_k, with q clipped at 1e-7.

    Args:
        probabilities: q, shape (B, T, K), each row summing to 1.
        targets: y, the same shape.
    """
    clipped = probabilities.clamp(KERAS_CLIP, 1.0 - KERAS_CLIP)
    return -(targets * clipped.log()).sum(dim=-1).mean()
