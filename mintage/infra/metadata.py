"""Files without what they say beside what they show: programs write prompts there, and a work may be published.

Nothing is encoded anew. What is needed to show the picture stays, and so does C2PA, which says that a machine made it.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final

# All of PNG's chunks that change what is seen.
_PNG_KEPT: Final = frozenset(
    (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD")
) | {b"pHYs", b"mDCV", b"cLLI", b"caBX"}
_PNG_BEGIN: Final = b"\x89PNG\r\n\x1a\n"

_JPEG_BEGIN, _JPEG_END, _JPEG_SCAN = b"\xff\xd8", 0xD9, 0xDA
_COMMENT: Final = 0xFE
# Of application segments: JFIF, colour profiles, C2PA and what Adobe says of the colours.
_JPEG_KEPT: Final = {0xE0: b"", 0xE2: b"ICC_PROFILE\0", 0xEB: b"JP", 0xEE: b"Adobe"}
_MARKER: Final = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
"""What ends a scan: within one 0xFF stands before 0 or a restart only."""

_WEBP_KEPT: Final = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"C2PA"))
_EXIF_OR_XMP: Final = 0x0C

_MP4_WITHIN: Final = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"))
_MP4_SAID: Final = frozenset((b"udta", b"meta", b"skip", b"free"))
_C2PA: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


class Broken(Exception):
    """The file ends too early, or is not what it begins like."""


def bare_png(content: bytes) -> bytes:
    kept = [_PNG_BEGIN]
    at, kind = len(_PNG_BEGIN), b""
    while kind != b"IEND":
        (length,) = _unpacked(">I", content, at)
        kind, end = content[at + 4 : at + 8], at + 12 + length
        if end > len(content):
            raise Broken
        if kind in _PNG_KEPT:
            kept.append(content[at:end])
        at = end
    return b"".join(kept)


def bare_jpeg(content: bytes) -> bytes:
    kept = [_JPEG_BEGIN]
    at = len(_JPEG_BEGIN)
    while True:
        marker = _MARKER.match(content, at)
        if marker is None:
            raise Broken
        code = marker[1][0]
        if code == _JPEG_END:
            return b"".join((*kept, b"\xff\xd9"))
        (length,) = _unpacked(">H", content, marker.end())
        end = marker.end() + length
        if code == _JPEG_SCAN:
            after = _MARKER.search(content, end)
            if after is None:
                raise Broken
            end = after.start()
        if _is_kept(code, content[marker.end() + 2 : end]):
            kept.append(b"\xff" + marker[1] + content[marker.end() : end])
        at = end


def _is_kept(code: int, said: bytes) -> bool:
    if not 0xE0 <= code <= 0xEF:
        return code != _COMMENT
    return code in _JPEG_KEPT and said.startswith(_JPEG_KEPT[code])


def bare_webp(content: bytes) -> bytes:
    (length,) = _unpacked("<I", content, 4)
    if 8 + length > len(content):
        raise Broken
    kept = []
    at = 12
    while at < 8 + length:
        (size,) = _unpacked("<I", content, at + 4)
        end = at + 8 + size + size % 2
        if end > len(content):
            raise Broken
        chunk = content[at:end]
        if chunk[:4] == b"VP8X":
            chunk = chunk[:8] + bytes((chunk[8] & ~_EXIF_OR_XMP,)) + chunk[9:]
        if chunk[:4] in _WEBP_KEPT:
            kept.append(chunk)
        at = end
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bare_mp4(content: bytes) -> bytes:
    """As long as it was: what it said becomes free space, so that nothing in it has to point elsewhere."""
    bare = bytearray(content)
    for kind, start, end, within in _boxes(content, 0, len(content)):
        uuid = content[within : within + 16]
        if kind in _MP4_SAID or (kind == b"uuid" and uuid != _C2PA):
            bare[start + 4 : start + 8] = b"free"
            bare[within:end] = bytes(end - within)
    return bytes(bare)


def _boxes(content: bytes, at: int, stop: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Kind, start, end and start of the content of each box, of those that hold boxes too, but for those in them."""
    while at < stop:
        (size,) = _unpacked(">I", content, at)
        kind, within = content[at + 4 : at + 8], at + 8
        if size == 1:
            (size,) = _unpacked(">Q", content, within)
            within += 8
        end = at + size if size else stop
        if not within <= end <= stop:
            raise Broken
        if kind in _MP4_WITHIN:
            yield from _boxes(content, within, end)
        yield kind, at, end, within
        at = end


def _unpacked(how: str, content: bytes, at: int) -> tuple[int]:
    try:
        found: tuple[int] = struct.unpack_from(how, content, at)
    except struct.error:
        raise Broken from None
    return found
