"""Any module's layers: gradients kept apart by record, or a clear refusal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from tip_exchange.errors import ModelError
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.layers import Layer, linear_layers, select_layers
from tip_exchange.influence.projection import GivenProjections, SeededProjections

SEEDED = SeededProjections(bytes(32))


class TwicePassed(nn.Module):
    """One layer used twice, one unused, one that sees all records at once."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(6, 6)
        self.unused = nn.Linear(6, 6)
        self.mixing = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.shared(torch.tanh(self.shared(x))))
        return self.mixing(hidden.flatten(0, 1)).view(*x.shape[:2], 4).mean(1)


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


def exact(model: nn.Module, layers: tuple[Layer, ...], loss: Callable[[int], Tensor], count: int) -> Tensor:
    """Weight gradients (count, d) by autograd, record after record, for layers at full width without bias."""
    model.requires_grad_(True)
    weights = [model.get_parameter(f"{layer.name}.weight") for layer in layers]
    rows = []
    for record in range(count):
        parts = torch.autograd.grad(loss(record), weights)
        transposed = ["c_" in layer.name for layer in layers]  # GPT-2's Conv1D stores (in, out)
        rows.append(torch.cat([(p.T if t else p).flatten() for p, t in zip(parts, transposed, strict=True)]))
    return torch.stack(rows)


def test_a_modules_gradients_equal_torch_func() -> None:
    model = perceptron()
    x, y = torch.randn(5, 8), torch.tensor([0, 2, 1, 1, 0])
    layers = select_layers(model, ["*"], None)
    watched = LayerGradients(model, layers, SEEDED)
    rows = watched.gradients(functional.cross_entropy(watched.forward(x), y, reduction="sum"))
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}

    def loss(values: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(torch.func.functional_call(model, values, (one[None],)), label[None])

    per_record = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    wanted = torch.cat([per_record[f"{layer.name}.weight"].flatten(1) for layer in layers], dim=1)
    torch.testing.assert_close(rows, wanted, atol=1e-6, rtol=1e-5)
    assert watched.dimension == rows.shape[1]


@pytest.mark.parametrize(
    "model",
    [
        GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=2, n_positions=16)),
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                intermediate_size=24, max_position_embeddings=16,
            )
        ),
    ],
    ids=["gpt2", "llama-grouped-query"],
)  # fmt: skip
def test_a_causal_models_gradients_are_exact_under_padding(model: PreTrainedModel) -> None:
    model.eval()
    torch.manual_seed(1)
    ids, lengths = torch.randint(30, (3, 9)), (9, 5, 2)
    mask = torch.tensor([[int(t < n) for t in range(9)] for n in lengths])

    def loss(ids: Tensor, mask: Tensor, logits: Tensor) -> Tensor:
        targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        return functional.cross_entropy(logits[:, :-1].transpose(1, 2), targets, reduction="sum")

    layers = select_layers(model, ["*"], None)
    watched = LayerGradients(model, layers, SEEDED)
    rows = watched.gradients(loss(ids, mask, watched.forward(input_ids=ids, attention_mask=mask).logits))

    def alone(record: int) -> Tensor:
        own = ids[record : record + 1, : lengths[record]]
        return loss(own, torch.ones_like(own), model(input_ids=own).logits)

    wanted = exact(model, layers, alone, 3)
    torch.testing.assert_close(rows, wanted, atol=1e-5 * float(wanted.abs().max()), rtol=1e-5)


