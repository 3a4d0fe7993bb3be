"""Which input of an ONNX graph is the latent and which the label, and what its output is.

Found by name and type, or stated in the spec. Where two could be meant, nothing is guessed: the
error says what to state. Imports no torch and no onnx.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

from models.errors import SpecError
from models.onnx_graph import WHOLE, GraphFacts, Port, listed
from models.onnx_options import FixedInput, Layout, OnnxOptions
from models.spec import ImageShape, ModelSpec


@dataclass(frozen=True)
class Binding:
    """How latents and labels become inputs of a graph, and its output images.

    latents: inputs that share the latent vector, each with all sides of one image known.
    label, form: the input that takes the class, and how; None without classes.
    batch: images of every run; None for any number.
    """

    latents: tuple[Port, ...]
    label: Port | None
    form: Literal["index", "column", "one_hot"]
    output: Port
    layout: Layout
    batch: int | None
    fixed: tuple[tuple[Port, FixedInput], ...]


def bind(facts: GraphFacts, spec: ModelSpec) -> Binding:
    """The binding of a spec's graph. Raises SpecError, which says what to state."""
    options = OnnxOptions.model_validate(spec.options)
    stated = {*options.latents, *options.fixed, *filter(None, [options.label])}
    by_name = {port.name: port for port in facts.inputs}
    if unknown := sorted(stated - by_name.keys()):
        raise SpecError(
            f"the graph has no input {unknown[0]!r}; its inputs are {listed(facts.inputs)}"
        )
    label = _label(facts, options, len(spec.classes))
    latents = _latents(facts, options, spec.latent_size, label)
    taken = {port.name for port in latents} | stated | ({label.name} if label else set())
    if left := tuple(port for port in facts.inputs if port.name not in taken):
        raise SpecError(
            f"input {left[0]} is neither latent nor label; give it a value under options.fixed, "
            "or name it in options.latents or options.label"
        )
    fixed = tuple((by_name[name], value) for name, value in options.fixed.items())
    output = _output(facts, options, spec.image)
    _check_range(output, spec)
    ports = (*latents, *((label,) if label else ()))
    return Binding(
        latents=latents,
        label=label,
        form=_form(label, options, len(spec.classes), facts.table_rows) if label else "index",
        output=output,
        layout=options.layout,
        batch=_batch(ports, options.batch),
        fixed=tuple(_checked(port, value) for port, value in fixed),
    )


def _label(facts: GraphFacts, options: OnnxOptions, class_count: int) -> Port | None:
    if not class_count:
        if options.label:
            raise SpecError(f"input {options.label!r} is the label, but the spec names no classes")
        return None
    if options.label:
        return next(port for port in facts.inputs if port.name == options.label)
    free = [p for p in facts.inputs if p.name not in {*options.latents, *options.fixed}]
    whole = [p for p in free if p.dtype in WHOLE and p.image_size in (None, 1, class_count)]
    hot = [p for p in free if p.is_float and len(p.shape) == 2 and p.image_size == class_count]
    found = whole or (hot if len(free) > 1 else [])
    if len(found) != 1:
        raise SpecError(
            f"{'several inputs' if found else 'no input'} could be the label among "
            f"{listed(facts.inputs)}; name it in options.label"
            + ("" if found else ', or set conditioning to "none"')
        )
    return found[0]


def _latents(
    facts: GraphFacts, options: OnnxOptions, latent_size: int, label: Port | None
) -> tuple[Port, ...]:
    if options.latents:
        by_name = {port.name: port for port in facts.inputs}
        found = tuple(by_name[name] for name in options.latents)
    else:
        found = _likely_latents(facts, options, latent_size, label)
    sized = tuple(_sized(port, latent_size) for port in found)
    total = sum(port.image_size or 0 for port in sized)
    if total != latent_size or not all(port.is_float for port in found):
        raise SpecError(
            f"the latent has {latent_size} numbers in the spec, and its inputs {listed(sized)} "
            f"take {total}; set latent_size, or name other float inputs in options.latents"
        )
    return sized


def _likely_latents(
    facts: GraphFacts, options: OnnxOptions, latent_size: int, label: Port | None
) -> tuple[Port, ...]:
    """The one float input that is left, or the one of the latent's size."""
    left = [p for p in facts.inputs if p.is_float and p != label and p.name not in options.fixed]
    fitting = [port for port in left if port.image_size == latent_size]
    found = left if len(left) == 1 else fitting
    if len(found) != 1:
        raise SpecError(
            f"which of the inputs {listed(facts.inputs)} takes the latent of {latent_size} "
            "numbers is not clear; name it in options.latents, and the others in options.fixed"
        )
    return tuple(found)


