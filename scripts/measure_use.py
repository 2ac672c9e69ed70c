"""Measure what a user waits for: the first detection, batches, labelling, the server.

Nothing else may run on the machine meanwhile. Each part prints a line or two::

    python scripts/measure_use.py load best.ckpt
    python scripts/measure_use.py batches best.ckpt
    python scripts/measure_use.py label best.ckpt
    python scripts/measure_use.py runtime exported/
    python scripts/measure_use.py server http://127.0.0.1:8000 --weights=best.ckpt

The last one needs a `glip serve` of these weights that runs. Labelling with one process is held to
one core, so that two of them may take twice as much.
"""

import argparse
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

PROMPT = "red circle. blue square. green triangle."
SIDE = 128
REPEATS = 3
BOUNDARY = "measure-use"


def scenes(count: int) -> list[Image.Image]:
    """Draw pictures of coloured shapes."""
    from glip_pl.data.shapes.render import render
    from glip_pl.data.shapes.scenes import PAIRS, detection_scene

    rng = np.random.default_rng(0)
    return [render(detection_scene(rng, SIDE, PAIRS), rng, SIDE) for _ in range(count)]


def cpu_seconds(code: str) -> float:
    """Return the least processor time of a program that runs in a process of its own.

    The first run of a source tree compiles it, as installing a package does.
    """
    compiled = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    program = f"import time\n{code}\nprint(time.process_time())"
    run = [sys.executable, "-c", program]
    return min(
        float(subprocess.run(run, capture_output=True, text=True, check=True, env=compiled).stdout)
        for _ in range(REPEATS)
    )


def load(weights: str) -> None:
    """Measure loading and the first detection."""
    code = (
        f"import numpy as np, glip_pl\nmodel = glip_pl.load({weights!r})\n"
        f"model.predict(np.zeros(({SIDE}, {SIDE}, 3), np.uint8), {PROMPT!r})"
    )
    print(f"load and first detection: {cpu_seconds(code):.2f} s of CPU, import included")


def runtime(folder: str) -> None:
    """Measure how fast an exported model opens; run it where PyTorch is not installed."""
    code = f"from glip_pl.runtime import Runtime\nRuntime({folder!r})"
    print(f"runtime: {cpu_seconds(code):.2f} s of CPU, import included")


def batches(weights: str) -> None:
    """Measure batches of one and of eight."""
    import glip_pl

    model, images = glip_pl.load(weights), [np.asarray(scene) for scene in scenes(64)]
    rates = {}
    for size in (1, 8):
        model.predict(images[:8], PROMPT, batch_size=size)
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            model.predict(images, PROMPT, batch_size=size)
            times.append(time.perf_counter() - start)
        rates[size] = len(images) / min(times)
    ratio = rates[8] / rates[1]
    print(f"batches: 1 {rates[1]:.1f}, 8 {rates[8]:.1f} images/s, ratio {ratio:.2f}")


def label(weights: str, *, count: int = 2000) -> None:
    """Measure `glip label` with one process and with two, the start included."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "in").mkdir()
        drawn = scenes(100)
        for k in range(count):
            drawn[k % len(drawn)].save(root / f"in/{k:05}.jpg")
        rates = {}
        asked = [f"--images=[{root}/in]", f"--prompt={PROMPT}", f"--weights={weights}"]
        launcher = str(Path(sys.executable).parent / "torchrun")
        for ranks in (1, 2):
            start = [launcher, f"--nproc_per_node={ranks}"]
            command = [*start, "-m", "glip_pl", "label", *asked, f"--output={root}/out{ranks}"]
            begun = time.perf_counter()
            with _cores(ranks):
                said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
            whole = count / (time.perf_counter() - begun)
            # As each process counts when it is done, from its first image on.
            rates[ranks] = sum(map(float, re.findall(r" images, ([\d.]+) a second", said)))
            print(
                f"label: {ranks} rank(s), a core each: {rates[ranks]:.1f} images/s, "
                f"{whole:.1f} with the start"
            )
        print(f"label: two ranks {rates[2] / rates[1]:.2f} times one")


@contextmanager
def _cores(count: int) -> Iterator[None]:
    """Let what is started meanwhile have so many cores."""
    held = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(held)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, held)


def server(address: str, weights: str, *, count: int = 5000) -> None:
    """Measure a running server with one client and with eight, beside the API."""
    image, model = scenes(1)[0], _opened(weights)
    body = _form(image)
    alone = _median(lambda: model.predict(image, PROMPT))
    eight = 8 / _median(lambda: model.predict([image] * 8, PROMPT, batch_size=8))
    for clients in (1, 8):
        requests = count if clients > 1 else count // 10
        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            shares = pool.map(_ask, [(address, body, requests // clients)] * clients)
            answers = [answer for share in shares for answer in share]
        rate = len(answers) / (time.perf_counter() - begun)
        times = np.array([seconds for _, seconds in answers]) * 1000
        failed = {code: n for code, n in Counter(c for c, _ in answers).items() if code != 200}
        print(
            f"server: {clients} client(s), {rate:.1f} requests/s, p50 {np.median(times):.1f} ms, "
            f"p99 {np.percentile(times, 99):.1f} ms, failed {failed or 'none'}, "
            + (
                f"{np.median(times) / alone / 1000:.2f} times the API's {alone * 1000:.1f} ms"
                if clients == 1
                else f"{rate / eight:.2f} of the API's {eight:.1f} at batch 8"
            )
        )


def _opened(weights: str) -> Any:
    import glip_pl

    return glip_pl.load(weights)


def _median(run: Callable[[], object], *, repeats: int = 20) -> float:
    """Return how many seconds a call takes, after a first one."""
    run()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def _form(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG")
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n{PROMPT}\r\n'
    head += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n'
    head += "Content-Type: image/jpeg\r\n\r\n"
    return head.encode() + file.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()


def _ask(task: tuple[str, bytes, int]) -> list[tuple[int, float]]:
    address, body, count = task
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    answers = []
    for _ in range(count):
        begun = time.perf_counter()
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connection.request("POST", "/v1/detect", body, kind)
        answer = connection.getresponse()
        answer.read()
        answers.append((answer.status, time.perf_counter() - begun))
    return answers


PARTS = {
    "load": load,
    "batches": batches,
    "label": label,
    "runtime": runtime,
}


def main() -> None:
    """Measure the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "server"])
    parser.add_argument("of", help="weights, an exported folder, or the address of a server")
    parser.add_argument("--weights", help="of the server, to measure the API beside it")
    chosen = parser.parse_args()
    if chosen.part == "server" and not chosen.weights:
        parser.error("server needs --weights=best.ckpt, to measure the API beside it")
    if chosen.part == "server":
        server(chosen.of, chosen.weights)
    else:
        PARTS[chosen.part](chosen.of)


if __name__ == "__main__":
    main()
