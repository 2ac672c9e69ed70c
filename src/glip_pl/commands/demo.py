"""``glip demo``: a page in the browser with models side by side, and images to click."""

from glip_pl.commands.parser import run_function


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(demo, args)


def demo(
    weights: list[str],
    *,
    examples: str | None = None,
    port: int = 8000,
    device: str = "auto",
    browse: bool = True,
) -> None:
    """Open a page to try models: an image, a prompt, a threshold, and what each model finds.

    Nothing leaves this machine, and no network is needed.

    Args:
        weights: Models, [late.ckpt,deep.ckpt], as for `glip serve`; they stand side by side.
        examples: Image files to click: a folder, a file or a glob; by default drawn shapes.
        port: Port to listen at.
        device: "auto", "cpu" or "cuda".
        browse: Open the browser.
    """
    from glip_pl.serving.server import check_installed, run_server

    check_installed()
    from glip_pl.inference.files import image_files
    from glip_pl.serving.app import build_app
    from glip_pl.serving.examples import drawn_examples, file_examples
    from glip_pl.serving.limits import Limits
    from glip_pl.serving.models import open_models

    models = open_models(weights, device=device)
    names = next(iter(models.values())).class_names
    shown = file_examples(image_files(examples), names) if examples else drawn_examples(names)
    engines = {name: model.engine for name, model in models.items()}
    run_server(build_app(engines, Limits(), shown), "127.0.0.1", port, browse=browse)
