"""The application: one question, health, metrics, and a page to try it."""

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.requests import ClientDisconnect

from glip_pl.serving.batcher import Batcher
from glip_pl.serving.engine import Engine
from glip_pl.serving.examples import Examples
from glip_pl.serving.limits import Limits, Refusal
from glip_pl.serving.metrics import Metrics
from glip_pl.serving.requests import read_request

_logger = logging.getLogger(__name__)

# The page loads nothing from anywhere, and may not be embedded anywhere.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'"
)

_FIELDS = {
    "type": "object",
    "required": ["image", "prompt"],
    "properties": {
        "prompt": {"type": "string", "description": 'Names with dots between, "cat. dog."'},
        "caption": {"type": "boolean", "description": "Read the prompt as a sentence."},
        "threshold": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Least score; by default those that came with the model.",
        },
        "model": {"type": "string", "description": "One of those of /health."},
    },
}


def _request_body() -> dict[str, object]:
    content = {}
    for kind, form in (("multipart/form-data", "binary"), ("application/json", "byte")):
        image = {"type": "string", "format": form}
        fields = {**_FIELDS, "properties": {"image": image, **_FIELDS["properties"]}}  # type: ignore[dict-item]
        content[kind] = {"schema": fields}
    return {"requestBody": {"required": True, "content": content}}


def build_app(
    engines: Mapping[str, Engine], limits: Limits, examples: Examples | None = None
) -> FastAPI:
    """Build the application that serves models by name; the first is the default."""
    metrics = Metrics()
    batchers = {name: Batcher(engine, limits, metrics) for name, engine in engines.items()}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        for batcher in batchers.values():
            await batcher.close()

    # The interactive pages of FastAPI would load scripts from elsewhere.
    app = FastAPI(title="glip_pl", lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.post("/v1/detect", openapi_extra=_request_body())
    async def detect(request: Request) -> Response:
        """Find in an image what a prompt names."""
        start = time.perf_counter()
        try:
            response = JSONResponse(await _answer(request, batchers, limits))
        except Refusal as refusal:
            after = {"Retry-After": "1"} if refusal.status == 503 else None
            response = JSONResponse({"error": refusal.reason}, refusal.status, after)
        except ClientDisconnect:
            response = JSONResponse({"error": "the request was cut off"}, 400)
        except Exception:  # What went wrong inside is for the log, not for strangers.
            _logger.exception("a request failed")
            response = JSONResponse({"error": "an internal error"}, 500)
        metrics.request(response.status_code, time.perf_counter() - start)
        return response

    @app.get("/health")
    async def health() -> dict[str, object]:
        """Return that the server runs, and its models."""
        return {"status": "ok", "models": list(batchers)}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def read_metrics() -> str:
        """Return counters for Prometheus."""
        return metrics.text()

    _add_page(app, examples or Examples())
    return app


def _add_page(app: FastAPI, offered: Examples) -> None:
    """Add the page to try the models, and the images that it offers."""

    @app.get("/examples", include_in_schema=False)
    async def list_examples() -> dict[str, object]:
        images = [f"examples/{k}.jpg" for k in range(len(offered.images))]
        return {"prompt": offered.prompt, "images": images}

    @app.get("/examples/{k}.jpg", include_in_schema=False)
    async def example(k: int) -> Response:
        if not 0 <= k < len(offered.images):
            return JSONResponse({"error": f"there is no example {k}"}, 404)
        return Response(offered.images[k], media_type="image/jpeg")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        html = files("glip_pl.serving").joinpath("page/index.html").read_text("utf-8")
        return HTMLResponse(html, headers={"Content-Security-Policy": _PAGE_POLICY})


async def _answer(
    request: Request, batchers: Mapping[str, Batcher], limits: Limits
) -> dict[str, object]:
    ask, wanted = await read_request(request, limits)
    name = wanted or next(iter(batchers))
    if name not in batchers:
        raise Refusal(404, f"there is no model {name[:40]!r}, only {', '.join(batchers)}")
    answer = await batchers[name](ask)
    if isinstance(answer, ValueError):
        raise Refusal(422, str(answer))
    height, width = ask.image.shape[:2]
    return {
        "model": name,
        "width": width,
        "height": height,
        "detections": answer.detections,
        "notes": list(answer.notes),
    }
