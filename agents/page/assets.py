"""The files that pages load: style, scripts, the vendored chart library.

Invariant: an address names its content (a hash is part of it), so browsers may keep a file for ever.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml",
    ".txt": "text/plain",
}  # fmt: skip
FOR_EVER = "public, max-age=31536000, immutable"


class Assets:
    """All files, in memory: there are few and they are small."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Read them."""
        self._files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in _TYPES}
        digest = hashlib.sha256()
        for name, content in self._files.items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        self.digest = digest.hexdigest()[:16]

    def address(self, name: str) -> str:
        """Return where a file is.

        Raises:
            KeyError: If there is none.
        """
        assert self._files[name] is not None
        return f"/static/{self.digest}/{name}"

    async def serve(self, request: web.Request) -> web.Response:
        """Answer with a file; an address of another version is gone."""
        name = request.match_info["name"]
        if request.match_info["digest"] != self.digest or name not in self._files:
            raise web.HTTPNotFound
        kind = _TYPES[Path(name).suffix]
        charset = None if kind.startswith("image/") else "utf-8"
        response = web.Response(body=self._files[name], content_type=kind, charset=charset)
        response.headers["Cache-Control"] = FOR_EVER
        return response
