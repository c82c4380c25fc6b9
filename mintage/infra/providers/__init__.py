"""A catalogue's providers, each spoken to in its own protocol; what cannot work is refused at the start, by name."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from mintage.application.catalogue import Catalogue, Model, Source
from mintage.application.providers import Provider
from mintage.domain.generation.events import TaskType
from mintage.infra.providers import comfyui, openai_images, openai_videos, replicate, stability
from mintage.infra.providers.wire import Wire
from mintage.infra.settings import PREFIX, SettingsRefused


class _Protocol(msgspec.Struct, frozen=True):
    options: type[Any]
    adapter: Callable[[Wire, Any], Provider]
    tasks: frozenset[TaskType]
    refusal: Callable[[Any, Model], str | None]
    """Why a model cannot be served under these options, if it cannot."""
    needs_key: bool


PROTOCOLS: Final = {
    "openai-images": _Protocol(
        openai_images.Options, openai_images.OpenAiImages, openai_images.TASKS, lambda _options, _model: None, True
    ),
    "openai-videos": _Protocol(
        openai_videos.Options, openai_videos.OpenAiVideos, openai_videos.TASKS, openai_videos.refusal, False
    ),
    "stability": _Protocol(stability.Options, stability.Stability, stability.TASKS, stability.refusal, True),
    "comfyui": _Protocol(comfyui.Options, comfyui.ComfyUi, comfyui.TASKS, comfyui.refusal, False),
    "replicate": _Protocol(replicate.Options, replicate.Replicate, replicate.TASKS, replicate.refusal, True),
}


def providers_of(catalogue: Catalogue, environment: Mapping[str, str]) -> dict[str, Provider]:
    """Each provider by its name in the catalogue, with its key from the environment or the file it names.

    Raises ``SettingsRefused``. Each has to be closed in the end.
    """
    refuse_unservable(catalogue)
    keys: dict[str, str | None] = {}
    wrong: list[str] = []
    for name, source in catalogue.providers.items():
        try:
            keys[name] = _key(source, environment)
        except (OSError, ValueError) as error:
            wrong.append(_line(f"providers.{name}.key", str(error)))
    if wrong:
        raise SettingsRefused("\n".join(wrong))
    return {name: _made(source, keys[name]) for name, source in catalogue.providers.items()}


def refuse_unservable(catalogue: Catalogue) -> None:
    """All that can be known without a key. Raises ``SettingsRefused`` with a line for each entry that is wrong."""
    wrong: list[str] = []
    for name, source in catalogue.providers.items():
        wrong += [_line(f"providers.{name}", reason) for reason in _source_refusals(source)]
        models = [model for model in catalogue.models if model.renderer == name]
        wrong += [] if wrong else [line for model in models for line in _model_refusals(source, model)]
    if wrong:
        raise SettingsRefused("\n".join(wrong))


def _source_refusals(source: Source) -> Iterator[str]:
    protocol = PROTOCOLS[source.kind]
    if not _is_address(source.base_url):
        yield "base_url is no address such as https://api.example.com/v1"
    if source.key is None and protocol.needs_key:
        yield f"key is missing: it names the environment variable with the key, and {source.kind} needs one"
    if source.key is not None and source.key.startswith(PREFIX):
        yield f"key must not begin with {PREFIX}: what is set there is not for others"
    try:
        msgspec.convert(source.options, protocol.options)
    except msgspec.ValidationError as error:
        yield f"options: {error}"


def _model_refusals(source: Source, model: Model) -> Iterator[str]:
    protocol = PROTOCOLS[source.kind]
    if strange := [task for task in model.tasks if task not in protocol.tasks]:
        yield _line(_called(model), f"{source.kind} cannot do {', '.join(strange)}")
    elif reason := protocol.refusal(msgspec.convert(source.options, protocol.options), model):
        yield _line(_called(model), reason)


def _made(source: Source, key: str | None) -> Provider:
    protocol = PROTOCOLS[source.kind]
    options = msgspec.convert(source.options, protocol.options)
    return protocol.adapter(Wire(source.base_url, key, options.timeout_s), options)


def _key(source: Source, environment: Mapping[str, str]) -> str | None:
    """Raises ``OSError``, ``ValueError``."""
    if source.key is None:
        return None
    in_file = f"{source.key}_FILE"
    if source.key in environment and in_file in environment:
        raise ValueError(f"{source.key} and {in_file} are both set")
    if in_file in environment:
        key = Path(environment[in_file]).read_text(encoding="utf-8").strip()
    else:
        key = environment.get(source.key, "").strip()
    if not key:
        raise ValueError(f"{source.key} is not set, nor is {in_file}, or it is empty")
    # What cannot stand in a header would be found out by the first task, in an error that shows it.
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError(f"{source.key} is no key: it has blanks or other than ASCII characters in it")
    return key


def _is_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in {"http", "https"} and bool(url.host) and not (url.userinfo or url.query or url.fragment)


def _called(model: Model) -> str:
    return f"models: {model.provider}/{model.name} ({', '.join(model.tasks)})"


def _line(entry: str, reason: str) -> str:
    return f"MINTAGE_CATALOGUE: {entry}: {reason}"
