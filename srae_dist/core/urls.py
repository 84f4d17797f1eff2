"""What a URL tells, and what of it is nobody's business: user, password, query and fragment."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(:/?/?|::)")
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,3}[^\s'\"`<>|]+")
_BEHIND = ".,;:!)]}"  # what follows a URL in a sentence


def is_url(location: str | Path) -> bool:
    """Tell whether a location has a scheme, known or not (a drive's letter is none)."""
    match = None if isinstance(location, Path) else _SCHEME.match(location)
    return match is not None and len(match[1]) > 1


def masked(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url)[0])
    host, path = parts.netloc.rpartition("@")[2], parts.path
    if not parts.netloc:  # a slash too few, but what was meant is secret all the same
        return parts.scheme + ":" + re.sub(r"^(/?)[^/]*@", r"\1", path)
    return urlunsplit((parts.scheme, host, path, "", ""))


def without_secrets(location: str) -> str:
    """Return a place as it may be written down: a URL masked, a path as it is."""
    return masked(location) if is_url(location) else location


def redacted(text: str) -> str:
    """Return a text in which every URL is masked."""
    return _IN_TEXT.sub(_masked_match, text) if ":/" in text else text


def _masked_match(match: re.Match[str]) -> str:
    url = match[0].rstrip(_BEHIND)
    return masked(url) + match[0][len(url) :] if re.search(r"[@?#]", url) else match[0]
