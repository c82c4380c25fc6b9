"""A file that a browser's form sends, as ``multipart/form-data``: one, and not too large."""

from typing import Final

from litestar.exceptions import ClientException
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE
from multipart import MultipartError, PushMultipartParser, parse_options_header

from mintage.domain.fields import InvalidFields, Reason
from mintage.http.calls import Call

FILE_MAX: Final = 2 * 1_048_576
"""The largest file, in bytes."""

_AROUND_MAX: Final = 65_536
"""What the form may say around the file, in bytes."""
_PARTS_MAX: Final = 16
_MULTIPART: Final = "multipart/form-data"


def is_form(call: Call) -> bool:
    """Whether the body is a form that may hold a file, and no JSON."""
    return _content_type(call)[0] == _MULTIPART


async def file_of(call: Call, field: str) -> bytes:
    """The one file in the form, whatever its part is called; ``field`` is what the refusal names.

    Raises ``InvalidFields``, and 413 for a file of more than 2 MiB.
    """
    raw = await call.raw(FILE_MAX + _AROUND_MAX)
    try:
        files = _files(raw, _content_type(call)[1].get("boundary", ""))
    except MultipartError:
        raise InvalidFields({field: Reason("pattern")}) from None
    if len(files) != 1:
        raise InvalidFields({field: Reason("pattern" if files else "required")})
    if len(files[0]) > FILE_MAX:
        raise ClientException(status_code=HTTP_413_REQUEST_ENTITY_TOO_LARGE)
    return files[0]


def _content_type(call: Call) -> tuple[str, dict[str, str]]:
    kind, options = parse_options_header((call.header(b"content-type") or b"").decode("latin-1"))
    return kind, options


def _files(raw: bytes, boundary: str) -> list[bytes]:
    files: list[bytes] = []
    is_file = False
    with PushMultipartParser(boundary.encode("latin-1"), max_segment_count=_PARTS_MAX) as parser:
        for event in parser.parse(raw):
            match event:
                case bytes() | bytearray():
                    if is_file:
                        files[-1] += event
                case None:
                    pass
                case segment:
                    is_file = segment.filename is not None
                    if is_file:
                        files.append(b"")
    return files
