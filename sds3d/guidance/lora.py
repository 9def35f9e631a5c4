"""Low-rank adapters on a frozen network, through peft: attach, switch, take off (Hu et al., arXiv 2106.09685)."""

from __future__ import annotations

import torch
from torch import nn

from sds3d.errors import UserError

NAME = "critic"
# diffusers' names for an attention layer's projections; the last four are of text tokens that take part.
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


def target_layers(network: nn.Module) -> list[str]:
    """Full names of the linear layers to adapt.

    The network's class may list (suffixes of) them in `lora_targets`; else they are diffusers' attention projections,
    else every linear layer under a module with "attn" in its name.
    """
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    suffixes = tuple(getattr(network, "lora_targets", ())) or ATTENTION
    found = [name for name in linear if any(name == s or name.endswith("." + s) for s in suffixes)]
    found = found or [name for name in linear if "attn" in name]
    if not found:
        raise UserError(f"{type(network).__name__} has no linear layer for a critic to adapt: choose another guidance")
    return found


class Adapter:
    """Adapters on `network`, attached but switched off; the network's own parameters are frozen.

    Args:
        network: adapted in place.
        rank: of every update.
        generator: where the initial values come from; the global generator is left as it was.
    """

    def __init__(self, network: nn.Module, rank: int, generator: torch.Generator) -> None:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.tuners_utils import BaseTunerLayer

        if any(isinstance(m, BaseTunerLayer) for m in network.modules()):
            raise ValueError("this network already carries an adapter: remove() it first")
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=target_layers(network))  # scale alpha / r = 1
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            inject_adapter_in_model(config, network, adapter_name=NAME)
        self.network = network
        self.layers = [m for m in network.modules() if isinstance(m, BaseTunerLayer)]
        for parameter in self.named_parameters().values():
            parameter.data = parameter.data.float()  # trained in float32 whatever the network computes in
        self.switch(False)

    def switch(self, on: bool) -> None:
        """On: the network computes with the adapters, which are trainable. Off: exactly as if they were not there."""
        for layer in self.layers:
            layer.enable_adapters(on)

    def named_parameters(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.network.named_parameters() if f".{NAME}." in name}

    def remove(self) -> None:
        """Put the network's own layers back."""
        for name, module in list(self.network.named_modules()):
            if module in self.layers:
                parent, _, child = name.rpartition(".")
                setattr(self.network.get_submodule(parent), child, module.get_base_layer())
        self.layers = []
        vars(self.network).pop("peft_config", None)
