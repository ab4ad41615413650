"""Covers what nobody may read: passwords inside URLs, and the values of secret settings wherever they turn up.

Owns what this process knows to be secret. Invariant: a text that has passed `cover` holds no secret that was made
known before, in the form in which it was given or as a URL spells it.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

COVER = "***"
SHORTEST_SECRET = 6
"""A shorter one is covered inside URLs only: replaced everywhere, it would spoil other texts."""
_MOST_KNOWN = 1000

_known: dict[str, None] = {}


def remember(text: str) -> None:
    """Make *text* known as a secret; of a URL its password, of several lines each line's first word.

    >>> remember("redis://app:open-sesame@cache/0"); cover("login with open-sesame failed")
    'login with *** failed'
    """
    for secret in _secrets_in(text):
        spelled = {secret, unquote(secret), quote(unquote(secret), safe="")}
        for form in spelled:
            if len(form) >= SHORTEST_SECRET and len(_known) < _MOST_KNOWN:
                _known[form] = None


def cover(text: str) -> str:
    """Return *text* with every known secret and every URL's password replaced.

    >>> cover("redis://app:geheim@cache:6379/0")
    'redis://app:***@cache:6379/0'
    """
    for secret in sorted(_known, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, COVER)
    return redacted_url(text) if "://" in text else text


def redacted_url(url: str) -> str:
    """Return *url* with its password, and a password among its parameters, covered.

    >>> redacted_url("redis://app:geheim@cache:6379/0")
    'redis://app:***@cache:6379/0'
    """
    covered = re.sub(r"(://[^:/?#@\s]*):\S+@", r"\1:***@", url)
    return re.sub(r"(?i)([?&](?:password|token)=)[^&\s]*", r"\1***", covered)


def _secrets_in(text: str) -> list[str]:
    """Return the parts of a secret setting's value that are secret.

    >>> _secrets_in("postgresql://me:pw@db/x?password=other"), _secrets_in("tok-1 org=a; tok-2"), _secrets_in("a b")
    (['pw', 'other'], ['tok-1 org=a; tok-2', 'tok-1', 'tok-2'], ['a b', 'a'])
    """
    if "://" in text:
        found = re.search(r"://[^:/?#@\s]*:(\S+)@", text)
        inside = [found[1]] if found else []
        try:
            query = urlsplit(text).query
        except ValueError:
            query = ""
        return inside + re.findall(r"(?i)(?:^|&)(?:password|token)=([^&\s]+)", query)
    words = [line.split()[0] for line in re.split(r"[;\n]", text) if line.split()]
    return [text.strip(), *(word for word in words if word != text.strip())]
