"""What hostile or broken producers put where a value belongs: raw JSON, raw lines, raw bytes.

Owns the lists that the mangler draws from. Invariant: every entry is one that some parser somewhere has tripped over.
"""

from __future__ import annotations

from typing import Final

import orjson

NUMBERS: Final = (
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e-400", b"1e308", b"-0", b"-0.0", b"00", b"+1", b".5",
    b"1.", b"0x10", b"1_000", b"9" * 30, b"-" + b"9" * 30, b"1" * 4300, b"1" * 4301, b"1" * 5000, b"0." + b"3" * 500,
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809",
    b"18446744073709551615", b"18446744073709551616", b"9223372036854", b"9223372036855", b"-9223372036854",
    b"1e2", b"1.5", b"1E+99999999999999999999", b"1e-99999999999999999999", b"92233720368.54", b"92233720368.55",
)  # fmt: skip
TEXTS: Final = (
    b'""', b'" "', b'"\\t"', b'"\\ud800"', b'"\\udc00x"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"a\\u001fb"',
    b'"\\u001b[2J"', b'"a\\nb"', b'"a\\r\\nb"', b'"\\u2028"', b'"\\u202e"', b'"\\u0085"', b'"\\u200b"', b'"\\ufeff"',
    b'"\xed\xa0\x80"', b'"\xff"', b'"\xc0\xaf"', b'"\x07"', b'"{}"', b'"}{"', b'"a}:b"', b'"{a}"', b'"a/b"', b'"/"',
    b'"a:b"', b'"a|2024-W01"', b'"all"', b'"other"', b'"org:1"', b'"org:"', b'"0"', b'"-"', b'"' + b"x" * 201 + b'"',
    b'"' + b"x" * 200 + b'"', b'"' + "\U0001f600".encode() * 200 + b'"', b'"' + b"y" * 40_000 + b'"',
    b'"sNaN"', b'"NaN"', b'"Infinity"', b'"1E+99999999999999999999"', b'"1e-2000000"', b'"1_0"', b'" 5 "',
    '"\u0663\u0664"'.encode(), '"\u0130@x"'.encode(), b'"a@B.C"', b'"$(id)"', b'"\'; DROP TABLE x;--"', b'"%s%n%x"',
    b'"[bold]x[/bold]"', b'"\\\\"', b'"\\""', b'"\\', b'"', b'"presence"', b'"A"', b'"USD"', b'"EUR"',
    b'"UTC"', b'"../../etc/passwd"', b'"America"', b'"zone.tab"', b'"Asia/Kolkata\\u0000"', b'"Europe/Lisbon"',
    b'"' + b"a/" * 2000 + b'"',
)  # fmt: skip
TIMES: Final = (
    b'"2000-01-01T00:00:00Z"', b'"1999-12-31T23:59:59.999Z"', b'"0001-01-01T00:00:00+23:59"',
    b'"9999-12-31T23:59:59.999999-23:59"', b'"2024-02-30T00:00:00Z"', b'"2024-W01"', b'"2024-W53-7T24:00:00"',
    b'"2024-03-04T10:00:00+24:00"', b'"2024-03-04T10:00:00+23:59:59.999999"', b'"2024-03-04T10:00:60Z"',
    b'"20240304"', b'"2024-03-04T10:00:00,123"', b'"2024-03-04T10:00:00.1234567891234Z"', b'"2024-03-04\\u20ac10:00"',
    b'"2024-03-04T10"', b'"now"', b'"2024"', b"0", b"-1", b"946684800", b"946684799.999", b"253402300799",
    b"253402300800", b"99999999999", b"100000000000", b"99999999999999", b"1e14", b"1e17", b"4102444800", b"2e9",
    b"1e10", b"1700000000.123456789", b"17000000000000000", b"9007199254740993", b"1e300",
)  # fmt: skip
SHAPES: Final = (b"null", b"true", b"false", b"[]", b"{}", b"[1]", b'{"a":1}', b"[" * 3000 + b"]" * 3000, b"", b" ")
WHOLES: Final = (
    b"", b" ", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"true", b"0", b"[]", b"{}", b'"text"', b"{", b"}",
    b"\x04\x22\x4d\x18", b"\x04\x22\x4d\x18\x64\x40\xa7\x00\x00\x00\x00", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd",
    b'{"x":' * 12_000, b"[" * 60_000, b"{" * 70_000, b" " * 70_000, b"\n\n{", b"{}{}", b"{}\n{}", b"x" * 65_536,
    b"x" * 65_537, b"a" * 60_000, b'<13>1 2024-03-04T10:00:00Z h a - - ' + b"a" * 60_000,
    b"<13>1 2024-03-04T10:00:00Z h a - - " + b'a="' * 20_000,
    b"<13>1 2024-03-04T10:00:00Z h a - - " + b"\\" * 60_000,
    b'<13>1 2024-03-04T10:00:00Z h a - - [a="' + b"\\a" * 30_000, b"org=" * 15_000,
    b"Jan  1 00:00:00 h " + b"a[" * 30_000, b"Jan  1 00:00:00 " * 4_000,
    b"From: a@b\r\nTo: c@d\r\nSubject: =?utf-8?B?4pyT?=\r\nMIME-Version: 1.0\r\n\r\nbody\r\n.\r\n",
    b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nReceived: from x\n\n>From the start\n",
    b"EHLO x\r\nMAIL FROM:<a>\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x83\xa1a\x01\xa1b\x02", b"\xc1",
    b"\xdd\xff\xff\xff\xff",
)  # fmt: skip
PRIORITIES: Final = (
    "<13>1",
    "<13>",
    "<191>1",
    "<999>1",
    "<>1",
    "<-1>1",
    "<13>2",
    "<13",
    "13>1",
    "<\u0663>1",
    "",
    "<013>1",
)  # fmt: skip
STAMPS: Final = (
    "2024-03-04T10:00:00Z", "2024-03-04T10:00:00.003Z", "-", "2024-13-04T10:00:00Z", "2024-03-04T25:00:00Z",
    "2024-03-04",
    "1709546400", "2024-03-04T10:00:00+99:99", "0001-01-01T00:00:00Z", "Jan  1 00:00:00", "Feb 29 10:00:00",
    "Feb 31 10:00:00",
    "Mar  4 24:00:00", "Mar 04 10:00:60", "Foo  3 10:00:00", "Mar \u0664 10:00:00", "Mar  4 1\u0660:00:00", "",
    "mar  4 10:00:00",
    "Dec 31 23:59:59",
)  # fmt: skip
DATA: Final = (
    "-", '[a@1 org="7" userid="8" action="login" id="9"]', '[a@1 org="7" userid="8" ghost="1"]',
    '[a org="0" userid="8"]',
    '[a@1 org="7"', '[a@1 org="" userid=""]', '[a@1 org="\\"" userid="\\]"]', '[][][]',
    '[a@1 org="7" org="8" userid="x"]',
    "org=7 userid=8 action=view", "userid=8", "org=7 userid=8 ghost=-1", "org={7} userid=}8{", "org=7/8 userid=9/10",
    '[a@1 userid="\x1b[2J" org="7"]', "[", "]", '="', '[a@1 org="7" userid="8" ghost="\u0660"]', "\ufeffmessage", "",
)  # fmt: skip


def quoted(text: str) -> bytes:
    """Return *text* as a JSON text."""
    return orjson.dumps(text)
