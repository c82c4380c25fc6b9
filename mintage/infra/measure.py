"""What a provider hands over becomes a work only if it is a picture or a film, whole, and not larger than we serve."""

from io import BytesIO
from typing import Final

import av
import av.error
import msgspec
from av import VideoFrame
from PIL import Image

from mintage.domain.work.events import WorkType
from mintage.infra.metadata import Broken, bare_jpeg, bare_mp4, bare_png, bare_webp
from mintage.infra.pictures import NotTaken, unpacked, upright
from mintage.infra.renderer import thumbnail

PICTURE_BYTES_MAX: Final = 64 * 1_048_576
FILM_BYTES_MAX: Final = 256 * 1_048_576
PIXELS_MAX: Final = 50_000_000
FRAME_PIXELS_MAX: Final = 4_096 * 4_096
DURATION_S_MAX: Final = 600

_NO_SIDE: Final = PIXELS_MAX
"""No side is larger, so that nothing is unpacked smaller than it is."""
_SHORT_OF_S: Final = 0.25
"""How long before its announced end a film may end: how its tracks are counted differs."""
_EBML: Final = b"\x1aE\xdf\xa3"
_EBML_HEAD: Final = 64
"""Within so many bytes WebM says that it is that."""
_ORIENTATION: Final = 0x0112
_KINDS: Final = {
    "PNG": (".png", "image/png", bare_png),
    "JPEG": (".jpg", "image/jpeg", bare_jpeg),
    "WEBP": (".webp", "image/webp", bare_webp),
}
_MP4_CODECS: Final = frozenset(("h264", "hevc", "av1", "vp9", "mpeg4"))
_WEBM_CODECS: Final = frozenset(("vp8", "vp9", "av1"))


class NotAWork(Exception):
    """It is not what was asked for: something else, broken, cut off, or too large."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """One file; ``suffix`` is what its name ends in, and its size is as it is shown."""

    content: bytes
    thumbnail: bytes
    suffix: str
    content_type: str
    width: int
    height: int
    duration_s: int | None = None


def measured(content: bytes, kind: WorkType) -> Made:
    """The file to be stored for a product: without its metadata, with its thumbnail. Raises ``NotAWork``.

    It is read to its end, so never on the event loop: a fraction of a second, a few for a long film.
    """
    try:
        return _picture(content) if kind == "image" else _film(content)
    except (NotTaken, Broken) as error:
        raise NotAWork(str(error) or "cut off") from error
    except av.error.FFmpegError as error:
        raise NotAWork(f"not a film that we read: {error}") from error


def _picture(content: bytes) -> Made:
    if len(content) > PICTURE_BYTES_MAX:
        raise NotAWork(f"a picture of {len(content)} bytes")
    picture = unpacked(content, formats=tuple(_KINDS), pixels_max=PIXELS_MAX, side=_NO_SIDE)
    with Image.open(BytesIO(content), formats=tuple(_KINDS)) as opened:
        name = "JPEG" if opened.format == "MPO" else str(opened.format)
        if name == "WEBP" and getattr(opened, "is_animated", False):
            raise NotAWork("a moving picture")
    if _is_turned(picture):
        # What turns it is in the metadata, which go.
        picture, name = upright(picture), "PNG"
        content = _png(picture)
    suffix, content_type, bare = _KINDS[name]
    return Made(
        content=bare(content),
        thumbnail=thumbnail(picture),
        suffix=suffix,
        content_type=content_type,
        width=picture.width,
        height=picture.height,
    )


def _is_turned(picture: Image.Image) -> bool:
    try:
        return bool(picture.getexif().get(_ORIENTATION, 1) != 1)
    except Exception:  # noqa: BLE001 -- broken metadata raise whatever they like, and say nothing
        return False


def _png(picture: Image.Image) -> bytes:
    written = BytesIO()
    picture.save(written, "PNG", compress_level=1)
    return written.getvalue()


def _film(content: bytes) -> Made:
    if len(content) > FILM_BYTES_MAX:
        raise NotAWork(f"a film of {len(content)} bytes")
    # The format is said and never guessed: there are some that only name what else to read, and libav would go there.
    if content[4:8] == b"ftyp":
        suffix, content_type, bare = ".mp4", "video/mp4", bare_mp4(content)
        poster, duration = _looked_through(bare, "mp4", _MP4_CODECS)
    elif content.startswith(_EBML) and b"webm" in content[:_EBML_HEAD]:
        poster, duration = _looked_through(content, "matroska", _WEBM_CODECS)
        suffix, content_type, bare = ".webm", "video/webm", _bare_webm(content)
    else:
        raise NotAWork("neither MP4 nor WebM")
    return Made(
        content=bare,
        thumbnail=thumbnail(poster),
        suffix=suffix,
        content_type=content_type,
        width=poster.width,
        height=poster.height,
        duration_s=max(1, round(duration)),
    )


def _looked_through(content: bytes, container: str, codecs: frozenset[str]) -> tuple[Image.Image, float]:
    """The first frame, and how many seconds there really are."""
    with av.open(BytesIO(content), "r", format=container) as film:
        tracks = film.streams
        if len(tracks.video) != 1 or len(tracks.video) + len(tracks.audio) + len(tracks.data) != len(tracks):
            raise NotAWork("not one picture track, with sound at most")
        track = tracks.video[0]
        # The decoder too keeps to the limit: what the container says of the size may be a lie.
        track.codec_context.options = {"max_pixels": str(FRAME_PIXELS_MAX)}
        if track.codec_context.name not in codecs or track.width * track.height > FRAME_PIXELS_MAX:
            raise NotAWork(f"{track.codec_context.name} of {track.width} by {track.height}")
        frames: list[VideoFrame] = []
        end = 0.0
        for packet in film.demux():
            if packet.is_corrupt:
                raise NotAWork("cut off")
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is track and not frames:
                frames = list(track.decode(packet))
        if not frames:
            raise NotAWork("no frame in it")
        if end > DURATION_S_MAX:
            raise NotAWork(f"{end} s long")
        if film.duration is not None and end < film.duration / av.time_base - _SHORT_OF_S:
            raise NotAWork("cut off")
        return Image.fromarray(frames[0].to_ndarray(format="rgb24")), end


def _bare_webm(content: bytes) -> bytes:
    """The same packets in a container that says nothing else."""
    bare = BytesIO()
    with av.open(BytesIO(content), "r", format="matroska") as film, av.open(bare, "w", format="webm") as written:
        tracks = {
            track.index: written.add_stream_from_template(track) for track in (*film.streams.video, *film.streams.audio)
        }
        for packet in film.demux():
            # The last of each track is empty.
            if packet.dts is not None and packet.stream.index in tracks:
                packet.stream = tracks[packet.stream.index]
                written.mux(packet)
    return bare.getvalue()
