"""Every expected failure, in one tree. A class knows its HTTP status and its problem type,
`/problems/<slug>`; its docstring is what that type means, and is shown to users.

The same classes describe refused requests (RFC 9457 bodies) and failed jobs (the `problem` of
the job). `detail` is a sentence that tells the user what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class SynthloomError(Exception):
    """Something we did not expect: report it with the request id of the answer."""

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something broke on our side"
    status: ClassVar[int] = 500

    def __init__(
        self,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        retry_after_seconds: int | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.retry_after_seconds = retry_after_seconds
        self.members: Mapping[str, Any] = members

    def problem(self) -> dict[str, Any]:
        """The RFC 9457 members that do not depend on the request."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        if self.errors:
            body["errors"] = self.errors
        if self.retry_after_seconds is not None:
            body["retry_after"] = self.retry_after_seconds
        return body


# Requests that are refused


class MalformedRequestError(SynthloomError):
    """The body is not the JSON it should be."""

    slug, title, status = "malformed-request", "The request can't be read", 400


class UnauthorizedError(SynthloomError):
    """No key, or one that is not valid."""

    slug, title, status = "unauthorized", "A valid API key is needed", 401


class NotFoundError(SynthloomError):
    """Absent, or another tenant's."""

    slug, title, status = "not-found", "There is nothing here", 404


class MethodNotAllowedError(SynthloomError):
    """The path exists, the method does not."""

    slug, title, status = "method-not-allowed", "This path has no such method", 405


class NotAcceptableError(SynthloomError):
    """No representation that the client accepts."""

    slug, title, status = "not-acceptable", "No such representation", 406


class ConflictError(SynthloomError):
    """The resource is not in a state for this."""

    slug, title, status = "conflict", "Not possible in the present state", 409


class NotCancellableError(ConflictError):
    """The job has ended already."""

    slug, title = "not-cancellable", "The job has already ended"


class ArchiveNotReadyError(ConflictError):
    """The job has not produced its archive yet, or never will."""

    slug, title = "archive-not-ready", "The archive is not ready"


class ReportNotReadyError(ConflictError):
    """The job has no report yet, or never will: it was cancelled, or failed for another reason than
    its gate."""

    slug, title = "report-not-ready", "The report is not ready"


class SamplesNotReadyError(ConflictError):
    """The job has not succeeded, or its images were transformed: nothing can be drawn again."""

    slug, title = "samples-not-ready", "The job has no samples to draw again"


class SigningNotSetUpError(ConflictError):
    """This server has no certificate to sign images with."""

    slug, title = "signing-not-set-up", "Images can't be signed here"


class ModelGoneError(ConflictError):
    """The model that drew the samples was deleted; `models` names it."""

    slug, title, status = "model-gone", "The model was deleted", 410


class ModelInUseError(ConflictError):
    """Jobs that have not ended need the model; `jobs` names them, ten at most."""

    slug, title = "model-in-use", "The model is in use"


class DatasetInUseError(ConflictError):
    """Something that has not ended needs the dataset; `runs` names it, ten at most."""

    slug, title = "dataset-in-use", "The dataset is in use"


class BodyTooLargeError(SynthloomError):
    """The body is larger than this route reads."""

    slug, title, status = "body-too-large", "The request body is too large", 413


class UnsupportedMediaTypeError(SynthloomError):
    """The body is of a type that this route does not read."""

    slug, title, status = "unsupported-media-type", "Unsupported media type", 415


class RangeNotSatisfiableError(SynthloomError):
    """The range lies beyond the end of the file."""

    slug, title, status = "range-not-satisfiable", "The range is beyond the end", 416


class ValidationError(SynthloomError):
    """The request is understood and refused."""

    slug, title, status = "validation", "The request is not valid", 422


class UnknownModelError(ValidationError):
    """A job names a model that is not registered."""

    slug, title = "unknown-model", "There is no such model"


class UnknownDatasetError(ValidationError):
    """A request names a dataset that was not uploaded."""

    slug, title = "unknown-dataset", "There is no such dataset"


class UnknownClassifierError(ValidationError):
    """A job names a classifier that the server does not have, or that does not fit its models;
    `classifiers` names those that fit."""

    slug, title = "unknown-classifier", "There is no such classifier"


class UnknownClassError(ValidationError):
    """A job names a class that its models can't make."""

    slug, title = "unknown-class", "The model has no such class"


class UnknownOptionError(ValidationError):
    """A training names an architecture or an option that there is not; `options` has those that
    there are."""

    slug, title = "unknown-option", "There is no such option"


class UnknownFigureError(ValidationError):
    """A gate names a figure that no report has; `known_figures` lists those that there are."""

    slug, title = "unknown-figure", "There is no such figure"


class UnconditionalModelError(ValidationError):
    """Per-class quotas were asked of a model that takes no label."""

    slug, title = "unconditional-model", "The model can't be asked for a class"


class JobTooLargeError(ValidationError):
    """More samples than a job may have."""

    slug, title = "job-too-large", "The job is too large"


