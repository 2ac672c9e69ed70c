"""Ask a running server for more than it may give, and see that it goes on serving.

``python scripts/attack_server.py http://127.0.0.1:8000`` sends good requests from several clients,
cut-off uploads, garbage and a picture that claims 400 megapixels; it prints requests per second,
times and statuses, and exits with 1 when the server stops answering or an error has another status.
"""

import http.client
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

_CLIENTS, _SECONDS = 8, 10.0


def main(url: str) -> int:
    """Attack, report, and return the exit status."""
    host = urlsplit(url).netloc
    good = form(picture(128, 128))
    statuses, times, lock = Counter[int](), list[float](), threading.Lock()
    end = time.monotonic() + _SECONDS

    def flood() -> None:
        while time.monotonic() < end:
            start = time.perf_counter()
            status = post(host, good)
            with lock:
                statuses[status] += 1
                times.append(time.perf_counter() - start)

    threads = [threading.Thread(target=flood) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    odd = Counter[int]()
    for body in bad_bodies():
        odd[post(host, body)] += 1
    cut_off(host, good)
    for thread in threads:
        thread.join()
    times.sort()
    p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    report = f"{len(times) / _SECONDS:.1f} requests/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    alive = post(host, good) == 200
    sys.stdout.write(f"{report}\ngood requests: {dict(statuses)}\nbad ones: {dict(odd)}\n")
    sys.stdout.write(f"still serving: {alive}\n")
    return 0 if alive and set(statuses) <= {200, 503} and max(odd) < 500 else 1


def post(host: str, body: bytes) -> int:
    """Send a form and return the status; 0 where the server hung up on a body that is too large."""
    connection = http.client.HTTPConnection(host, timeout=60)
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    try:
        connection.request("POST", "/v1/detect", body, kind)
        response = connection.getresponse()
        response.read()
    except (BrokenPipeError, ConnectionResetError):
        return 0
    finally:
        connection.close()
    return response.status


def cut_off(host: str, body: bytes, count: int = 50) -> None:
    """Begin uploads, and hang up."""
    name, _, port = host.partition(":")
    head = (
        f"POST /v1/detect HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    ).encode()
    for _ in range(count):
        with socket.create_connection((name, int(port or 80))) as connection:
            connection.sendall(head + body[: len(body) // 2])


def bad_bodies() -> Iterator[bytes]:
    """Forms that no server should answer with boxes."""
    yield b""
    yield b"garbage" * 1000
    yield form(b"garbage")
    yield form(picture(20_000, 20_000, rows=0))
    yield form(picture(128, 128)[:100])
    yield form(picture(128, 128), prompt="x" * 100_000)
    yield form(b"x" * 30_000_000)


def form(image: bytes, prompt: str = "red circle. blue square.") -> bytes:
    """Write a form with an image and a prompt."""
    return (
        b'--edge\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
        + prompt.encode()
        + b'\r\n--edge\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        + image
        + b"\r\n--edge--\r\n"
    )


def picture(width: int, height: int, rows: int | None = None) -> bytes:
    """Write a grey PNG, whose header may claim more rows than there are."""
    row = b"\0" + bytes([128]) * 3 * width
    content = zlib.compress(row * (height if rows is None else rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
