"""The files that a page is made of, served as they lie in a folder: no build step."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path, PurePosixPath

from flask import Response, request

from web.problems import Problem

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def serve(folder: Path, name: str, *, policy: str) -> Response:
    """Return a file of `folder` under a Content-Security-Policy, asked for anew with its ETag.

    Raises:
        Problem: 404.
    """
    content_type = TYPES.get(PurePosixPath(name).suffix)
    path = folder / name
    if content_type is None or not _is_part(folder, path):
        raise Problem("not-found")
    content = path.read_bytes()
    answer = Response(content, content_type=content_type)
    # A worker has the policy of its own script's answer, not of the page.
    answer.headers["Content-Security-Policy"] = policy
    answer.headers["Cache-Control"] = "no-cache"
    answer.set_etag(sha256(content).hexdigest()[:32])
    answer.make_conditional(request)
    return answer


def _is_part(folder: Path, path: Path) -> bool:
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        # A name that no file can have: too long, or with a zero byte.
        return False
