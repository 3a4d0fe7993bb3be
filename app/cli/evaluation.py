"""An evaluation on this machine: its images, the measuring, and the files that come of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from app.cli.terminal import say, stderr
from app.quality.gate import GateOutcome
from app.runs.messages import REPORT_HTML, REPORT_JSON
from app.runs.report import write_report
from models.corpus.corpus import Corpus
from models.corpus.preprocessing import Preprocessing
from models.corpus.read import read, read_splits
from models.errors import DatasetError
from models.evaluation.options import EvaluationOptions
from models.evaluation.options import Progress as Hears
from models.evaluation.results import Evaluation
from models.files import SPEC_FILE, read_spec, weights_file, write_atomically
from models.spec import ModelSpec
from models.zoo.catalogue import shipped, zoo_folder


class Given(NamedTuple):
    """The samples, how they are called, and the model that they were drawn from, if any."""

    samples: Corpus
    name: str
    facts: dict[str, Any]
    spec: ModelSpec | None = None


def given(subject: str, per_class: int, seed: int) -> Given:
    """The samples of a model, by its folder or its shipped name, or those of a dataset.

    Raises ModelError.
    """
    folder = _model_folder(subject)
    if folder is None:
        return Given(read(Path(subject)), Path(subject).name, {})
    from models.checkpoint import load
    from models.evaluation.draw import draw_labelled

    spec = read_spec(folder)
    say(f"Drawing {per_class:,} samples of each class of {spec.ref} ...")
    generator = load(spec, folder / weights_file(spec))
    samples = draw_labelled(spec, generator, per_class, seed)
    return Given(samples, spec.ref, {"samples_per_class": per_class, "seed": seed}, spec)


def _model_folder(subject: str) -> Path | None:
    """Where the model of that name or path is; None for what is no model."""
    path = Path(subject)
    if (path / SPEC_FILE).is_file():
        return path
    if path.exists():
        return None
    if (zoo_folder() / subject / SPEC_FILE).is_file() and path.name == subject:
        return zoo_folder() / subject
    names = ", ".join(model.spec.name for model in shipped())
    raise DatasetError(
        f"{subject} is neither a path on this machine nor a shipped model; these are: {names}."
    )


def real_images(against: Path, subject: Given) -> tuple[Corpus, Corpus | None]:
    """Training images and, where there are any, test images, in the size of the samples."""
    shape = subject.samples.image.model_dump()
    known = (subject.spec.training.get("preprocessing") or {}) if subject.spec else {}
    kept = {k: known[k] for k in ("fit", "resample") if isinstance(known, dict) and k in known}
    splits = read_splits(against, preprocessing=Preprocessing.model_validate({**shape, **kept}))
    if "train" not in splits:
        return next(iter(splits.values())), None
    return splits["train"], splits.get("test", splits.get("validation"))


def options_of(subject: Given, against: Path, **choices: Any) -> EvaluationOptions:
    """The choices of the command, and how things are called."""
    return EvaluationOptions(
        subject_name=subject.name,
        subject_kind="dataset" if subject.spec is None else "model",
        subject_facts=subject.facts,
        real_name=against.resolve().name,
        **choices,
    )


def measured(
    subject: Given,
    train: Corpus,
    test: Corpus | None,
    options: EvaluationOptions,
    folder: Path,
    threads: int,
) -> Evaluation:
    """The evaluation, with a bar on stderr. Raises ModelError."""
    from models.evaluation.environment import use_threads
    from models.evaluation.evaluate import evaluate

    use_threads(threads)
    with _shown() as progress:
        return evaluate(subject.samples, train, test, options, folder, progress)


@contextmanager
def _shown() -> Iterator[Hears]:
    """A bar in a terminal, a line for every step elsewhere."""
    console = stderr()
    if not console.is_terminal:
        yield lambda words, done: say(f"{done:4.0%} {words}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda words, done: bar.update(task, description=words, completed=done)


def written(
    found: Evaluation,
    gate: GateOutcome | None,
    subject: Given,
    folder: Path,
    page: Path | None,
    figures: Path | None,
) -> Iterator[Path]:
    """Write the report into the folder, and to the paths that were named."""
    model = {} if subject.spec is None else {"spec": subject.spec.model_dump(mode="json")}
    write_report(folder, found, gate, model)
    for target, name in ((page, REPORT_HTML), (figures, REPORT_JSON)):
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, (folder / name).read_bytes())
        yield target or folder / name
