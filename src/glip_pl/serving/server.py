"""Running the application: until SIGTERM, and with the address told once it answers."""

import sys
import webbrowser
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def check_installed() -> None:
    """Insist on the packages of the extra.

    Raises:
        ValueError: One is not installed.
    """
    lacking = [n for n in ("fastapi", "uvicorn", "python_multipart") if find_spec(n) is None]
    if lacking:
        raise ValueError(f'a server needs {", ".join(lacking)}; run: pip install "glip-pl[serve]"')


def run_server(app: "FastAPI", host: str, port: int, *, browse: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; what is being answered then is still answered.

    Args:
        app: What `build_app` built.
        host: Address to listen at.
        port: Port to listen at.
        browse: Whether to open the page in a browser.

    Raises:
        ValueError: The address is taken, or is none of this machine.
    """
    import uvicorn

    shown = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
            await super().startup(sockets)  # type: ignore[arg-type]
            if self.started:
                sys.stdout.write(f"serving at {shown}; stop with Ctrl+C\n")
                sys.stdout.flush()
                if browse:
                    webbrowser.open(shown)

    config = uvicorn.Config(
        app, host=host, port=port, log_level="error", timeout_graceful_shutdown=10
    )
    server = Server(config)
    try:
        server.run()
    except KeyboardInterrupt:  # Raised once more by uvicorn, when all requests are answered.
        return
    except SystemExit as error:  # uvicorn ends the process where it cannot listen.
        raise ValueError(
            f"cannot listen at {host}:{port}; another program may do so: pass another --port"
        ) from error
