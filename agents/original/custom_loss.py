"""The loss of the first controllers, which does not know what was done, and the right one."""

from __future__ import annotations

import torch
from torch import Tensor

CLIP = 1e-36


def custom_loss(probabilities: Tensor, returns: Tensor) -> Tensor:
    """Mean over all samples and classes of −log(p) · R: the action does not occur in it.

    All classes of a sample are pushed alike: towards the uniform distribution where R > 0 (its
    gradient by a logit is R · (p − 1 / K)), away from it where R < 0.

    Args:
        probabilities: (n, K).
        returns: (n,), standardised.
    """
    logs = probabilities.clamp(CLIP, 1.0 / CLIP).log()
    return -(logs * returns[:, None].to(logs.dtype)).mean()


def clipped_loss(log_probs: Tensor, before: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """−mean over sequences of Σ_t min(ρ_t A, clip(ρ_t, 1 − ε, 1 + ε) A), ρ_t = π / π_before.

    The clipped surrogate (Schulman et al. 2017, equation 7). At π = π_before its gradient is
    REINFORCE's, that of −mean(A · Σ_t log π(a_t)); so it also serves for a single step.

    Args:
        log_probs: log π of the tokens that were placed, (B, T); 0 after the end.
        before: The same when they were drawn.
        advantages: (B,), one for a whole sequence.
        clip: ε.
    """
    ratio = (log_probs - before).exp()
    gain = advantages.to(ratio.dtype)[:, None]
    least = torch.minimum(ratio * gain, ratio.clamp(1.0 - clip, 1.0 + clip) * gain)
    return -least.sum(dim=1).mean()
