"""A hub on this machine: repositories that take a commit and give back files, as the real one does.

It speaks what `huggingface_hub` asks in `create_repo`, `upload_folder` and `snapshot_download`, for
files that are committed as they are (no LFS).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """The repositories by name, each a list of commits: files by path.

    Attributes:
        repositories: by USER/NAME.
        private: the names of those that were made private.
        token: what has to be sent to write.
        asked: every request, as METHOD /path.
    """

    def __init__(self, token: str = "hf_writes") -> None:
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.token = token
        self.asked: list[str] = []

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        """Add a commit of these files alone; its hash."""
        self.repositories.setdefault(name, []).append(files)
        return self.sha(name, "main")

    def sha(self, name: str, revision: str) -> str:
        """The hash of a revision: main, a number of commits, or a hash.

        Raises:
            KeyError: there is none.
        """
        hashes = [hashlib.sha1(f"{name} {i}".encode()).hexdigest() for i in self.numbers(name)]
        by_name = dict(zip(map(str, self.numbers(name)), hashes, strict=True))
        by_name |= {each: each for each in hashes}
        if hashes:
            by_name["main"] = hashes[-1]
        return by_name[revision]

    def numbers(self, name: str) -> range:
        return range(1, len(self.repositories[name]) + 1)

    def files(self, name: str, revision: str) -> dict[str, bytes]:
        """The files of a revision."""
        sha = self.sha(name, revision)
        number = next(i for i in self.numbers(name) if self.sha(name, str(i)) == sha)
        return self.repositories[name][number - 1]


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{method} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            for pattern, answer in _ANSWERS:
                if found := re.fullmatch(pattern, f"{method} {path}"):
                    answer(self, *found.groups(), body)
                    return
        except KeyError:
            name = re.search(r"(\w+/[\w.-]+)", path.removeprefix("/api/models/"))
            known = name is not None and name[1] in self.hub.repositories
            code = "RevisionNotFound" if known else "RepoNotFound"
            self.send(404, {"error": "not found"}, {"X-Error-Code": code})
            return
        self.send(404, {"error": f"nothing answers {method} {path}"})

    def send(self, code: int, value: Any, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        for name, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def may_write(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {self.hub.token}":
            return True
        self.send(403, {"error": "you may not"})
        return False

    def create(self, body: bytes) -> None:
        if not self.may_write():
            return
        asked = json.loads(body)
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        exists = name in self.hub.repositories
        self.hub.repositories.setdefault(name, [])
        if asked.get("visibility") == "private" and not exists:
            self.hub.private.add(name)
        url = f"http://{self.headers['Host']}/{name}"
        self.send(409 if exists else 200, {"url": url, "name": name, "id": name})

    def validate(self, body: bytes) -> None:
        """Check a page's head, which is to be YAML between two lines of hyphens."""
        import yaml

        found = re.match(r"---\n(.*?)\n---\n", json.loads(body)["content"], re.S)
        values = yaml.safe_load(found[1]) if found else None
        lacking = [] if isinstance(values, dict) else [{"message": "it is no mapping"}]
        self.send(200, {"errors": lacking, "warnings": []})

    def preupload(self, name: str, body: bytes) -> None:
        files = json.loads(body)["files"]
        answers = [
            {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files
        ]
        self.send(200, {"files": answers})

    def take(self, name: str, body: bytes) -> None:
        if not self.may_write():
            return
        commits = self.hub.repositories[name]
        files = dict(commits[-1]) if commits else {}
        for line in body.splitlines():
            record = json.loads(line)
            value = record["value"]
            if record["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif record["key"] == "deletedFile":
                del files[value["path"]]
        sha = self.hub.commit(name, files)
        url = f"http://{self.headers['Host']}/{name}/commit/{sha}"
        self.send(200, {"success": True, "commitOid": sha, "commitUrl": url})

    def describe(self, name: str, revision: str, body: bytes) -> None:
        """Tell what a revision holds; the sizes unasked."""
        siblings = [
            {"rfilename": path, "size": len(content)}
            for path, content in self.hub.files(name, revision).items()
        ]
        self.about(name, self.hub.sha(name, revision), siblings)

    def newest(self, name: str, body: bytes) -> None:
        if self.hub.repositories[name]:
            self.describe(name, "main", body)
        else:
            self.about(name, None, [])

    def about(self, name: str, sha: str | None, siblings: list[dict[str, Any]]) -> None:
        private = name in self.hub.private
        self.send(200, {"id": name, "sha": sha, "siblings": siblings, "private": private})

    def tree(self, name: str, revision: str, body: bytes) -> None:
        files = self.hub.files(name, revision) if self.hub.repositories[name] else {}
        rows = [
            {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
            for path, content in files.items()
        ]
        self.send(200, rows)

    def file(self, name: str, revision: str, path: str, body: bytes) -> None:
        content = self.hub.files(name, revision)[path]
        headers = {
            "ETag": f'"{blob_id(content)}"',
            "X-Repo-Commit": self.hub.sha(name, revision),
        }
        self.send(200, content, headers)


_NAME = r"(\w+/[\w.-]+)"
_ANSWERS = [
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (rf"POST /api/models/{_NAME}/preupload/main", _Handler.preupload),
    (rf"POST /api/models/{_NAME}/commit/main", _Handler.take),
    (rf"GET /api/models/{_NAME}/revision/([\w./-]+)", _Handler.describe),
    (rf"GET /api/models/{_NAME}", _Handler.newest),
    (rf"GET /api/models/{_NAME}/tree/([\w-]+)", _Handler.tree),
    (rf"(?:GET|HEAD) /{_NAME}/resolve/([\w-]+)/(.+)", _Handler.file),
]


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve a hub; the address."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
