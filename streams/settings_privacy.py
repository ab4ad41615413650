"""Owns the settings of privacy: the keys, and what dead letters hold.

Invariant: a key is a file's content, never a setting's value, so that no list of settings holds one.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class PrivacySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Forgetting people, and pseudonyms in the place of ids."""

    suppression_key_file: Annotated[
        str,
        Meta(
            description="File with the key (at least 32 bytes of text or binary) by which the list of forgotten people "
            "is kept; all workers, sinks and `orgpulse forget` need the same. Without it nobody can be forgotten, and "
            "a worker stops if somebody was. Empty: none."
        ),
    ] = ""
    pseudonyms_key_file: Annotated[
        str,
        Meta(
            description="File with the key (at least 32 bytes) by which user ids, aliases and e-mail addresses are "
            "replaced as they come in (HMAC-SHA256, 128 bits of it), for all workers and sinks alike. Another key "
            "makes everybody somebody else: change it with a rebuild only. Empty: ids are kept as they come."
        ),
    ] = ""
    dead_letters: Annotated[
        Literal["cover", "keep"],
        Meta(
            description="With pseudonyms: `cover` leaves key and bytes out of dead letters, which then name the place "
            "in the source alone; `keep` holds them as they came."
        ),
    ] = "cover"
