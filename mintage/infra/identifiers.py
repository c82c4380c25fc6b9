"""Ids that sort by the time they were made (UUID version 7, RFC 9562)."""

import uuid_utils


def new_id() -> str:
    return str(uuid_utils.uuid7())