def _sized(port: Port, latent_size: int) -> Port:
    """The port with one open side filled by what the latent has."""
    sides = port.shape[1:]
    if not port.shape or None not in sides:
        return port
    rest = prod(side for side in sides if side is not None)
    if sides.count(None) > 1 or latent_size % max(rest, 1):
        raise SpecError(f"the sides of input {port} are open; export it with a fixed latent size")
    filled = (latent_size // rest if side is None else side for side in sides)
    return port.model_copy(update={"shape": (port.shape[0], *filled)})


def _form(
    label: Port, options: OnnxOptions, class_count: int, rows: dict[str, int]
) -> Literal["index", "column", "one_hot"]:
    form = options.label_form
    if form == "auto":
        if len(label.shape) < 2:
            form = "index"
        elif label.image_size == 1 and label.dtype in WHOLE:
            form = "column"
        elif label.image_size == class_count:
            form = "one_hot"
        else:
            raise SpecError(
                f"input {label} could take {class_count} classes in several forms; state "
                "options.label_form: index, column or one_hot"
            )
    if form == "one_hot" and label.image_size not in (None, class_count):
        raise SpecError(f"input {label} has no place for each of the {class_count} classes")
    if rows.get(label.name, class_count) < class_count:
        raise SpecError(
            f"the spec names {class_count} classes, and the table behind input {label.name!r} "
            f"has {rows[label.name]}"
        )
    return form


def _output(facts: GraphFacts, options: OnnxOptions, image: ImageShape) -> Port:
    wanted = _sides(image, options.layout)
    if options.output:
        found = [port for port in facts.outputs if port.name == options.output]
    else:
        found = [port for port in facts.outputs if _agrees(port.shape[1:], wanted)]
        found = list(facts.outputs) if len(facts.outputs) == 1 else found
    if len(found) != 1:
        raise SpecError(
            f"which of the outputs {listed(facts.outputs)} is the image of {list(wanted)} is not "
            "clear; name it in options.output"
        )
    if not _agrees(found[0].shape[1:], wanted):
        raise SpecError(
            f"output {found[0]} is no image of {list(wanted)}; check the image's size and "
            f"channels, and options.layout, which is {options.layout!r}"
        )
    return found[0]


def _sides(image: ImageShape, layout: Layout) -> tuple[int, ...]:
    height, width, channels = image.height, image.width, image.channels
    match layout:
        case "chw":
            return channels, height, width
        case "hwc":
            return height, width, channels
        case "hw":
            return height, width
    return (image.bytes,)


def _agrees(found: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    pairs = zip(found, wanted, strict=False)
    return len(found) == len(wanted) and all(f in (None, w) for f, w in pairs)


def _check_range(output: Port, spec: ModelSpec) -> None:
    if not output.is_float and tuple(spec.value_range) != (0.0, 255.0):
        raise SpecError(
            f"output {output} holds whole numbers, so value_range is [0, 255], "
            f"not {list(spec.value_range)}"
        )
    if spec.image.channels != 1 and spec.options.get("layout") == "hw":
        raise SpecError("layout hw is for images of one channel")


def _batch(ports: tuple[Port, ...], stated: int | None) -> int | None:
    """Images of a run: what the graph fixes, or the spec states."""
    fixed = {port.shape[0] if port.shape else 1 for port in ports} - {None}
    if len(fixed) > 1:
        raise SpecError(f"the inputs {listed(ports)} take different numbers of images")
    (graph,) = fixed or (None,)
    if stated and graph and stated != graph:
        raise SpecError(f"the graph takes {graph} images a run, not {stated}; set options.batch")
    return stated or graph


def _checked(port: Port, fixed: FixedInput) -> tuple[Port, FixedInput]:
    count = port.image_size if port.shape[:1] == (None,) else _whole_size(port)
    if count is None:
        raise SpecError(f"the sides of fixed input {port} are open; export it with fixed sides")
    if isinstance(fixed.value, tuple) and len(fixed.value) != count:
        raise SpecError(f"fixed input {port} takes {count} numbers, not {len(fixed.value)}")
    if fixed.seed is not None and not port.is_float:
        raise SpecError(f"fixed input {port} takes no normals; give it a value")
    return port, fixed


def _whole_size(port: Port) -> int | None:
    sides = [side for side in port.shape if side is not None]
    return prod(sides) if len(sides) == len(port.shape) else None
