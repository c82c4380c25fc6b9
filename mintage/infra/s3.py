"""Which bucket the settings name, and what is wrong with how they do."""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import msgspec

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NAMES: Final = "3 to 63 small letters, digits, dots and hyphens, with a letter or digit at both ends"
_URL: Final = re.compile(rf"s3://(?P<name>{_NAME.pattern})(?P<prefix>(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)/?")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_KNOWN: Final = frozenset(("minioadmin", "minio123", "rustfsadmin", "test", "changeme"))
"""Secrets that stores are started with to be tried out."""


class Bucket(msgspec.Struct, frozen=True):
    """Where a bucket is and by whose key it is opened; everything lies below ``prefix``, which may be empty.

    An ``endpoint`` whose name begins with the bucket's own is that of this bucket alone (virtual-hosted).
    """

    name: str
    prefix: str
    endpoint: str
    region: str
    key_id: str
    secret: str


def bucket_of(url: str, endpoint: str, region: str, key_id: str, secret: str) -> Bucket | None:
    """The bucket of settings that are not refused; None if there is none, and files lie in a folder."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    endpoint = endpoint or f"https://s3.{region}.amazonaws.com"
    return Bucket(found["name"], found["prefix"].strip("/"), endpoint.rstrip("/"), region, key_id, secret)


def bucket_refusals(url: str, endpoint: str, region: str, key_id: str, secret: str, *, production: bool) -> list[str]:
    """What is wrong, a line for each setting."""
    if not url:
        given = {"ENDPOINT": endpoint, "KEY_ID": key_id, "SECRET": secret}
        return [f"MINTAGE_S3_{name}: means nothing without MINTAGE_S3_URL" for name, value in given.items() if value]
    wrong = []
    scheme, _, path = url.partition("://")
    name = path.partition("/")[0]
    if scheme == "s3" and name and not _NAME.fullmatch(name):
        wrong.append(f"MINTAGE_S3_URL: {name!r} is no name of a bucket: {_NAMES}")
    elif not _URL.fullmatch(url):
        wrong.append("MINTAGE_S3_URL: has to be s3://bucket or s3://bucket/prefix")
    if not _REGION.fullmatch(region):
        wrong.append(f"MINTAGE_S3_REGION: {region!r} is no region")
    wrong += [
        f"MINTAGE_S3_{name}: has to be set with MINTAGE_S3_URL"
        for name, value in (("KEY_ID", key_id), ("SECRET", secret))
        if not value
    ]
    if endpoint and not is_endpoint(endpoint):
        wrong.append("MINTAGE_S3_ENDPOINT: has to be http:// or https:// and an address, without a path")
    elif production and endpoint.startswith("http://") and not _is_near(endpoint):
        wrong.append("MINTAGE_S3_ENDPOINT: has to be https in production, but for an address of the same network")
    if production and secret in _KNOWN:
        wrong.append("MINTAGE_S3_SECRET: is one that everybody knows")
    return wrong


def is_endpoint(text: str) -> bool:
    """Whether it is a url of a server and nothing on it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0 and plain


def _is_near(endpoint: str) -> bool:
    """Whether it is a name without a domain, as of a container, or a private address."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host
