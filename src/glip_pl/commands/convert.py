"""``glip convert``: weights of any kind to a folder, and models of official GLIP back to a .pth."""

from typing import Literal

from glip_pl.commands.parser import run_function


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(convert, args, positional=True)


def convert(
    source: str,
    target: str,
    *,
    form: Literal["glip_pl", "transformers"] = "glip_pl",
    trust: list[str] | None = None,
) -> None:
    """Convert weights of any kind to a folder, or a published model back to its own form.

    Args:
        source: A run's .ckpt, an official .pth, the name of a published checkpoint (glip_t,
            mm_grounding_dino_t, llmdet_l and more), a folder of weights or of transformers, or
            hf:user/repo.
        target: The folder to write; or a file that ends in .pth, for the code of official GLIP.
        form: What the folder is for; transformers reads the Grounding DINO family.
        trust: Modules whose classes the weights may name.
    """
    from glip_pl.weights.convert import convert as write

    write(source, target, form=form, trust=trust)
