"""Adapters as files: alone, several at once, and only on their own base."""

import pytest
import torch
from safetensors.torch import load_file
from small_models import adapted, built, outputs

from glip_pl.tuning.adapters import save_adapter, with_adapters
from glip_pl.tuning.checkpoint import fold
from glip_pl.tuning.lora import adapters, merge


def saved(path, seed):
    """A model with adapters that learned something, and their file."""
    model = adapted()
    torch.manual_seed(seed)
    with torch.no_grad():
        for _, adapter in adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
    checkpoint = {"state_dict": {f"model.{n}": v for n, v in model.state_dict().items()}}
    fold(checkpoint)
    save_adapter(checkpoint, path)
    return model


def test_an_adapter_on_its_base_is_the_tuned_model(tmp_path):
    model, plain = saved(tmp_path / "a.safetensors", 1), built()

    plain.load_state_dict(with_adapters(plain.state_dict(), [tmp_path / "a.safetensors"]))

    merge(model)
    assert outputs(plain).equal(outputs(model))


def test_the_file_holds_the_additions_alone(tmp_path):
    saved(tmp_path / "a.safetensors", 1)

    kinds = {name.rpartition(".")[2] for name in load_file(tmp_path / "a.safetensors")}

    assert kinds == {"up", "down", "shift", "scale"}


def test_several_adapters_add_up(tmp_path):
    files = [tmp_path / f"{seed}.safetensors" for seed in (1, 2)]
    for seed, file in enumerate(files):
        saved(file, seed)
    base = built().state_dict()

    both = with_adapters(base, files)

    one, two = (with_adapters(base, [file]) for file in files)
    for name, value in base.items():
        if value.is_floating_point():
            torch.testing.assert_close(both[name], one[name] + two[name] - value)


def test_an_adapter_of_another_base_is_refused(tmp_path):
    saved(tmp_path / "a.safetensors", 1)
    other = {name: value + 1 for name, value in built().state_dict().items()}

    with pytest.raises(ValueError, match="was made for the weights"):
        with_adapters(other, [tmp_path / "a.safetensors"])


def test_a_checkpoint_without_adapters_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"no adapters.*--model\.tuning\.mode=lora"):
        save_adapter({"state_dict": {}}, tmp_path / "a.safetensors")
