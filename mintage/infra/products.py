"""What a provider is asked for, and what becomes of what it hands over."""

from hashlib import sha256
from io import BytesIO
from uuid import UUID, uuid5

from PIL import Image

from mintage.application.lifecycle import Output, work_type_of
from mintage.application.providers import Job
from mintage.infra.measure import measured
from mintage.infra.storage import Media
from mintage.projections.claims import Claim


def job_of(found: Claim, attempt: int, source: bytes | None = None) -> Job:
    """An attempt at a task as a provider is asked for it; its id is the same whoever makes it."""
    return Job(
        job_id=found.job_id or str(uuid5(UUID(found.task_id), str(attempt))),
        customer=sha256(f"customer {found.user_id}".encode()).hexdigest()[:32],
        task_type=found.task_type,
        model=found.upstream or found.model_name,
        prompt=found.prompt,
        parameters=found.parameters,
        count=len(found.works),
        negative_prompt=found.negative_prompt,
        style=found.style,
        transparent=found.transparent,
        source=source,
    )


def keep(media: Media, found: Claim, work_id: str, content: bytes) -> Output:
    """Store a product and its thumbnail for a work. Raises ``NotAWork``, ``OSError``. Never on the event loop."""
    made = measured(content, work_type_of(found.task_type))
    file, small = (Media.key_of(work_id, found.fence, end) for end in (made.suffix, "-thumbnail.webp"))
    media.write(file, made.content)
    media.write(small, made.thumbnail)
    return Output(
        file=file,
        thumbnail=small,
        content_type=made.content_type,
        file_size=len(made.content),
        width=made.width,
        height=made.height,
        duration_s=made.duration_s,
    )


def png_of(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
