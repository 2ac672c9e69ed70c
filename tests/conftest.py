import os
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from shapes_run import arguments_for
from shared import shared

from glip_pl.cli import main
from glip_pl.data.shapes import ShapesBuilder
from glip_pl.system.machine import choose_device

os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(autouse=True)
def own_arguments(monkeypatch):
    """Hide pytest's own arguments from the command line under test."""
    monkeypatch.setattr("sys.argv", ["glip"])


@pytest.fixture(scope="session")
def device():
    """Where tests marked `gpu` compute: GLIP_PL_TEST_DEVICE, or else a GPU where there is one."""
    return choose_device(os.environ.get("GLIP_PL_TEST_DEVICE", "auto"))


@pytest.fixture(scope="session")
def cuda(device):
    """The same, for what a CPU has not: its tests are skipped there, and say so."""
    if device.type != "cuda":
        pytest.skip(f"needs CUDA, and tests compute on {device}")
    return device


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory):
    """A small `shapes` data set."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    ShapesBuilder(num_train=8, num_val=4, num_test=4).build(root)
    return root


@pytest.fixture
def shapes_arguments(shapes_root, tmp_path):
    """Options of `glip fit` for two steps of a one-layer model on that set."""
    return arguments_for(shapes_root, tmp_path)


@pytest.fixture(scope="session")
def trained_run(shapes_root, tmp_path_factory):
    """The folder of such a run when it has finished; to be read, not changed."""

    def train(folder):
        main(["fit", *arguments_for(shapes_root, folder)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["glip"])
        return shared(tmp_path_factory, "trained", train) / "runs/run/version_0"


@dataclass
class Server:
    """A server on this machine with one file under every path.

    Attributes:
        url: Its address.
        content: The file.
        asked: The path of every request, with the range where one was asked for.
        breaks_after: Bytes after which the connection breaks, once.
        ranges: Whether it can send a part of the file.
    """

    url: str = ""
    content: bytes = b"0123456789" * 1000
    asked: list[str] = field(default_factory=list)
    breaks_after: int | None = None
    ranges: bool = True


@pytest.fixture
def server():
    """Serve a file on the loopback."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            state.asked.append(self.path + (f" {asked}" if asked else ""))
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if start >= len(state.content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(state.content) - start))
            self.end_headers()
            self.wfile.write(state.content[start : state.breaks_after])
            state.breaks_after = None

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{running.server_port}"
    yield state
    running.shutdown()
    running.server_close()
