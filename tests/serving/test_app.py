import base64
import struct
import time
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

from glip_pl.serving.app import build_app
from glip_pl.serving.engine import Found
from glip_pl.serving.limits import Limits

BOX = {"phrase": "cat", "score": 0.9, "box": [1.0, 2.0, 3.0, 4.0]}
LIMITS = Limits(max_bytes=50_000, max_pixels=10_000, max_prompt=20, seconds=0.3)


def find_cats(asks):
    """A model that knows cats, and breaks and dawdles when it is told to."""
    if any(ask.prompt == "break" for ask in asks):
        raise RuntimeError("secret")
    if any(ask.prompt == "sleep" for ask in asks):
        time.sleep(0.6)
    return [Found([BOX]) if "cat" in ask.prompt else ValueError("no name") for ask in asks]


@pytest.fixture
def client():
    with TestClient(build_app({"late": find_cats, "deep": find_cats}, LIMITS)) as client:
        yield client


def photo(size=(20, 10), format="PNG"):
    content = BytesIO()
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(content, format)
    return content.getvalue()


def ask(client, image, **fields):
    return client.post("/v1/detect", files={"image": image}, data={"prompt": "cat.", **fields})


def bomb():
    """A PNG of a few bytes that says it has 400 megapixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


def chunk(name, content):
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def test_a_form_is_answered(client):
    answer = ask(client, photo())

    size = {"width": 20, "height": 10}
    assert answer.json() == {"model": "late", **size, "detections": [BOX], "notes": []}


def test_json_with_base64_is_answered(client):
    image = base64.b64encode(photo()).decode()

    answer = client.post("/v1/detect", json={"image": image, "prompt": "cat.", "model": "deep"})

    assert answer.json()["model"] == "deep"


@pytest.mark.parametrize(
    ("image", "fields", "status"),
    [
        (b"x" * 60_000, {}, 413),
        (bomb(), {}, 413),
        (b"garbage", {}, 415),
        (photo(format="GIF"), {}, 415),
        (photo((100, 100))[:80], {}, 415),
        (photo(), {"prompt": ""}, 422),
        (photo(), {"prompt": "c" * 21}, 422),
        (photo(), {"prompt": "dog."}, 422),
        (photo(), {"threshold": "nan"}, 422),
        (photo(), {"model": "huge"}, 404),
        (photo(), {"prompt": "sleep"}, 504),
    ],
    ids=lambda value: str(value)[:24],
)
def test_each_limit_has_its_status(client, image, fields, status):
    answer = ask(client, image, **fields)

    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 5000, "application/json", 400),
        (b'{"prompt": "cat."}', "application/json", 422),
        (b'{"prompt": "cat.", "image": "http://host/a.jpg"}', "application/json", 422),
        (b"garbage", "multipart/form-data; boundary=x", 400),
        (b"garbage", "multipart/form-data", 400),
        (b"garbage", "text/plain", 415),
    ],
)
def test_a_body_that_is_not_understood_is_refused(client, content, kind, status):
    answer = client.post("/v1/detect", content=content, headers={"content-type": kind})

    assert answer.status_code == status


def test_an_error_inside_shows_nothing_of_the_inside(client):
    answer = ask(client, photo(), prompt="break")

    assert (answer.status_code, answer.json()) == (500, {"error": "an internal error"})
    assert ask(client, photo()).status_code == 200


def test_what_was_done_is_counted(client):
    ask(client, photo())
    ask(client, b"garbage")

    lines = client.get("/metrics").text.splitlines()

    assert 'glip_requests_total{status="200"} 1' in lines
    assert 'glip_requests_total{status="415"} 1' in lines
    assert 'glip_batches_total{size="1"} 1' in lines


def test_the_server_describes_itself(client):
    assert client.get("/health").json() == {"status": "ok", "models": ["late", "deep"]}
    schema = client.get("/openapi.json").json()
    content = schema["paths"]["/v1/detect"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")

    assert "http://" not in page.text
    assert "https://" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
