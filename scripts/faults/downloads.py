"""Faults of servers: what comes is not what was asked for."""

import http.server
import json
import threading
import zipfile

from faults.bench import Bench, Ended, fault


def _served(content: bytes) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@fault("a server that answers with a web page in the place of a zip file")
def web_page_for_a_zip(bench: Bench) -> str:
    """Download a page that asks to log in."""
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    return _fetch(bench, page).refused("web page")


@fault("a zip file that needs a password")
def encrypted_zip(bench: Bench) -> str:
    """Download what cannot be opened."""
    path = bench.fresh() / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "secret")
    content = bytearray(path.read_bytes())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):  # Both headers say that it is encrypted.
        at = content.index(mark) + (6 if mark.endswith(b"\x04") else 8)
        content[at] |= 1
    return _fetch(bench, bytes(content)).refused("password|encrypted")


def _fetch(bench: Bench, content: bytes) -> Ended:
    """Fetch a set whose one file, a zip, has this content."""
    described, server = bench.fresh(), _served(content)
    (described / "sources").mkdir()
    source = {
        **{"title": "A set", "about": "A set.", "licence": "none", "page": "none"},
        **{"root": "none", "needs": ["a.txt"]},
        "files": [
            {
                "url": f"http://127.0.0.1:{server.server_port}/a.zip",
                "gives": "a.txt",
                "size": "1 kB",
            }
        ],
    }
    (described / "sources/a_set.yaml").write_text(json.dumps(source))

    def describe() -> None:
        from glip_pl.configs import names

        names.data_folder = lambda: described

    ended = bench.glip("data", "fetch", "a_set", f"--root={bench.fresh()}", before=describe)
    server.shutdown()
    server.server_close()
    return ended
