"""Thirty solid-colour images to be named: a quality gate that needs no data set.

A prompt is one image of one colour and the question what it is. Several shades share a
name, and a few names have synonyms that count as right.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

QUESTION = "What is the main colour of this image? Answer with one word."
SIZE = 64

COLOURS: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("red", (255, 0, 0)),
    ("red", (200, 16, 16)),
    ("red", (230, 30, 40)),
    ("green", (0, 128, 0)),
    ("green", (0, 200, 0)),
    ("green", (34, 139, 34)),
    ("blue", (0, 0, 255)),
    ("blue", (20, 60, 200)),
    ("blue", (30, 100, 220)),
    ("yellow", (255, 255, 0)),
    ("yellow", (250, 230, 20)),
    ("orange", (255, 140, 0)),
    ("orange", (255, 120, 10)),
    ("purple|violet", (128, 0, 128)),
    ("purple|violet", (110, 30, 160)),
    ("pink|magenta", (255, 105, 180)),
    ("pink|rose", (255, 182, 193)),
    ("brown", (120, 70, 20)),
    ("brown", (101, 67, 33)),
    ("black", (0, 0, 0)),
    ("black", (12, 12, 12)),
    ("white", (255, 255, 255)),
    ("white", (248, 248, 248)),
    ("gray|grey", (128, 128, 128)),
    ("gray|grey", (150, 150, 150)),
    ("cyan|turquoise|aqua", (0, 255, 255)),
    ("teal|turquoise|green|cyan", (0, 128, 128)),
    ("magenta|pink|fuchsia", (255, 0, 255)),
    ("navy|blue", (0, 0, 110)),
    ("gold|yellow|orange", (255, 200, 0)),
)


def tasks() -> list[dict[str, Any]]:
    """The set in the form of a task file's lines."""
    return [
        {"id": f"colour-{number:02}", "prompt": QUESTION, "rgb": rgb, "answer": names}
        for number, (names, rgb) in enumerate(COLOURS)
    ]


def png(rgb: tuple[int, int, int], size: int = SIZE) -> bytes:
    """A solid-colour PNG, `size` pixels square, 8-bit RGB."""
    rows = (b"\0" + bytes(rgb) * size) * size

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return (
        signature
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def image_part(rgb: tuple[int, int, int]) -> dict[str, Any]:
    """The image as a part of an OpenAI chat message."""
    data = base64.b64encode(png(rgb)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