class IdempotencyKeyReusedError(ValidationError):
    """The same key came with another request."""

    slug, title = "idempotency-key-reused", "The idempotency key was used for another request"


class UnsupportedCheckpointError(ValidationError):
    """The file is no checkpoint that can be read safely; `kind` says what it is."""

    slug, title = "unsupported-checkpoint", "This file can't be imported"


class UnsupportedDatasetError(ValidationError):
    """The file is no dataset that can be used, or can't be used like this; `kind` says why."""

    slug, title = "unsupported-dataset", "This dataset can't be used"


class NotMergeableError(ValidationError):
    """The real dataset of `merge_with` and the samples can't be one dataset: sizes or classes of
    the images do not fit. `classes` and `dataset_classes` list both, where it is the classes."""

    slug, title = "not-mergeable", "The real dataset does not fit the samples"


class ModelSpecError(ValidationError):
    """The description of the model is wrong, or does not fit the tensors of the file."""

    slug, title = "model-spec-invalid", "The model's spec does not fit"


class ModelSpecNeededError(ValidationError):
    """The weights alone do not say what the network is; `proposal` has what was found out, and
    the questions that are open."""

    slug, title = "model-spec-needed", "The weights do not say everything"


class ModelRefusedError(ValidationError):
    """The model was tried, and does not do what its spec says; `findings` say how."""

    slug, title = "model-refused", "The model does not work as described"


class ModelDegenerateError(ValidationError):
    """The model works, but what it makes is not worth serving; `findings` say why. Send
    `accept_degenerate` to register it all the same."""

    slug, title = "model-degenerate", "The model is not worth serving"


class OverloadedError(SynthloomError):
    """More is asked for at once than the queue of the device holds."""

    slug, title, status = "overloaded", "Too much is asked for at once", 429


class UnavailableError(SynthloomError):
    """Try again later: the database is away, or the service is stopping."""

    slug, title, status = "unavailable", "The service can't answer right now", 503


class StorageFullError(SynthloomError):
    """No room for what would be written."""

    slug, title, status = "storage-full", "The storage is full", 507


# Failures of a running job, kept as its `problem`


class JobError(SynthloomError):
    """A job ends as failed."""

    slug, title = "job-failed", "The job failed"


class ModelCorruptError(JobError):
    """The stored checkpoint is not the one that was registered."""

    slug, title = "model-corrupt", "The model's stored files are damaged"


class DatasetCorruptError(JobError):
    """The stored file of a dataset is not the one that was uploaded."""

    slug, title = "dataset-corrupt", "The dataset's stored file is damaged"


class ModelUnusableError(JobError):
    """The checkpoint loads but can't do its work."""

    slug, title, status = "model-unusable", "The model can't generate", 422


class DeviceMemoryError(JobError):
    """Not even one image of the model fits into the device's memory."""

    slug, title = "device-memory", "The device's memory is too small"


class DryClassError(JobError):
    """Candidates of a class were refused until the limit was reached."""

    slug, title, status = "class-ran-dry", "A class could not be filled", 422


class GateFailedError(JobError):
    """What the job's gate asks for does not hold; `gate` has each condition and what came of it.
    The report is kept."""

    slug, title, status = "gate-failed", "The gate is not passed", 422


class PoisonShardError(JobError):
    """A shard, a comparison of shards or the last step of a job has ended its worker too often."""

    slug, title = "shard-gave-up", "A shard failed too often"


class RunError(JobError):
    """A training or an evaluation can't be done with this data and these options."""

    slug, title, status = "run-failed", "The training or evaluation failed", 422


class PoisonRunError(JobError):
    """A training or an evaluation has ended its process or its worker too often."""

    slug, title = "run-gave-up", "The training or evaluation ended without a word too often"


class SigningError(JobError):
    """A worker can't sign the images of a job that asks for it."""

    slug, title = "signing-failed", "The images can't be signed"


class DamagedShardError(JobError):
    """A stored shard is no longer what was written."""

    slug, title = "shard-damaged", "A stored shard is damaged"


class UnreadableArchiveError(JobError):
    """An archive of the job, read back by its format's reader, is not what the manifest says."""

    slug, title = "archive-unreadable", "An archive can't be read back"


class JobStoppedError(SynthloomError):
    """The job is no longer running: throw the work away. Never shown to a user."""

    slug, title = "job-stopped", "The job was stopped"


class ConfigurationError(SynthloomError):
    """The service refuses to start; the message is printed and the process ends."""

    slug, title = "configuration", "The service can't start like this"


class MissingObjectError(SynthloomError):
    """A row names a stored object that is gone."""

    slug, title, status = "object-missing", "A stored file is missing", 503


class DamagedRowsError(SynthloomError):
    """A stored file of manifest rows is no longer what was written."""

    slug, title, status = "rows-damaged", "Stored rows of the manifest are damaged", 503


def tree() -> list[type[SynthloomError]]:
    """Every class of the tree, in the order of definition."""
    found: list[type[SynthloomError]] = []
    pending = [SynthloomError]
    while pending:
        cls = pending.pop(0)
        found.append(cls)
        pending.extend(cls.__subclasses__())
    return found
