"""The page in a real browser; skipped where Playwright or the system's Chromium is missing."""

import shutil
import socket
import threading

import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import uvicorn
from playwright.sync_api import sync_playwright

from glip_pl.serving.app import build_app
from glip_pl.serving.engine import Found
from glip_pl.serving.examples import drawn_examples
from glip_pl.serving.limits import Limits

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
QUIET += ["--disable-component-update", "--disable-sync"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the system has no chromium")


def model(count):
    """A model that finds as many things as it is told."""
    box = {"phrase": "red circle", "score": 0.9, "box": [10.0, 20.0, 60.0, 70.0]}

    def engine(asks):
        return [
            ValueError("it names nothing")
            if "nothing" in ask.prompt
            else Found([box] * count, ("this model was trained on 1 name",))
            for ask in asks
        ]

    return engine


@pytest.fixture(scope="module")
def address():
    app = build_app(
        {"late": model(1), "deep": model(2)}, Limits(), drawn_examples(["red circle"], 2)
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture
def page(address, browser):
    page = browser.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("#examples img")
    yield page
    assert all(url.startswith((address, "blob:", "data:")) for url in page.asked)
    page.close()


def test_an_example_is_shown_with_what_each_model_finds(page):
    assert page.input_value("#prompt") == "red circle."

    page.click("#examples button")
    page.wait_for_selector("figure:nth-child(2) canvas")

    captions = page.locator("figcaption").all_text_contents()
    assert captions == ["late: 1 found", "deep: 2 found"]
    assert "trained on 1 name" in page.inner_text("#models")


def test_an_image_of_the_user_is_searched(page, tmp_path):
    Image.new("RGB", (200, 100), "white").save(tmp_path / "mine.png")
    page.set_input_files("#image", tmp_path / "mine.png")
    page.fill("#prompt", "red circle. dog.")
    page.click("text=Detect")

    canvas = page.wait_for_selector("figure:nth-child(2) canvas")

    assert canvas.evaluate("canvas => [canvas.width, canvas.height]") == [480, 240]


def test_what_is_wrong_is_told(page):
    page.click("text=Detect")
    assert page.inner_text("#message") == "Choose an image first."

    page.fill("#prompt", "nothing")
    page.click("#examples button")
    page.wait_for_selector("#message:text('it names nothing')")
