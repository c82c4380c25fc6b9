"""Only whole pictures and films become works, and nothing goes with them but what they show."""

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mintage.infra import measure
from mintage.infra.measure import Made, NotAWork, measured
from mintage.infra.renderer import FilmRequest, filmed

SECRET = "a secret prompt"
C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def painted(size: tuple[int, int] = (60, 40), mode: str = "RGB") -> Image.Image:
    return Image.effect_noise(size, 90).convert(mode)


def saved(picture: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    said = Image.Exif()
    said[0x010E] = SECRET
    said[0x0112] = orientation
    return said


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def telling_png() -> bytes:
    """A PNG that says what it shows in each way there is, and that a machine made it."""
    note = PngInfo()
    note.add_text("parameters", SECRET)
    note.add_text("workflow", SECRET * 100, zip=True)
    note.add_itxt("XML:com.adobe.xmp", SECRET)
    png = saved(painted(mode="RGBA"), "PNG", pnginfo=note, exif=exif(), icc_profile=b"profile " * 20)
    head, end = png[:33], png[33:]
    return head + chunk(b"caBX", b"c2pa manifest") + chunk(b"prVt", SECRET.encode()) + end + SECRET.encode()


def telling_jpeg(**how: Any) -> bytes:
    jpeg = saved(
        painted(), "JPEG", exif=exif(), comment=SECRET, icc_profile=b"profile " * 20, xmp=SECRET.encode(), **how
    )
    c2pa = b"\xff\xeb" + struct.pack(">H", 2 + 12) + b"JP\0\0\0\0c2pa.."
    iptc = b"\xff\xed" + struct.pack(">H", 2 + len(SECRET)) + SECRET.encode()
    return jpeg[:2] + c2pa + iptc + jpeg[2:] + SECRET.encode()


def telling_webp(**how: Any) -> bytes:
    return saved(painted(), "WEBP", exif=exif(), xmp=SECRET.encode(), icc_profile=b"profile " * 20, **how) + b"\0\0"


@pytest.mark.parametrize(
    ("content", "suffix", "content_type"),
    [
        (telling_png(), ".png", "image/png"),
        (telling_jpeg(), ".jpg", "image/jpeg"),
        (telling_jpeg(progressive=True), ".jpg", "image/jpeg"),
        (telling_webp(), ".webp", "image/webp"),
        (telling_webp(lossless=True), ".webp", "image/webp"),
    ],
)
def test_a_picture_keeps_every_pixel_and_says_nothing(content: bytes, suffix: str, content_type: str) -> None:
    made = measured(content, "image")
    assert (made.suffix, made.content_type, made.width, made.height, made.duration_s) == (
        suffix,
        content_type,
        60,
        40,
        None,
    )
    assert SECRET.encode() not in made.content
    with Image.open(io.BytesIO(content)) as before, Image.open(io.BytesIO(made.content)) as after:
        assert after.tobytes() == before.tobytes()
        assert after.info["icc_profile"] == b"profile " * 20
        assert set(after.info) <= {
            "icc_profile",
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
            "dpi",
            "progressive",
            "progression",
            "adobe",
            "adobe_transform",
            "loop",
            "background",
            "timestamp",
            "duration",
        }
        assert not dict(after.getexif())
    with Image.open(io.BytesIO(made.thumbnail)) as small:
        assert (small.format, small.size) == ("WEBP", (60, 40))


def test_what_says_that_a_machine_made_it_stays() -> None:
    assert b"c2pa manifest" in measured(telling_png(), "image").content
    assert b"c2pa.." in measured(telling_jpeg(), "image").content


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_that_says_nothing_stays_as_it_came(kind: str) -> None:
    content = saved(painted(), kind)
    assert measured(content, "image").content == content


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_that_only_its_metadata_turn_is_turned(kind: str) -> None:
    made = measured(saved(painted(), kind, exif=exif(orientation=6)), "image")
    assert (made.width, made.height, made.suffix) == (40, 60, ".png")
    with Image.open(io.BytesIO(made.content)) as turned:
        assert turned.size == (40, 60)
    assert SECRET.encode() not in made.content


def film(
    kind: str = "mp4", codec: str = "libx264", seconds: int = 1, sound: bool = False, size: tuple[int, int] = (64, 48)
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as out:
        out.metadata.update({"title": SECRET, "comment": SECRET})
        track: Any = out.add_stream(codec, rate=24)
        track.width, track.height, track.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        tone: Any = out.add_stream("aac" if kind == "mp4" else "libopus", rate=48_000) if sound else None
        for number in range(24 * seconds):
            pixels = np.full((size[1], size[0], 3), number * 10 % 256, np.uint8)
            out.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(track.encode(None))
        if tone is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="flt", layout="mono")
            silence.sample_rate = 48_000
            for number in range(50 * seconds):
                silence.pts = number * 960
                out.mux(tone.encode(silence))
            out.mux(tone.encode(None))
    return file.getvalue()


def boxed(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def frames(content: bytes) -> list[bytes]:
    with av.open(io.BytesIO(content), "r") as container:
        return [frame.to_ndarray(format="rgb24").tobytes() for frame in container.decode(video=0)]


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize(("kind", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9"), ("webm", "libvpx")])
def test_a_film_keeps_every_frame_and_says_nothing(kind: str, codec: str, sound: bool) -> None:
    content = film(kind, codec, seconds=2, sound=sound)
    assert SECRET.encode() in content
    made = measured(content, "video")
    assert (made.suffix, made.content_type) == (f".{kind}", f"video/{kind}")
    assert (made.width, made.height, made.duration_s) == (64, 48, 2)
    assert SECRET.encode() not in made.content
    assert frames(made.content) == frames(content)
    with av.open(io.BytesIO(made.content), "r") as container:
        assert len(container.streams.audio) == sound
    with Image.open(io.BytesIO(made.thumbnail)) as poster:
        assert (poster.format, poster.size) == ("WEBP", (64, 48))


def test_boxes_that_say_something_become_free_space_and_those_of_c2pa_stay() -> None:
    content = film() + boxed(b"uuid", C2PA + b"manifest") + boxed(b"uuid", b"x" * 16 + SECRET.encode())
    content += boxed(b"free", SECRET.encode()) + boxed(b"meta", SECRET.encode())
    made = measured(content, "video")
    assert len(made.content) == len(content)
    assert C2PA + b"manifest" in made.content
    assert SECRET.encode() not in made.content
    assert frames(made.content) == frames(content)


def test_a_film_of_ours_is_one() -> None:
    ours = filmed(FilmRequest(prompt=SECRET, duration_s=1, width=192, height=108), None)
    made = measured(ours.mp4, "video")
    assert (made.width, made.height, made.duration_s) == (192, 108, 1)


HTML = b"<!doctype html><html><body>502 Bad Gateway</body></html>"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        *((content, kind) for content in (b"", HTML, b'{"error": "busy"}', b"\0" * 100) for kind in ("image", "video")),
        (saved(painted(), "GIF"), "image"),
        (saved(painted(), "TIFF"), "image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image"),
        (saved(painted(), "WEBP", save_all=True, append_images=[painted()]), "image"),
        (film(), "image"),
        (saved(painted(), "PNG"), "video"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n", "video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "video"),
        (film("matroska"), "video"),
        (film("webm", "libvpx").replace(b"webm", b"wEbM", 1), "video"),
        (film("mov", "mjpeg"), "video"),
    ],
)
def test_what_is_something_else_is_no_work(content: bytes, kind: Any) -> None:
    with pytest.raises(NotAWork):
        measured(content, kind)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_cut_off_is_no_work(kind: str, share: float) -> None:
    content = saved(painted((200, 150)), kind)
    with pytest.raises(NotAWork):
        measured(content[: int(len(content) * share)], "image")


@pytest.mark.parametrize("missing", [1, 4, 12])
def test_a_png_without_its_end_is_no_work(missing: int) -> None:
    with pytest.raises(NotAWork):
        measured(saved(painted(), "PNG")[:-missing], "image")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
@pytest.mark.parametrize(
    "make",
    [
        film,
        lambda: film("webm", "libvpx"),
        lambda: filmed(FilmRequest(prompt="x", duration_s=1, width=192, height=108), None).mp4,
    ],
)
def test_a_film_cut_off_is_no_work(make: Callable[[], bytes], share: float) -> None:
    content = make()
    with pytest.raises(NotAWork):
        measured(content[: int(len(content) * share)], "video")


def test_a_film_whose_middle_is_noise_raises_nothing_else() -> None:
    content = bytearray(film())
    for at in range(60, len(content), 37):
        content[at] ^= 0xFF
    with suppress(NotAWork):
        measured(bytes(content), "video")


def test_an_image_bomb_is_no_work() -> None:
    header = struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(NotAWork, match="pixels"):
        measured(png, "image")


@pytest.mark.parametrize(
    ("limit", "most", "content", "kind"),
    [
        ("PICTURE_BYTES_MAX", 100, saved(painted(), "PNG"), "image"),
        ("FILM_BYTES_MAX", 100, film(), "video"),
        ("FRAME_PIXELS_MAX", 64 * 48 - 1, film(), "video"),
        ("DURATION_S_MAX", 1, film(seconds=2), "video"),
    ],
)
def test_what_is_too_large_is_no_work(
    limit: str, most: int, content: bytes, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Made = measured(content, kind)
    assert made.content
    monkeypatch.setattr(measure, limit, most)
    with pytest.raises(NotAWork):
        measured(content, kind)


def test_a_film_that_only_names_a_file_reads_none(tmp_path: Path) -> None:
    """libav knows formats that are lists of what to read; which of them it is, is not for the content to say."""
    inside = tmp_path / "inside.mp4"
    inside.write_bytes(film())
    for content in (f"ffconcat version 1.0\nfile '{inside}'\n".encode(), f"#EXTM3U\n#EXTINF:1,\n{inside}\n".encode()):
        for head in (b"", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", b"\x1aE\xdf\xa3webm"):
            with pytest.raises(NotAWork):
                measured(head + content, "video")
