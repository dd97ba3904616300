"""Networks: as many parameters as their authors' code has, shapes, and no row that sees a later one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

import torch
from torch import nn

from ghtrader_models.families.networks.binctabl import BinCTABL
from ghtrader_models.families.networks.deeplob import DeepLOB
from ghtrader_models.families.networks.hybrid import ConvolutionalEncoder
from ghtrader_models.families.networks.mamba import MambaBlock, scanned
from ghtrader_models.families.networks.mlplob import MLPLOB
from ghtrader_models.families.networks.selected_columns import SelectedColumns
from ghtrader_models.families.networks.ssm import SSM, SSMBody
from ghtrader_models.families.networks.tcn import TCN, TCNBody
from ghtrader_models.families.networks.tlob import TLOB
from ghtrader_models.families.networks.transformer import TransformerBody
from ghtrader_models.inference.streaming.tcn import receptive_field
from tests.support.networks import SMALL, TCN_BODY, F, T

torch.set_num_threads(1)
ORDER_TYPES = 3
"""An embedding of LOBSTER's order types in the code of TLOB's authors."""
MAMBA_130M_BLOCK = (129_135_360 - 50_280 * 768 - 768) // 24
"""mamba-130m without its embedding and last norm has 24 such blocks."""
PUBLISHED: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "deeplob": (lambda: DeepLOB(100, 40), 143_907),
    "tlob": (lambda: TLOB(128, 40, hidden=40, layers=4), 1_135_974 - ORDER_TYPES),
    "mlplob": (lambda: MLPLOB(384, 40, hidden=40, layers=3), 3_012_414 - ORDER_TYPES),
    "binctabl": (lambda: BinCTABL(10, 40), 11_446),
    "tcn": (lambda: TCN(1, 10, channels=25, levels=8, kernel=7), 66_910),
    "ssm": (lambda: SSM(3, 10, width=128, states=64, layers=4), 201_482),
    "mamba": (lambda: nn.Sequential(MambaBlock(768, 16), nn.LayerNorm(768, bias=False)), MAMBA_130M_BLOCK),
    "transformer": (
        lambda: TransformerBody(100, 512, heads=8, layers=6, hidden=2048, dropout=0.1), 18_914_304,
    ),
}  # fmt: skip


def parameters(network: nn.Module) -> int:
    return sum(found.numel() for found in network.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_has_as_many_parameters_as_its_authors_have(name: str) -> None:
    make, published = PUBLISHED[name]
    assert parameters(make()) == published


@pytest.mark.parametrize("name", SMALL)
def test_a_batch_of_windows_gives_its_logits_one_by_one_too_and_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    network = SMALL[name]()
    x = torch.randn(5, T, F)
    x[2, :, 3] = 0.0  # a factor that does not move
    network(x).square().sum().backward()
    assert all(found.grad is not None and torch.isfinite(found.grad).all() for found in network.parameters())
    network.eval()
    with torch.no_grad():
        whole = network(x)
        assert whole.shape == (5, 9) and torch.isfinite(whole).all()
        alone = torch.cat([network(x[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(whole, alone, atol=1e-5, rtol=1e-5)


BODIES: dict[str, Callable[[], nn.Module]] = {
    "tcn": lambda: TCNBody(8, **TCN_BODY),
    "ssm": lambda: SSMBody(8, states=16, layers=2, dropout=0.1),
    "mamba": lambda: MambaBlock(8, 4),
    "encoder": lambda: ConvolutionalEncoder(8, 8, 0.1),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_row_knows_nothing_of_later_rows(name: str) -> None:
    torch.manual_seed(1)
    body = BODIES[name]().eval()
    x = torch.randn(1, T, 8)
    changed = x.clone()
    changed[:, 12:] += 1.0
    with torch.no_grad():
        before, after = body(x), body(changed)
    torch.testing.assert_close(before[:, :12], after[:, :12], atol=1e-5, rtol=0)
    assert (before[:, 12] - after[:, 12]).abs().max() > 1e-6


def test_a_tcn_sees_its_receptive_field_and_no_further() -> None:
    torch.manual_seed(2)
    body = TCNBody(4, channels=8, levels=3, kernel=2, dropout=0.0).eval()
    for parameter in body.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1.0)  # nothing that a ReLU could cut
    seen = receptive_field(2, 3)
    assert seen == 15
    x = torch.rand(1, T, 4)
    with torch.no_grad():
        at_last = body(x)[:, -1]
        for back, sees in ((seen - 1, True), (seen, False)):
            changed = x.clone()
            changed[:, T - 1 - back] += 1.0
            assert torch.equal(body(changed)[:, -1], at_last) is not sees


def test_a_frozen_state_space_model_is_the_same_as_a_plain_convolution() -> None:
    torch.manual_seed(3)
    network = SSM(F, width=8, states=16, layers=2).eval()
    x = torch.randn(4, T, F)
    with torch.no_grad():
        by_fft = network(x)
        network.freeze(T)
        torch.testing.assert_close(network(x), by_fft, atol=1e-5, rtol=0)
    assert set(network.state_dict()) == set(SSM(F, width=8, states=16, layers=2).state_dict())


def test_a_scan_is_the_recurrence_row_by_row() -> None:
    torch.manual_seed(4)
    decay, added = torch.rand(2, 13, 3), torch.randn(2, 13, 3)
    state, found = torch.zeros(2, 3), []
    for row in range(13):
        state = decay[:, row] * state + added[:, row]
        found.append(state)
    torch.testing.assert_close(scanned(decay, added), torch.stack(found, 1))


def test_a_network_of_some_columns_is_the_network_of_these_columns() -> None:
    torch.manual_seed(5)
    network = SSM(3, width=8, states=8, layers=1).eval()
    some = SelectedColumns(network, (4, 0, 2))
    x = torch.randn(3, T, 5)
    with torch.no_grad():
        expected = network(x[:, :, [4, 0, 2]])
        assert torch.equal(some(x), expected)
        some.freeze(T)
        torch.testing.assert_close(some(x), expected, atol=1e-5, rtol=0)
    some.constrain()  # of a network that has nothing to hold


def test_bilinear_weights_are_held_at_their_largest_norm() -> None:
    network = BinCTABL(T, F)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1000)
    network.constrain()
    held = [weight for name, weight in network.named_parameters() if "over_" in name or name == "attention.attention"]
    assert len(held) == 7 and all(weight.norm() <= 10.001 for weight in held)
