"""Uploaded pictures: drawn anew, small, and without anything of the file but its pixels."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image, PngImagePlugin

from server.infra.images import ImageRefused, redraw_as_png


def picture(form: str, size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, "red" if mode != "RGBA" else (255, 0, 0, 0)).save(file, form, **options)
    return file.getvalue()


def opened(png: bytes) -> Image.Image:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    image = Image.open(io.BytesIO(png), formats=("PNG",))
    image.load()
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_says(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "L"), ("PNG", "1"), ("JPEG", "RGB"), ("JPEG", "CMYK"),
     ("GIF", "P"), ("WEBP", "RGB")],
)  # fmt: skip
def test_picture_becomes_png_whatever_it_was(form: str, mode: str) -> None:
    image = opened(redraw_as_png(picture(form, mode=mode), 256))
    assert image.size == (40, 20)
    assert image.mode == ("RGBA" if mode == "RGBA" else "RGB")


@pytest.mark.parametrize(("size", "drawn"), [((1000, 500), (256, 128)), ((300, 3000), (26, 256)), ((10, 10), (10, 10))])
def test_large_picture_is_made_small_and_a_small_one_stays(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    assert opened(redraw_as_png(picture("PNG", size), 256)).size == drawn


def test_nothing_of_the_file_stays_but_its_pixels() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "<script>alert(1)</script>")
    exif = Image.Exif()
    exif[0x8825] = {1: "N"}
    for form, options in (("PNG", {"pnginfo": notes}), ("JPEG", {"comment": b"<script>", "exif": exif})):
        file = picture(form, **options) + b"<html><script>alert(2)</script>"
        drawn = redraw_as_png(file, 256)
        assert b"script" not in drawn
        assert opened(drawn).info == {}
        assert b"EXIF" not in drawn.upper()


def test_photograph_stands_upright_as_its_camera_meant_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert opened(redraw_as_png(picture("JPEG", (40, 20), exif=exif), 256)).size == (20, 40)


def test_first_frame_is_drawn_when_the_picture_moves() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert opened(redraw_as_png(file.getvalue(), 256)).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("width", "height"), [(3001, 10), (10, 3001), (12_000, 9000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)]
)
def test_decompression_bomb_is_refused_before_it_is_unpacked(width: int, height: int) -> None:
    with pytest.raises(ImageRefused, match="too large"):
        redraw_as_png(png_that_says(width, height), 256)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"\xff\xd8\xff\xe0",
        b"BM" + b"\0" * 60,
        b"\0\0\1\0" + b"\0" * 60,
        png_that_says(40, 40),
        picture("PNG", (90, 90))[:-30],
        picture("JPEG", (90, 90))[:150],
    ],
)
def test_file_is_refused_when_it_is_no_picture_or_a_damaged_one(file: bytes) -> None:
    with pytest.raises(ImageRefused, match="no picture"):
        redraw_as_png(file, 256)


def test_no_damage_breaks_anything_but_the_picture() -> None:
    for form in ("PNG", "JPEG", "GIF", "WEBP"):
        whole = picture(form, (32, 32))
        for place in range(0, len(whole), max(1, len(whole) // 120)):
            damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
            try:
                opened(redraw_as_png(damaged, 256))
            except ImageRefused:
                continue
