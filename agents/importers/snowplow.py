"""Owns Snowplow's enriched events, as lines of 131 tab-separated columns or as JSON of its analytics SDKs.

Columns and order: https://docs.snowplow.io/docs/fundamentals/canonical-event/understanding-the-enriched-tsv-format/
Invariant: addresses, devices and places of visitors never leave the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agents.importers.json_rows import decode_object

_HEADER = """
app_id platform etl_tstamp collector_tstamp dvce_created_tstamp event event_id txn_id name_tracker v_tracker
v_collector v_etl user_id user_ipaddress user_fingerprint domain_userid domain_sessionidx network_userid geo_country
geo_region geo_city geo_zipcode geo_latitude geo_longitude geo_region_name ip_isp ip_organization ip_domain
ip_netspeed page_url page_title page_referrer page_urlscheme page_urlhost page_urlport page_urlpath page_urlquery
page_urlfragment refr_urlscheme refr_urlhost refr_urlport refr_urlpath refr_urlquery refr_urlfragment refr_medium
refr_source refr_term mkt_medium mkt_source mkt_term mkt_content mkt_campaign contexts se_category se_action se_label
se_property se_value unstruct_event tr_orderid tr_affiliation tr_total tr_tax tr_shipping tr_city tr_state tr_country
ti_orderid ti_sku ti_name ti_category ti_price ti_quantity pp_xoffset_min pp_xoffset_max pp_yoffset_min pp_yoffset_max
useragent br_name br_family br_version br_type br_renderengine br_lang br_features_pdf br_features_flash
br_features_java br_features_director br_features_quicktime br_features_realplayer br_features_windowsmedia
br_features_gears br_features_silverlight br_cookies br_colordepth br_viewwidth br_viewheight os_name os_family
os_manufacturer os_timezone dvce_type dvce_ismobile dvce_screenwidth dvce_screenheight doc_charset doc_width
doc_height tr_currency tr_total_base tr_tax_base tr_shipping_base ti_currency ti_price_base base_currency geo_timezone
mkt_clickid mkt_network etl_tags dvce_sent_tstamp refr_domain_userid refr_dvce_tstamp derived_contexts
domain_sessionid derived_tstamp event_vendor event_name event_format event_version event_fingerprint true_tstamp
"""
COLUMNS = tuple(_HEADER.split())
_PEOPLE = ("user_id", "domain_userid", "network_userid")
_TIMES = ("true_tstamp", "derived_tstamp", "collector_tstamp")
_KEPT = ("app_id", "platform", "page_urlhost", "page_urlpath", "se_category", "se_label", "se_property", "se_value")
_UNSTRUCT = "unstruct_event_"


def is_snowplow(row: Mapping[str, Any]) -> bool:
    """Return whether an object is an enriched event."""
    return "collector_tstamp" in row and "event_id" in row


def row_of_line(line: bytes) -> dict[str, Any] | None:
    """Return the columns of one line, empty ones left out; `None` if there are not 131 of them."""
    cells = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
    if len(cells) != len(COLUMNS):
        return None
    return {name: cell for name, cell in zip(COLUMNS, cells, strict=True) if cell != ""}


def from_snowplow(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message of one event.

    Its name is `event_name`, of a structured event its `se_action`; whose it is says `user_id`, else the cookies; times
    are UTC, as Snowplow writes them without saying so. A self-describing event's own data are properties.
    """
    structured = row.get("event") == "struct"
    name = row.get("se_action") if structured else row.get("event_name") or row.get("event")
    message = {"name": name, "event_id": row.get("event_id")}
    message["distinct_id"] = next((row[field] for field in _PEOPLE if row.get(field)), None)
    time = next((row[field] for field in _TIMES if row.get(field)), None)
    message["time"] = in_utc(time) if isinstance(time, str) else time
    properties = {field: row[field] for field in _KEPT if row.get(field) not in (None, "")}
    message["properties"] = properties | _own_data(row)
    return {field: value for field, value in message.items() if value not in (None, "", {})}


def _own_data(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a self-describing event says: lines wrap it twice, the SDKs' JSON has it under its schema's name."""
    wrapped = row.get("unstruct_event")
    if isinstance(wrapped, str):
        wrapped = decode_object(wrapped.encode("utf-8", "replace"))
    if isinstance(wrapped, dict) and isinstance(wrapped.get("data"), dict):
        inner = wrapped["data"].get("data")
        return inner if isinstance(inner, dict) else {}
    for name, value in row.items():
        if name.startswith(_UNSTRUCT) and isinstance(value, dict):
            return value
    return {}


def in_utc(text: str) -> str:
    """Return a time as ISO 8601 in UTC where it names no zone; text that is no time stays.

    >>> in_utc("2026-01-05 10:00:03.885")
    '2026-01-05T10:00:03.885000+00:00'
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return time.replace(tzinfo=UTC).isoformat() if time.tzinfo is None else text
