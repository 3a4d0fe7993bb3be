"""The HTTP contract of the service, from memory, behind a real socket."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.made_datasets import MODEL_SHA, dataset_files, png, zipped

KEY = "key-of-the-fake-service"


@dataclass
class Reply:
    """An answer of the fake service; `cut` closes the connection after that many bytes."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class FakeService:
    """The HTTP contract, from memory. A test sets what shall happen and looks at `seen`."""

    url: str = ""
    quotas: dict[str, int] = field(default_factory=lambda: {"bag": 3, "coat": 2})
    states: list[str] = field(default_factory=lambda: ["queued", "running", "finalizing"])
    last_state: str = "succeeded"
    workers: int = 1
    gate: dict[str, Any] | None = None
    """What came of the job's gate; one that is not passed fails it."""
    warnings: list[str] = field(default_factory=list)
    """Of the job, about its model."""
    archive: bytes = b""
    versions: list[str] = field(default_factory=lambda: ["1"])
    """Of the one model, the newest first."""
    chosen: str | None = None
    faults: list[Reply] = field(default_factory=list)
    """Answers given instead of the right ones, first come first served."""
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the next archive responses break off."""
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    on_request: Callable[[str, str], None] = lambda method, path: None

    def paths(self, method: str = "GET") -> list[str]:
        """The paths asked for so far."""
        return [path for verb, path, _, _ in self.seen if verb == method]

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        """One request."""
        url = urlsplit(target)
        path = unquote(url.path)
        self.seen.append((method, path, headers, body))
        self.on_request(method, path)
        if self.faults:
            return self.faults.pop(0)
        if path == "/livez":
            return as_json({"status": "alive"})
        if path == "/readyz":
            return as_json({"status": "ready", "workers": self.workers})
        if headers.get("authorization") != f"Bearer {KEY}":
            return problem(401, "unauthorized", "The key is not valid. Send the right one.")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        return self._route(method, path, query, headers, body)

    def _route(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> Reply:
        match (method, path.removeprefix("/v1").split("/")[1:]):
            case ("GET", ["models"]):
                return as_json({"models": [self.model()]})
            case (_, ["models", "tiny", "versions" | "default"]):
                return self._versions(method, body)
            case ("POST", ["models"]):
                return as_json(self.model(), 201)
            case ("DELETE", ["models", "tiny@1" | "tiny@2" as ref]):
                self.versions.remove(ref.partition("@")[2])
                return Reply(204)
            case ("GET" | "HEAD", ["models", "tiny@1", "export"]):
                return self._file(self.archive, headers)
            case ("GET", ["models", "tiny" | "tiny@1"]):
                return as_json(self.model() | {"spec": {"format": 1}})
            case ("GET", ["models", "tiny", "preview.png"]):
                return Reply(200, png(1), {"Content-Type": "image/png"})
            case ("POST", ["jobs"]):
                return self._submit(json.loads(body))
            case ("POST", ["jobs", "estimate"]):
                total = sum(self.quotas.values())
                plan = {"samples": total, "samples_per_class": self.quotas, "shards": 1}
                return as_json(plan | {"archive_bytes": 900, "seconds": None, "basis": "x"})
            case ("GET", ["jobs"]):
                return self._page(query)
            case ("GET", ["jobs", "job_1"]):
                return self._poll(headers)
            case ("POST", ["jobs", "job_1", "cancel"]):
                if self.last_state in ("failed", "succeeded") and not self.states:
                    return problem(409, "not-cancellable", "The job has ended. Leave it.")
                self.states, self.last_state = [], "cancelled"
                return as_json(self.job())
            case ("GET", ["classifiers"]):
                return as_json({"classifiers": []})
            case ("GET", ["jobs", "job_1", "preview.png"]):
                return Reply(200, png(2), {"Content-Type": "image/png"})
            case (
                "GET",
                ["jobs", "job_1", "report.html" | "report.json" | "croissant.json" as name],
            ):
                return Reply(200, f"the {name}".encode(), {"Content-Type": "text/plain"})
            case ("GET", ["jobs", "job_1", "manifest"]):
                return self._manifest(query)
            case ("GET" | "HEAD", ["jobs", "job_1", "archives", "imagefolder"]):
                return self._archive(headers)
        return problem(404, "not-found", f"There is nothing at {path}. Look at the list.")

    def _versions(self, method: str, body: bytes) -> Reply:
        if method == "PUT":
            self.chosen = json.loads(body)["version"]
            if self.chosen not in self.versions:
                return problem(422, "unknown-model", "There is no such version. Look at the list.")
        elif method == "DELETE":
            self.chosen = None
        default = self.chosen or self.versions[0]
        models = [self.model(version, version == default) for version in self.versions]
        chosen = self.chosen is not None
        return as_json({"name": "tiny", "default": default, "chosen": chosen, "versions": models})

    def model(self, version: str = "1", default: bool = True) -> dict[str, Any]:
        """The one model."""
        return {
            "name": "tiny",
            "version": version,
            "default": default,
            "sha256": MODEL_SHA,
            "family": "gan",
            "architecture": "cgan",
            "conditioning": "class",
            "classes": list(self.quotas),
            "image": {"height": 4, "width": 4, "channels": 1},
            "latent_size": 8,
            "licence": "MIT",
            "description": "For tests",
            "figures": {"label_agreement": 0.9},
            "created": "2026-01-01T00:00:00Z",
            "links": {"self": "/v1/models/tiny@1", "preview": "/v1/models/tiny/preview.png"},
        }

    def job(self) -> dict[str, Any]:
        """The one job, as it is now."""
        state = self.states[0] if self.states else self.last_state
        total = sum(self.quotas.values())
        done = {"queued": 0, "running": total // 2}.get(state, total)
        digest = hashlib.sha256(self.archive).hexdigest()
        archive = {"format": "imagefolder", "bytes": len(self.archive), "sha256": digest}
        failed = {"type": "/problems/class-ran-dry", "detail": "Class bag ran dry. Ask for less."}
        if self.gate is not None:
            failed = {"type": "/problems/gate-failed", "detail": self.gate["sentence"]}
        return {
            "id": "job_1",
            "state": state,
            "seed": 7,
            "samples": total,
            "samples_per_class": self.quotas,
            "classes": list(self.quotas),
            "models": [{"name": "tiny", "version": "1", "sha256": MODEL_SHA, "weight": 1.0}],
            "formats": ["imagefolder"],
            "progress": {"samples": total, "samples_done": done, "shards": 1, "shards_done": 0},
            "archives": [archive | {"entries": total + 2, "url": "/v1/jobs/job_1/archives/x"}]
            if state == "succeeded"
            else [],
            "report": {"verdict": "They look like bags.", "gate": self.gate}
            if state == "succeeded" or (state == "failed" and self.gate is not None)
            else None,
            "warnings": self.warnings,
            "problem": failed if state == "failed" else None,
            "created": "2026-01-01T00:00:00Z",
            "started": "2026-01-01T00:00:01Z" if done else None,
            "finished": "2026-01-01T00:00:03Z" if state == "succeeded" else None,
        }

    def _submit(self, body: dict[str, Any]) -> Reply:
        asked = body.get("samples_per_class")
        if body.get("model") != "tiny":
            return problem(422, "unknown-model", "There is no such model. Look at the list.")
        if isinstance(asked, dict):
            unknown = set(asked) - set(self.quotas)
            if unknown:
                error = {"detail": "not a class", "pointer": "/samples_per_class"}
                return problem(422, "unknown-class", "No such class. Look at it.", errors=[error])
            self.quotas = asked
        elif isinstance(asked, int):
            self.quotas = dict.fromkeys(self.quotas, asked)
        else:
            self.quotas = {"unlabelled": body["samples"]}
        self.archive = self.archive or zipped(dataset_files(self.quotas))
        return as_json(self.job(), 202, {"Location": "/v1/jobs/job_1"})

    def _poll(self, headers: dict[str, str]) -> Reply:
        if self.states:
            self.states.pop(0)
        job = self.job()
        etag = f'"{job["state"]}"'
        if headers.get("if-none-match") == etag:
            return Reply(304, b"", {"ETag": etag})
        return as_json(job, 200, {"ETag": etag})

    def _page(self, query: dict[str, str]) -> Reply:
        first = int(query.get("after", 0))
        number = min(int(query["limit"]), 2)
        jobs = [self.job() | {"id": f"job_{index}"} for index in range(first, first + number)]
        token = str(first + number) if first + number < 5 else None
        return as_json({"jobs": jobs[: 5 - first], "next": token})

    def _manifest(self, query: dict[str, str]) -> Reply:
        rows = [self._row(name, index) for index, name in enumerate(self.names())]
        rows = [row for row in rows if query.get("class") in (None, row["class"])]
        first, limit = int(query.get("after", 0)), int(query["limit"])
        token = str(first + limit) if first + limit < len(rows) else None
        return as_json({"samples": rows[first : first + limit], "next": token})

    def names(self) -> list[str]:
        """The class of each sample."""
        return [name for name, count in self.quotas.items() for _ in range(count)]

    def _row(self, name: str, index: int) -> dict[str, Any]:
        return {
            "index": index,
            "class": name,
            "label": list(self.quotas).index(name),
            "model": "tiny@1",
            "model_sha256": MODEL_SHA,
            "seed": 7,
            "shard": 0,
            "candidate": index,
            "file": f"{name}/{index:08d}.png",
            "bytes": 80,
            "file_sha256": MODEL_SHA,
            "pixel_sha256": MODEL_SHA,
            "width": 4,
            "height": 4,
            "channels": 1,
            "created": "2026-01-01T00:00:00Z",
        }

    def _archive(self, headers: dict[str, str]) -> Reply:
        if self.states or self.last_state != "succeeded":
            return problem(409, "archive-not-ready", "The archive is not ready. Wait for the job.")
        return self._file(self.archive, headers)

    def _file(self, content: bytes, headers: dict[str, str]) -> Reply:
        digest = hashlib.sha256(content)
        etag = f'"sha256-{digest.hexdigest()}"'
        sent = {
            "ETag": etag,
            "Repr-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
            "Content-Type": "application/zip",
        }
        cut = self.cuts.pop(0) if self.cuts and "head" not in headers else None
        span = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if span is None or headers.get("if-range", etag) != etag:
            return Reply(200, content, sent, cut)
        first = int(span.group(1))
        sent["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        return Reply(206, content[first:], sent, cut)


def as_json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """A JSON answer."""
    kind = {"Content-Type": "application/json"}
    return Reply(status, json.dumps(document).encode(), kind | (headers or {}))


def problem(status: int, slug: str, detail: str, **members: Any) -> Reply:
    """An RFC 9457 answer."""
    body = {"type": f"/problems/{slug}", "title": slug, "status": status, "detail": detail}
    kind = {"Content-Type": "application/problem+json"}
    return Reply(status, json.dumps(body | members).encode(), kind)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: FakeService

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.command == "HEAD":
            headers["head"] = "yes"
        reply = self.service.answer(self.command, self.path, headers, self.rfile.read(length))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 304:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: reply.cut])
        self.close_connection = self.close_connection or reply.cut is not None

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library's words

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def fake_service() -> Iterator[FakeService]:
    """Runs the fake service on a free port."""
    fake = FakeService()
    handler = type("Handler", (_Handler,), {"service": fake})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        fake.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()
