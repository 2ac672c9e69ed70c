"""``glip convert``: checkpoints of official GLIP to folders of weights, and back."""

from glip_pl.commands.parser import run_function


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(convert, args, positional=True)


def convert(source: str, target: str) -> None:
    """Convert a checkpoint of official GLIP to a folder of weights, or such a folder back.

    Args:
        source: An official .pth file or the name of a published checkpoint (glip_t_a, glip_t_b,
            glip_t_c, glip_t, glip_l); or, for the way back, a folder of weights or a .ckpt that
            `glip fit` wrote with such a model.
        target: The folder to write; for the way back, the .pth file to write.
    """
    from glip_pl.weights.convert import convert as write

    write(source, target)
