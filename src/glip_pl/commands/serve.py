"""``glip serve``: exported models behind HTTP, and a page to try them."""

from pathlib import Path

from glip_pl.commands.parser import run_function


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(serve, args)


def serve(
    weights: list[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_bytes: int = 20_000_000,
    max_pixels: int = 40_000_000,
    max_prompt: int = 2000,
    max_queue: int = 64,
    max_batch: int = 8,
    seconds: float = 30.0,
) -> None:
    """Serve models at POST /v1/detect, with /health, /metrics, /openapi.json and a page at /.

    Args:
        weights: Folders that `glip export` wrote, [late,deep]; the page shows them side by side.
        host: Address to listen at; by default only this machine can ask.
        port: Port to listen at.
        max_bytes: Most bytes of a request.
        max_pixels: Most pixels of an image.
        max_prompt: Most characters of a prompt.
        max_queue: Most requests that wait.
        max_batch: Most images that a model sees at once.
        seconds: Most time for an answer.
    """
    from importlib.util import find_spec

    lacking = [n for n in ("fastapi", "uvicorn", "python_multipart") if find_spec(n) is None]
    if lacking:
        raise ValueError(
            f'glip serve needs {", ".join(lacking)}; run: pip install "glip-pl[serve]"'
        )
    import uvicorn

    from glip_pl.runtime import Runtime
    from glip_pl.serving.app import build_app
    from glip_pl.serving.engine import runtime_engine
    from glip_pl.serving.limits import Limits

    names = [folder.name for folder in weights]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"--weights={names} must be one or more folders of different names")
    engines = {folder.name: runtime_engine(Runtime(folder)) for folder in weights}
    limits = Limits(
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        max_prompt=max_prompt,
        max_queue=max_queue,
        max_batch=max_batch,
        seconds=seconds,
    )
    # It stops on SIGTERM and SIGINT by itself, once what is being answered is answered.
    uvicorn.run(
        build_app(engines, limits),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=10,
    )
