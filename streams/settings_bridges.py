"""Owns the settings of what takes data in from outside (listener, Mixpanel's export, S3): default, limits, meaning.

Invariant: as in `streams.settings_wire`; secrets are marked as such, so that files may hold them and nothing shows
them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`orgpulse listen`: webhooks over HTTP, and syslog over UDP, TCP and TLS."""

    tokens: Annotated[
        str,
        Meta(
            description="Who may send over HTTP: one sender a line (or separated by `;`), its token of at least 16 "
            "characters first, then optionally `org=ID` (everything it sends belongs to that org) and "
            "`topics=events,transactions,chat`. Hold them in a file and name it in `ORGPULSE_LISTEN_TOKENS_FILE`.",
            extra={"secret": True},
        ),
    ] = ""
    http_host: Annotated[str, Meta(min_length=1, description="Address on which webhooks are taken.")] = "127.0.0.1"
    http_port: Annotated[int, Meta(ge=0, le=65535, description="Its port; 0 takes a free one and logs it.")] = 6070
    syslog_host: Annotated[str, Meta(min_length=1, description="Address on which syslog is taken.")] = "127.0.0.1"
    syslog_udp_port: Annotated[
        int, Meta(ge=-1, le=65535, description="UDP port of syslog; 0 takes a free one, -1 none at all.")
    ] = 5514
    syslog_tcp_port: Annotated[
        int, Meta(ge=-1, le=65535, description="TCP port of syslog (RFC 6587); 0 takes a free one, -1 none at all.")
    ] = 5514
    syslog_tls_port: Annotated[
        int,
        Meta(ge=-1, le=65535, description="TLS port of syslog (RFC 5425), open only with a certificate; -1 none."),
    ] = 6514
    tls_certificate: Annotated[
        str,
        Meta(description="File with the certificate chain (PEM). With it webhooks are taken over HTTPS, and syslog "
             "over TLS too. Empty: a proxy in front does that."),
    ] = ""  # fmt: skip
    tls_key: Annotated[str, Meta(description="File with the private key (PEM); empty: it is in the certificate's.")] = (
        ""
    )
    tls_client_ca: Annotated[
        str, Meta(description="File with the authorities (PEM) that syslog senders over TLS must be certified by.")
    ] = ""
    pages_host: Annotated[
        str, Meta(min_length=1, description="Address of `/live`, `/ready` and `/metrics`; `[web]` says who may look.")
    ] = "127.0.0.1"
    pages_port: Annotated[int, Meta(ge=0, le=65535, description="Their port; 0 takes a free one and logs it.")] = 6071
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=1073741824, description="A larger HTTP body, as it comes, is refused (413).")
    ] = 10485760
    max_unpacked_bytes: Annotated[
        int, Meta(ge=1024, le=1073741824, description="Likewise what a compressed body unpacks to.")
    ] = 20971520
    max_rows: Annotated[int, Meta(ge=1, le=1000000, description="A request with more rows is refused (413).")] = 10000
    max_buffer_bytes: Annotated[
        int,
        Meta(
            ge=1048576,
            le=68719476736,
            description="What was accepted and waits for Kafka, at most, and as much again for bodies that are being "
            "read. Above it HTTP answers 503, TCP reads no further, and UDP drops (counted).",
        ),
    ] = 67108864
    max_connections: Annotated[
        int, Meta(ge=1, le=1000000, description="Connections of HTTP, and as many of syslog; further ones are closed.")
    ] = 1000
    body_seconds: Annotated[
        float, Meta(ge=0.5, le=3600, description="How long a request's body may take to arrive (408 after that).")
    ] = 30.0
    idle_seconds: Annotated[
        float,
        Meta(ge=0.5, le=86400, description="An HTTP connection without a whole request's head for so long is closed."),
    ] = 60.0
    syslog_idle_seconds: Annotated[
        float, Meta(ge=1, le=604800, description="A syslog connection on which nothing comes for so long is closed.")
    ] = 3600.0
    acknowledge_seconds: Annotated[
        float,
        Meta(ge=0.1, le=600, description="How long a request waits for Kafka before it is answered 503: send again."),
    ] = 15.0
    max_line_bytes: Annotated[
        int, Meta(ge=480, le=1000000, description="A longer line of syslog is dropped and counted.")
    ] = 65536
    max_lines_per_second: Annotated[
        int,
        Meta(ge=0, le=10000000, description="Lines a second from one syslog sender's address, with bursts of as many: "
             "beyond it TCP is read more slowly, and UDP dropped (counted). 0: no limit."),
    ] = 0  # fmt: skip
    udp_buffer_bytes: Annotated[
        int,
        Meta(ge=65536, le=1073741824, description="Receive buffer that the kernel is asked for; Linux gives at most "
             "`net.core.rmem_max`. What does not fit is dropped there, and counted."),
    ] = 8388608  # fmt: skip
    stop_seconds: Annotated[
        float,
        Meta(ge=1, le=600, description="On SIGTERM: how long requests under way and the buffer have, altogether."),
    ] = 30.0


class MixpanelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The account for `orgpulse import mixpanel`: a service account with its project, or a project's API secret."""

    username: Annotated[str, Meta(description="Name of the service account.")] = ""
    secret: Annotated[
        str,
        Meta(
            description="The service account's secret, or without a name the project's API secret. Hold it in a file "
            "and name that in `ORGPULSE_MIXPANEL_SECRET_FILE`.",
            extra={"secret": True},
        ),
    ] = ""
    project_id: Annotated[
        str, Meta(pattern=r"^\d*$", description="Number of the project; service accounts need it.")
    ] = ""
    region: Annotated[Literal["us", "eu", "in"], Meta(description="Where the project's data lives.")] = "us"
    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://.+)?$", description="Another address of the export, for a proxy; empty: the region's."
        ),
    ] = ""


class S3Settings(msgspec.Struct, frozen=True, kw_only=True):
    """S3-compatible storage for `orgpulse import … s3://bucket/prefix`."""

    endpoint: Annotated[
        str,
        Meta(
            pattern=r"^(https?://.+)?$", description="Address of a server other than AWS, such as MinIO's; empty: AWS."
        ),
    ] = ""
    region: Annotated[str, Meta(description="Region; empty: what AWS's own variables and files say.")] = ""
    access_key: Annotated[
        str,
        Meta(description="Empty: AWS's own chain (AWS_ACCESS_KEY_ID, profile, instance role).", extra={"secret": True}),
    ] = ""
    secret_key: Annotated[
        str,
        Meta(description="Its secret; a file in `ORGPULSE_S3_SECRET_KEY_FILE` may hold it.", extra={"secret": True}),
    ] = ""
