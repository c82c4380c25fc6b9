"""A request as the operator wrote it, with what is asked for put where it says ``{prompt}``, ``{width}`` and so on."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from mintage.application.catalogue import Model
from mintage.application.providers import Job
from mintage.domain.generation.events import Parameter
from mintage.infra.providers.wishes import STYLES, style_of

Template: TypeAlias = Any
"""JSON: a text that is a place and nothing else becomes the value itself, and is left out where there is none."""

SOURCE: Final = "source"

_PLACE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_OWN: Final = frozenset({"prompt", "negative_prompt", "style", "count", "seed", "transparent", "job_id", SOURCE})
_ABSENT: Final = object()


def values_of(job: Job) -> dict[str, Parameter]:
    """Everything that a place may name but ``source``, which each provider names in its own way."""
    values: dict[str, Parameter] = {**job.parameters, "prompt": job.prompt, "count": job.count, "job_id": job.job_id}
    values["transparent"] = job.transparent
    if job.negative_prompt is not None:
        values["negative_prompt"] = job.negative_prompt
    if (style := style_of(job)) is not None:
        values["style"] = STYLES.get(style, style)
    return values


def filled(template: Template, values: Mapping[str, Parameter]) -> Any:
    value = _filled(template, values)
    return None if value is _ABSENT else value


def template_refusal(template: Template, model: Model) -> str | None:
    """Why this template does not do for the model, if it does not."""
    places = places_of(template)
    if unknown := places - _OWN - set(model.parameters):
        return f"{{{min(unknown)}}} is neither a field nor a parameter of it"
    if "prompt" not in places:
        return "{prompt} is nowhere"
    if any(task.startswith("img") for task in model.tasks) != (SOURCE in places):
        return "{source} has to be there if a task has a source image, and nowhere if none has"
    return None


def places_of(template: Template) -> set[str]:
    return set(_places(template))


def _filled(template: Template, values: Mapping[str, Parameter]) -> Any:
    match template:
        case dict():
            pairs = ((key, _filled(inner, values)) for key, inner in template.items())
            return {key: inner for key, inner in pairs if inner is not _ABSENT}
        case list():
            return [inner for inner in (_filled(one, values) for one in template) if inner is not _ABSENT]
        case str() if (whole := _PLACE.fullmatch(template)) is not None:
            return values.get(whole[1], _ABSENT)
        case str():
            # In one pass, so that what is put in is never looked at for places.
            return _PLACE.sub(lambda place: str(values.get(place[1], "")), template)
    return template


def _places(template: Template) -> Iterator[str]:
    match template:
        case dict():
            for inner in template.values():
                yield from _places(inner)
        case list():
            for inner in template:
                yield from _places(inner)
        case str():
            yield from _PLACE.findall(template)
