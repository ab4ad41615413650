"""Owns the settings of what a process serves over HTTP to people and machines: default, limits, meaning.

Invariant: as in `streams.settings_wire`. Who may see what stands in a file of its own (`config_file`), never here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker serves: accounts, an API, `/live`, `/ready`, `/metrics`. Who may look: docs/security-http.md."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address to listen on. One that other machines reach wants a `config_file` that says who may "
            "look, or `allow_anonymous`.",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one and logs it.")] = 6066
    config_file: Annotated[
        str,
        Meta(
            description="File (YAML, the form of the Prometheus exporters' web configuration) with users, tokens, "
            "roles, TLS and headers, for the pages of `listen` and `sink` too. Read again when it changes. Empty: no "
            "password, no TLS."
        ),
    ] = ""
    allow_anonymous: Annotated[
        bool,
        Meta(description="Listen on an address that other machines reach although nobody has to say who they are."),
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            max_length=100,
            description="Names under which the pages may be asked for, `.example.com` for all below it; against pages "
            "that rebind a name to this machine. Addresses, `localhost`, this machine's name and `host` always may.",
        ),
    ] = ()
    max_connections: Annotated[
        int,
        Meta(
            ge=8,
            le=100000,
            description="Connections at the same time; a new one displaces the one that has waited longest without a "
            "request. A quarter of them is what one client may have.",
        ),
    ] = 256
    head_seconds: Annotated[
        float, Meta(ge=0.5, le=600, description="How long a request's head, or a TLS handshake, may take to arrive.")
    ] = 10.0
    idle_seconds: Annotated[
        float, Meta(ge=1, le=86400, description="A connection without a request for so long is closed.")
    ] = 120.0
    answer_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="How long an answer may take until the client has read it.")
    ] = 60.0
    requests_per_second: Annotated[
        int,
        Meta(
            ge=0,
            le=1000000,
            description="Requests of one client, with bursts of ten times as many; beyond it 429. 0: no limit. Behind "
            "a proxy everybody is one client.",
        ),
    ] = 50
