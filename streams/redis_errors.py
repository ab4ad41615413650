"""What can go wrong with Redis, by a bounded set of names for logs and metrics.

Invariant: a name never holds anything of the message's text, so that the number of series stays bounded.
"""

from __future__ import annotations

_KINDS = ("READONLY", "OOM", "LOADING", "NOSCRIPT", "MISCONF", "NOREPLICAS", "MASTERDOWN", "NOPERM", "NOAUTH", "BUSY")
_DENIED = "The user executing the script can't"  # Redis 6.2's words inside a script
_NAMES = {  # the client cuts the word off
    "NoScriptError": "NOSCRIPT",
    "BusyLoadingError": "LOADING",
    "ReadOnlyError": "READONLY",
    "OutOfMemoryError": "OOM",
    "NoPermissionError": "NOPERM",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "NOAUTH",
}


def kind_of(error: Exception) -> str:
    """Return Redis's own word for what went wrong, or the kind of failure.

    Redis 6.2 wraps what a script met in a longer text, hence the search.

    >>> kind_of(ValueError("ERR Error running script: -READONLY You can't write against a read only replica."))
    'READONLY'
    >>> kind_of(TimeoutError("Timeout reading"))
    'TimeoutError'
    """
    name, text = type(error).__name__, str(error)
    if name in _NAMES:
        return _NAMES[name]
    if _DENIED in text:
        return "NOPERM"
    return next((kind for kind in _KINDS if kind in text), name)
