"""``glip serve``: models behind HTTP, and a page to try them."""

from glip_pl.commands.parser import run_function


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(serve, args)


def serve(
    weights: list[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    max_bytes: int = 20_000_000,
    max_pixels: int = 40_000_000,
    max_prompt: int = 2000,
    max_queue: int = 64,
    max_batch: int = 8,
    seconds: float = 30.0,
) -> None:
    """Serve models at POST /v1/detect, with /health, /metrics, /openapi.json and a page at /.

    Args:
        weights: Models, [late.ckpt,deep.ckpt]: folders that `glip export` wrote, which are served
            without PyTorch, or what `glip predict --weights` takes. The page shows them side by
            side. "cells=runs/a/last.ckpt" is called cells.
        host: Address to listen at; by default only this machine can ask.
        port: Port to listen at.
        device: "auto", "cpu" or "cuda", for what is not exported.
        max_bytes: Most bytes of a request.
        max_pixels: Most pixels of an image.
        max_prompt: Most characters of a prompt.
        max_queue: Most requests that wait.
        max_batch: Most images that a model sees at once.
        seconds: Most time for an answer.
    """
    from glip_pl.serving.server import check_installed, run_server

    check_installed()
    from glip_pl.serving.app import build_app
    from glip_pl.serving.limits import Limits
    from glip_pl.serving.models import open_models

    limits = Limits(
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        max_prompt=max_prompt,
        max_queue=max_queue,
        max_batch=max_batch,
        seconds=seconds,
    )
    models = open_models(weights, device=device)
    engines = {name: model.engine for name, model in models.items()}
    run_server(build_app(engines, limits), host, port)
