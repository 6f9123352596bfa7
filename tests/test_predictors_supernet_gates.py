"""Binary gates: one path a step, their gradient, and the memory that they need."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from emnas_gym.branched.cell_space import CellSpace  # noqa: E402
from emnas_gym.space import load_space  # noqa: E402
from emnas_gym.tasks import DIGITS  # noqa: E402
from predictors.supernet.mixture import gates, one_hot, path, soft, softmax  # noqa: E402
from predictors.supernet.supernet import Supernet  # noqa: E402

LINEAR = """
form = "cells"
name = "linear"
share = "all"
[stem]
channels = 3
[[stages]]
channels = 3
cells = 1
[cells.normal]
edges = [[0, 1], [0, 2], [1, 2]]
operations = ["skip", "avg_pool3x3", "avg_pool2x2"]
"""
WIDE = """
form = "cells"
name = "wide"
share = "all"
[stem]
channels = 8
[[stages]]
channels = 8
cells = 2
[cells.normal]
edges = [[0, 1], [1, 2], [0, 2]]
operations = [{}]
"""
MANY = ("conv3x3", "conv5x5", "conv7x7", "dilconv3x3", "dilconv5x5", "conv1x1", "sep3x3", "sep5x5")


def _made(folder: Path, text: str) -> CellSpace:
    file = folder / f"space-{len(list(folder.iterdir()))}.toml"  # a path is read once
    file.write_text(text, encoding="utf-8")
    space = load_space(file)
    assert isinstance(space, CellSpace)
    return space


def _images(count: int = 4) -> Tensor:
    return torch.randn(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def _loss(logits: Tensor) -> Tensor:
    return functional.cross_entropy(logits, torch.arange(len(logits)) % 10)


def _gradient(net: Supernet, chosen: list[int], compared: np.ndarray | None = None) -> np.ndarray:
    wires = net.wirings["normal"]
    opened = torch.zeros(wires.offered.shape, dtype=next(net.parameters()).dtype)
    opened.requires_grad_()
    mask = one_hot(np.array(chosen), wires.offered)
    net.zero_grad()
    _loss(net(_images().to(opened.dtype), {"normal": gates(opened, mask, compared)})).backward()
    assert opened.grad is not None
    return opened.grad.numpy()


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_gradient_of_a_gate_is_that_of_its_operation_mixed_in(mode: str) -> None:  # B22
    """∂L/∂g_j against a soft mixture at the one-hot point, by brute force with a graph."""
    space = load_space("nb201-cell")
    assert isinstance(space, CellSpace)
    net = Supernet(space, DIGITS, 1).double().train(mode == "train")
    wires, chosen = net.wirings["normal"], [3, 2, 1, 4, 2, 3]
    found = _gradient(net, chosen)
    mask = one_hot(np.array(chosen), wires.offered)
    for edge, operation in itertools.product(range(6), range(5)):
        weights = torch.from_numpy(mask).double().requires_grad_()
        computed = mask.copy()
        computed[edge, operation] = True
        logits = net(_images().double(), {"normal": path(weights, computed)})
        _loss(logits).backward()
        assert weights.grad is not None
        expected = float(weights.grad[edge, operation])
        assert found[edge, operation] == pytest.approx(expected, rel=1e-6, abs=1e-10)
    assert (found[:, 1:] != 0).all()
    assert (found[:, 0] == 0).all()  # none


def test_a_closed_edge_has_gates_too() -> None:
    """``none`` is open on an edge between nodes that the path reaches."""
    space = load_space("nb201-cell")
    assert isinstance(space, CellSpace)
    net = Supernet(space, DIGITS, 1).double().eval()
    chosen = [2, 3, 0, 0, 0, 3]  # 1 is reached and read by nobody; 2→3 is the way
    found = _gradient(net, chosen)
    h, wires = 1e-6, net.wirings["normal"]
    for edge, operation in ((3, 2), (4, 3), (4, 1), (2, 3)):
        ends = []
        for sign in (1, -1):
            mask = one_hot(np.array(chosen), wires.offered)
            weights = torch.from_numpy(mask).double()
            weights[edge, operation] = sign * h
            computed = mask.copy()
            computed[edge, operation] = True
            with torch.no_grad():
                logits = net(_images().double(), {"normal": path(weights, computed)})
            ends.append(float(_loss(logits)))
        assert found[edge, operation] == pytest.approx((ends[0] - ends[1]) / (2 * h), 1e-4)
    assert (found[0] == 0).all()  # nothing reads node 1


def test_weights_learn_from_the_open_path_alone() -> None:  # B22
    space = load_space("nb201-cell")
    assert isinstance(space, CellSpace)
    net, chosen = Supernet(space, DIGITS, 1).train(), [3, 2, 1, 4, 2, 3]
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    _gradient(net, chosen)
    touched = {name for name, p in net.named_parameters() if p.grad is not None}
    moved = {n for n, buffer in net.named_buffers() if not torch.equal(buffer, before[n])}
    gated = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
    for name in touched | moved:
        if ".edges." in name:
            edge = int(name.split(".edges.")[1].split(".")[0])
            assert f".{space.groups['normal'].positions[edge].choices[chosen[edge]]}." in name
    net.load_state_dict(net.state_dict() | before)
    net.zero_grad()
    tokens = tuple(f + c for f, c in zip(space.first_token, chosen, strict=True))
    _loss(net(_images(), net.mixture_of(tokens))).backward()
    for name, parameter in net.named_parameters():
        if name in gated:
            assert torch.equal(gated[name], parameter.grad)


def test_one_path_is_active_a_step() -> None:  # B22, G6
    """Forward computes one operation an edge; backward all others once, without a graph."""
    space = load_space("nb201-cell")
    assert isinstance(space, CellSpace)
    net, counts, graphs = Supernet(space, DIGITS, 1).train(), Counter(), []
    for cell in net.cells():
        for edge in cell.edges:
            for name, operation in edge.operations.items():

                def count(
                    _module: nn.Module,
                    _args: object,
                    out: Tensor,
                    key: tuple[int, str] = (edge.number, name),
                ) -> None:
                    counts[key] += 1
                    graphs.append(out.requires_grad)

                operation.register_forward_hook(count)
    wires, chosen = net.wirings["normal"], np.array([3, 2, 1, 4, 2, 3])
    weights = torch.zeros(6, 5, requires_grad=True)
    mixture = {"normal": gates(weights, one_hot(chosen, wires.offered))}
    loss = _loss(net(_images(), mixture))
    assert counts == {(e, wires.operations[e][o]): 2 for e, o in enumerate(chosen)}  # two cells
    counts.clear()
    graphs.clear()
    loss.backward()
    assert sum(counts.values()) == 2 * 6 * 3
    assert not any(graphs)
    counts.clear()
    two = one_hot(chosen, wires.offered) | one_hot(np.array([1] * 6), wires.offered)
    found = _gradient(net, chosen.tolist(), two)
    assert sum(counts.values()) == 2 * 6 + 2 * 5  # edge 2 has skip open
    assert ((found != 0) == two).all()


def _bytes_kept(net: Supernet, mixed: str) -> int:
    """Bytes that the forward pass keeps for the backward pass, every storage once."""
    wires, kept = net.wirings["normal"], {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = torch.full(wires.offered.shape, 1.0, requires_grad=True)
    mixture = {
        "soft": soft(weights, wires.offered),
        "gates": gates(weights, one_hot(np.zeros(3, dtype=np.int64), wires.offered)),
    }[mixed]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = _loss(net(_images(32), {"normal": mixture}))
    parameters = {p.untyped_storage().data_ptr() for p in net.parameters()}
    loss.backward()
    return sum(size for pointer, size in kept.items() if pointer not in parameters)


def test_memory_of_a_step_does_not_depend_on_the_number_of_operations(
    tmp_path: Path,
) -> None:  # B22
    sizes = {}
    for count, mixed in itertools.product((2, 4, 8), ("soft", "gates")):
        text = WIDE.format(", ".join(f'"{name}"' for name in MANY[:count]))
        net = Supernet(_made(tmp_path, text), DIGITS, 0).train()
        assert net.wirings["normal"].offered.shape == (3, count)
        sizes[mixed, count] = _bytes_kept(net, mixed)
    assert sizes["gates", 8] == pytest.approx(sizes["gates", 2], rel=0.01)
    assert sizes["soft", 4] > 1.5 * sizes["soft", 2]
    assert sizes["soft", 8] > 1.5 * sizes["soft", 4]
    assert sizes["gates", 2] < sizes["soft", 2]


def test_the_estimator_is_unbiased(tmp_path: Path) -> None:  # B22
    """The expected loss over all networks, where it is linear in every gate: ∂/∂α is its mean."""
    net = Supernet(_made(tmp_path, LINEAR), DIGITS, 0).double().eval()
    wires, images = net.wirings["normal"], _images().double()
    torch.manual_seed(0)
    parameters = torch.randn(3, 3, dtype=torch.float64)
    direction = torch.randn(4, 10, dtype=torch.float64)

    def linear(logits: Tensor) -> Tensor:
        return (logits * direction).sum()

    alpha = parameters.clone().requires_grad_()
    p, expected = softmax(alpha, wires.offered), torch.zeros((), dtype=torch.float64)
    for chosen in itertools.product(range(3), repeat=3):
        mask = one_hot(np.array(chosen), wires.offered)
        with torch.no_grad():
            loss = linear(net(images, {"normal": path(torch.from_numpy(mask).double(), mask)}))
        expected = expected + loss * p[torch.arange(3), list(chosen)].prod()
    expected.backward()
    assert alpha.grad is not None
    rng, samples = np.random.default_rng(0), []
    shares = softmax(parameters, wires.offered)
    for _ in range(400):
        chosen = np.array([rng.choice(3, p=row.numpy()) for row in shares])
        beta = parameters.clone().requires_grad_()
        mixture = gates(softmax(beta, wires.offered), one_hot(chosen, wires.offered))
        linear(net(images, {"normal": mixture})).backward()
        assert beta.grad is not None
        samples.append(beta.grad.numpy())
    error = np.std(samples, axis=0, ddof=1) / len(samples) ** 0.5
    assert (np.abs(np.mean(samples, axis=0) - alpha.grad.numpy()) <= 3 * error + 1e-12).all()
    assert (error < 0.2 * np.abs(alpha.grad.numpy()).max()).all()  # else it would show nothing
