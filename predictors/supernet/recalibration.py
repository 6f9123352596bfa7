"""Statistics of batch norms for one sub-network, which a supernet has for the mean of many."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from emnas_gym.errors import EvaluationError


@torch.no_grad()
def recalibrate(network: nn.Module, images: np.ndarray | Tensor, batch_size: int = 64) -> None:
    """Replaces the running statistics of all batch norms by the mean over batches of images.

    A supernet's statistics come from the networks that it was trained as. The weights stay; so
    does what the network was in, training or evaluation (Guo et al., 2020, section 3.1).

    Args:
        network: A module that takes images; changed in place.
        images: (N, H, W, C) as an array, or (N, C, H, W) as a tensor.
        batch_size: Images a batch; a last batch of one image is left out.

    Raises:
        EvaluationError: If no batch has two images.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    if not norms:
        return
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    batches = [batch for batch in torch.split(images, batch_size) if len(batch) > 1]
    if not batches:
        raise EvaluationError("batch norm is recalibrated with two images or more")
    momenta, was_training = [norm.momentum for norm in norms], network.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for the mean over all batches
    network.train()
    try:
        for batch in batches:
            network(batch)
    finally:
        network.train(was_training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
