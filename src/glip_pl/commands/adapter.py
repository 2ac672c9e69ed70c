"""``glip adapter``: what LoRA has learned, apart from the weights it was learned on, and back."""

from pathlib import Path

from jsonargparse import auto_cli

from glip_pl.commands.parser import CommandParser
from glip_pl.system.screen import next_command, next_prediction, write


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    auto_cli(
        [save, merge],
        args=args,
        prog="glip adapter",
        as_positional=True,
        parser_class=CommandParser,
    )


def save(checkpoint: str, output: Path) -> None:
    """Write the adapters of a run with model.tuning.mode=lora as a small file.

    Args:
        checkpoint: A .ckpt of that run.
        output: A .safetensors file.
    """
    from glip_pl.tuning.adapters import save_adapter
    from glip_pl.weights.run_checkpoint import read_checkpoint

    save_adapter(read_checkpoint(checkpoint), output)
    write(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    write(next_command("glip", "adapter", "merge", "WEIGHTS", str(output), "merged.ckpt"))


def merge(weights: str, adapters: list[Path] | Path, output: Path) -> None:
    """Add adapters to the weights that they were made for, and write whole weights.

    Args:
        weights: What the runs started from, of any kind.
        adapters: A file that `glip adapter save` wrote, or several, which add up:
            [one.safetensors,two.safetensors].
        output: A .ckpt file.
    """
    from glip_pl.training.from_weights import open_task, write_checkpoint
    from glip_pl.tuning.adapters import with_adapters

    task = open_task(weights)
    paths = adapters if isinstance(adapters, list) else [adapters]
    merged = with_adapters(task.model.state_dict(), paths)
    counted = "1 adapter" if len(paths) == 1 else f"{len(paths)} adapters"
    write_checkpoint(task, merged, output, like=weights)
    write(f"{output}: {weights} with {counted}", next_prediction(output))
