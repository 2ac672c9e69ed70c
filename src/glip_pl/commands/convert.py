"""``glip convert``: weights of any kind to a folder, and models of official GLIP back to a .pth."""

from glip_pl.commands.parser import run_function


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(convert, args, positional=True)


def convert(source: str, target: str, *, trust: list[str] | None = None) -> None:
    """Convert weights of any kind to a folder, or a model of official GLIP back to a .pth file.

    Args:
        source: A run's .ckpt, an official .pth, the name of a published checkpoint (glip_t_a,
            glip_t_b, glip_t_c, glip_t, glip_l), a folder of weights, or hf:user/repo.
        target: The folder to write; or a file that ends in .pth, for the code of official GLIP.
        trust: Modules whose classes the weights may name.
    """
    from glip_pl.weights.convert import convert as write

    write(source, target, trust=trust)
