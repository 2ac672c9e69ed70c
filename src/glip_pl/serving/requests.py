"""Requests: bytes from anybody to an image and a prompt, or a refusal with its status."""

import asyncio
import base64
import binascii
import json
import math
from collections.abc import AsyncGenerator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from glip_pl.serving.engine import Ask
from glip_pl.serving.limits import Limits, Refusal

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")


async def read_request(request: Request, limits: Limits) -> tuple[Ask, str | None]:
    """Read an image, what to find in it, and which model is asked.

    Raises:
        Refusal: The request is too large, too slow, or not understood.
    """
    fields = await _fields(request, await _body(request, limits))
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise Refusal(422, 'prompt is missing; send names with dots between, "cat. dog."')
    if len(prompt) > limits.max_prompt:
        raise Refusal(
            422, f"the prompt has {len(prompt)} characters; {limits.max_prompt} are allowed"
        )
    model = fields.get("model")
    if model is not None and not isinstance(model, str):
        raise Refusal(422, "model is no name")
    threshold = _threshold(fields.get("threshold"))
    caption = fields.get("caption", False) in (True, "true", "1", "on")
    image = fields.get("image")
    if not isinstance(image, bytes):
        raise Refusal(422, "image is missing; send a file, or base64 in JSON; no URL is fetched")
    pixels = await asyncio.to_thread(decode, image, limits.max_pixels)
    return Ask(pixels, prompt, caption, threshold), model


def decode(content: bytes, max_pixels: int) -> np.ndarray:
    """Decode an image file to uint8 [H, W, 3]; its size is looked at before its pixels.

    Raises:
        Refusal: It is no image, is broken, or has too many pixels.
    """
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as file:
            width, height = file.size
            if width * height > max_pixels:
                raise Refusal(
                    413, f"the image has {width} x {height} pixels; {max_pixels} are allowed"
                )
            return np.array(ImageOps.exif_transpose(file).convert("RGB"))
    except Refusal:
        raise
    except Image.DecompressionBombError:
        raise Refusal(413, f"the image has more than {max_pixels} pixels") from None
    except Exception as error:  # Decoders raise nearly anything when the bytes are wrong.
        names = ", ".join(_FORMATS)
        raise Refusal(415, f"the image cannot be read; send a whole file of {names}") from error


async def _body(request: Request, limits: Limits) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                body += part
                if len(body) > limits.max_bytes:
                    raise Refusal(413, f"the request is larger than {limits.max_bytes} bytes")
    except TimeoutError:
        raise Refusal(408, "the request did not arrive in time") from None
    return bytes(body)


async def _fields(request: Request, body: bytes) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _json_fields(body)
    if kind == "multipart/form-data":
        return await _form_fields(request, body)
    raise Refusal(415, "send multipart/form-data or application/json")


def _json_fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is no JSON") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "the body is no JSON object")
    if isinstance(fields.get("image"), str):
        try:
            fields["image"] = base64.b64decode(fields["image"], validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(422, "image is not base64") from None
    return fields


async def _form_fields(request: Request, body: bytes) -> dict[str, Any]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(request.headers, stream(), max_files=1, max_fields=8).parse()
    except (MultiPartException, KeyError, ValueError, UnicodeDecodeError):
        raise Refusal(400, "the form is broken") from None
    fields: dict[str, Any] = {}
    for name, value in form.items():
        fields[name] = await value.read() if isinstance(value, UploadFile) else value
    await form.close()
    return fields


def _threshold(value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise Refusal(422, "threshold is no number from 0 to 1")
    return round(number, 3)
