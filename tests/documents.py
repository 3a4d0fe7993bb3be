"""Documents that are rendered from the code: `python -m tests.documents` writes them again.

The tests compare; a document that is not what the code says fails them.
"""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import wrap

from pydantic.fields import FieldInfo

from app.errors import JobError, SynthloomError, tree
from app.main import create_app
from app.quality.document import FORMAT, Report
from app.recipes.recipe import render_schema
from app.settings import Settings
from tests.rendered import write_all as write_tables

ROOT = Path(__file__).parents[1]

ENV_HEAD = """\
# Settings of a deployment, with their defaults. Copy this file to `.env` in the folder that
# `synthloom serve` is started from, and uncomment what you change. Variables of the environment
# and options of the command line come before this file.
"""

ERRORS_HEAD = """\
# Problems

Every answer that is not a success, and the `problem` of every failed job, is an
[RFC 9457](https://www.rfc-editor.org/info/rfc9457) document of type `application/problem+json`:

```json
{"type": "/problems/unknown-class", "title": "The model has no such class", "status": 422,
 "detail": "Unknown class 'hat'. This request can ask for: t-shirt, trouser, …",
 "known_classes": ["t-shirt", "trouser", "…"],
 "instance": "urn:synthloom:request:1f0c9e7a52d84b36", "request_id": "1f0c9e7a52d84b36"}
```

`type` says what happened and never changes; write programs against it. `detail` is a sentence for
people that says what to do, and may change. `errors` points at the parts of a body that are not
valid; `retry_after` says, in seconds, when to try again, like the header `Retry-After`. A running
service explains each type at its own address, for example `/problems/unknown-class`.
"""


def render_env_example() -> str:
    """`.env.example`: every setting, what it means, its default."""
    return ENV_HEAD + "".join(_setting(n, field) for n, field in Settings.model_fields.items())


def _setting(name: str, field: FieldInfo) -> str:
    comment = "\n".join(f"# {line}" for line in wrap((field.description or "").strip(), 96))
    default = "" if field.default_factory or field.default is None else str(field.default)
    return f"\n{comment}\n#SYNTHLOOM_{name.upper()}={default}\n"


def render_errors() -> str:
    """`docs/errors.md`: every problem type."""
    shown = [cls for cls in tree() if cls.slug not in ("job-stopped", "configuration")]
    of_jobs = [cls for cls in shown if issubclass(cls, JobError)]
    of_requests = [cls for cls in shown if not issubclass(cls, JobError)]
    return (
        f"{ERRORS_HEAD}\n## Answers to requests\n\n{_table(of_requests)}"
        f"\n## Failed jobs\n\n{_table(of_jobs)}"
        "\nA failed job may also carry a type of the first table, such as `storage-full`.\n"
    )


def _table(classes: list[type[SynthloomError]]) -> str:
    head = "| type | status | title | meaning |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `/problems/{cls.slug}` | {cls.status} | {cls.title} | {_meaning(cls)} |\n"
        for cls in sorted(classes, key=lambda cls: (cls.status, cls.slug))
    )


def _meaning(cls: type[SynthloomError]) -> str:
    return " ".join((cls.__doc__ or "").split())


def render_openapi() -> str:
    """`docs/openapi.json`: the HTTP API."""
    settings = Settings(data_dir=ROOT, _env_file=None)
    return json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False) + "\n"


def render_report_schema() -> str:
    """`docs/report.schema.json`: the JSON of a report."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{FORMAT.replace('/', ':')}",
        **Report.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


DOCUMENTS = {
    ".env.example": render_env_example,
    "docs/errors.md": render_errors,
    "docs/openapi.json": render_openapi,
    "docs/recipe.schema.json": render_schema,
    "docs/report.schema.json": render_report_schema,
}

if __name__ == "__main__":
    for name, render in DOCUMENTS.items():
        (ROOT / name).write_text(render())
    write_tables()