def test_a_head_tied_to_the_embeddings_is_not_taken_for_a_linear_layer() -> None:
    config = {"vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    assert "lm_head" not in linear_layers(GPT2LMHeadModel(GPT2Config(**config)))
    assert "lm_head" in linear_layers(GPT2LMHeadModel(GPT2Config(**config, tie_word_embeddings=False)))


def test_a_layer_used_twice_has_the_sum_of_both_gradients() -> None:
    torch.manual_seed(0)
    model, x = TwicePassed().eval(), torch.randn(3, 2, 6)
    layers = (Layer("shared"),)
    watched = LayerGradients(model, layers, SEEDED)
    rows = watched.gradients((watched.forward(x) ** 2).sum())
    wanted = exact(model, layers, lambda i: (model(x[i : i + 1]) ** 2).sum(), 3)
    torch.testing.assert_close(rows, wanted, atol=1e-5, rtol=1e-5)


def test_two_losses_of_one_forward_pass_have_their_own_gradients() -> None:
    model, x = perceptron(), torch.randn(4, 8)
    watched = LayerGradients(model, select_layers(model, ["*"], 2), SEEDED)
    logits = watched.forward(x)
    first = watched.gradients(logits[:, 0].sum(), keep=True)
    second = watched.gradients(logits[:, 1].sum())
    both = watched.gradients(watched.forward(x)[:, :2].sum())
    assert not torch.equal(first, second)
    torch.testing.assert_close(first + second, both)


def test_given_projections_are_used_and_missing_ones_refused() -> None:
    model, x = perceptron(), torch.randn(4, 8)
    generator = np.random.default_rng(0)
    inner = generator.normal(size=(2, 8)).astype(np.float32)
    layer = Layer("0", rank_in=2)
    watched = LayerGradients(model, [layer], GivenProjections({"0/0/in": inner}))
    rows = watched.gradients(watched.forward(x).sum())
    full = LayerGradients(model, [Layer("0")], SEEDED)
    wanted = full.gradients(full.forward(x).sum()).view(4, 7, 8) @ torch.from_numpy(inner).T
    torch.testing.assert_close(rows, wanted.flatten(1))
    for matrices in ({}, {"0/0/in": inner[:1]}):
        with pytest.raises(ModelError, match="0/0/in"):
            LayerGradients(model, [layer], GivenProjections(matrices))


def test_an_observer_sees_inputs_and_output_gradients_whose_product_is_the_row() -> None:
    model, x = perceptron(), torch.randn(4, 8)
    seen: list[tuple[str, Tensor]] = []
    layers = select_layers(model, ["2"], 3)
    watched = LayerGradients(model, layers, SEEDED)
    outputs = watched.forward(x)
    watched.gradients(outputs.square().sum(), keep=True)
    rows = watched.gradients(
        outputs.sum(), keep=True, observe=lambda layer, x, d: seen.append((layer.name, d.transpose(1, 2) @ x))
    )
    watched.gradients(outputs.square().sum())
    ((name, product),) = seen
    assert name == "2"
    torch.testing.assert_close(rows, product.flatten(1))


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([Layer("nowhere")], "no linear layer 'nowhere'"),
        ([Layer("shared", rank_in=7)], "rank 7 exceeds its width 6"),
        ([Layer("unused")], "unused takes no part"),
        ([Layer("shared"), Layer("mixing")], "mixing does not keep records apart"),
    ],
)
def test_layers_that_cannot_be_valued_are_refused_by_name(layers: list[Layer], sentence: str) -> None:
    def rows() -> Tensor:
        watched = LayerGradients(TwicePassed().eval(), layers, SEEDED)
        return watched.gradients(watched.forward(torch.randn(3, 2, 6)).sum())

    with pytest.raises(ModelError, match=sentence):
        rows()


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(ModelError, match="training mode"):
        LayerGradients(perceptron().train(), [Layer("0")], SEEDED)


def test_patterns_choose_layers_and_cap_ranks_at_the_width() -> None:
    model = perceptron()
    assert select_layers(model, ["[02]"], 6) == (Layer("0", 6, 6), Layer("2", 6, None))
    assert select_layers(model, ["4"], 2, bias=True) == (Layer("4", 2, 2, bias=True),)
    with pytest.raises(ModelError, match="No linear layer matches 'encoder"):
        select_layers(model, ["encoder.*"], 2)


@pytest.mark.parametrize("rank", [None, 2])
def test_projected_weights_times_a_gradient_is_its_product_with_the_weights(rank: int | None) -> None:
    """⟨weights, gradient⟩ = Σ_layers ⟨δ, output⟩ at full width; projected it is the same form between projections."""
    model, x = perceptron(), torch.randn(4, 8)
    outputs: list[Tensor] = []
    layers = select_layers(model, ["*"], rank, bias=True)
    watched = LayerGradients(model, layers, SEEDED)
    handles = [
        model.get_submodule(layer.name).register_forward_hook(lambda *a: outputs.append(a[2])) for layer in layers
    ]
    rows = watched.gradients(watched.forward(x)[:, 0].sum(), keep=True)
    for handle in handles:
        handle.remove()
    if rank is None:
        deltas = torch.autograd.grad(outputs[-1][:, 0].sum(), outputs)
        wanted = sum((delta * output).sum(1) for delta, output in zip(deltas, outputs, strict=True))
        torch.testing.assert_close(rows @ watched.weights(), wanted)
        return
    start = 0
    for layer in layers:
        module = model.get_submodule(layer.name)
        full = torch.cat([module.weight, module.bias[:, None]], dim=1)
        sides = (("out", layer.rank_out, full.shape[0]), ("in", layer.rank_in, full.shape[1]))
        outer, inner = (
            torch.from_numpy(SEEDED.matrix(layer.name, side, r, width)) if r else torch.eye(width)
            for side, r, width in sides
        )
        wanted = (outer @ full @ inner.T).flatten()
        torch.testing.assert_close(watched.weights()[start : start + wanted.numel()], wanted)
        start += wanted.numel()
    assert start == watched.dimension
