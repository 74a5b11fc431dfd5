"""Pictures that strangers send: opened carefully, made small, and drawn anew, so that nothing of the file remains."""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

#: What is opened; no SVG, which is a document with scripts, and no format whose decoder is rarely looked at.
_FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")
#: On each side. A file of a few hundred bytes may say that it is a picture of gigabytes.
_LARGEST_SIDE: Final = 3000
_NOT_ONE: Final = "This is no picture we can read. Choose a PNG, JPEG, GIF or WebP file."


class ImageRefused(Exception):
    """It is none, is damaged, or is too large; the message is a sentence for whoever sent it."""


def redraw_as_png(file: bytes, side: int) -> bytes:
    """The picture in the file as a PNG of at most `side` pixels a side; of a moving one the first frame.

    Colours and transparency stay, comments, positions and profiles do not: the pixels are all that is copied.

    Raises:
        ImageRefused: before anything is unpacked, where the picture is too large.
    """
    # Not at the top: they take megabytes of each worker, and few requests bring a picture.
    pillow, operations = importlib.import_module("PIL.Image"), importlib.import_module("PIL.ImageOps")
    try:
        with pillow.open(io.BytesIO(file), formats=_FORMATS) as picture:
            if max(picture.size) > _LARGEST_SIDE:
                raise ImageRefused(f"The picture is too large: at most {_LARGEST_SIDE} pixels wide and high.")
            upright = operations.exif_transpose(picture).convert("RGBA")
    except ImageRefused:
        raise
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise ImageRefused(f"The picture is too large: at most {_LARGEST_SIDE} pixels wide and high.") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, MemoryError) as error:
        # What Pillow raises for damaged files; which of them is a matter of where the damage is.
        raise ImageRefused(_NOT_ONE) from error
    upright.thumbnail((side, side), pillow.Resampling.LANCZOS, reducing_gap=3.0)
    return _as_png(pillow.new("RGBA", upright.size), upright)


def _as_png(clean: Image, picture: Image) -> bytes:
    clean.paste(picture)
    is_opaque = clean.getchannel("A").getextrema() == (255, 255)
    file = io.BytesIO()
    (clean.convert("RGB") if is_opaque else clean).save(file, "PNG", optimize=True)
    return file.getvalue()
