"""A picture that would cost more than its pixels is not unpacked, by whichever way it comes in."""

from io import BytesIO
from random import Random

import pytest
from PIL import Image

from mintage.domain.fields import InvalidFields
from mintage.infra.avatars import squared
from mintage.infra.pictures import SCANS_MAX
from mintage.infra.sources import SourceRefused, picture_of

SCAN, END = b"\xff\xda", b"\xff\xd9"


def progressive(more_scans: int = 0, appended: bytes = b"") -> bytes:
    """A small picture that is drawn over and over again: each repeat of its last scan is valid and changes nothing."""
    written = BytesIO()
    Image.effect_noise((64, 48), 90).convert("RGB").save(written, "JPEG", progressive=True)
    content = written.getvalue()
    body, repeated = content[: content.rindex(SCAN)], content[content.rindex(SCAN) : -len(END)]
    return body + repeated * (1 + more_scans) + END + appended


@pytest.mark.parametrize("scans", [SCANS_MAX, 5_000])
def test_a_jpeg_of_many_scans_is_refused_unseen(scans: int) -> None:
    bomb = progressive(scans)
    assert bomb.count(SCAN) > scans
    with Image.open(BytesIO(bomb)) as readable:
        assert readable.size == (64, 48)
    with pytest.raises(InvalidFields):
        squared(bomb)
    with pytest.raises(SourceRefused, match="scans"):
        picture_of(bomb)


@pytest.mark.parametrize(
    "content",
    [
        progressive(),
        progressive(SCANS_MAX // 2),
        # A telephone's moving photo: a film follows the picture.
        progressive(appended=Random(1).randbytes(10_000_000)),
    ],
)
def test_what_cameras_and_encoders_make_is_taken(content: bytes) -> None:
    assert picture_of(content).size == (64, 48)
    assert squared(content)


def test_other_formats_may_say_so_by_chance() -> None:
    written = BytesIO()
    Image.new("RGB", (64, 48)).save(written, "PNG")
    assert picture_of(written.getvalue() + SCAN * 1_000).size == (64, 48)
