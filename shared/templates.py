"""The texts of an event, from the administrator's templates. Jinja in a sandbox, with bounded input and output."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.errors import RefusedError, SettingsError
from shared.sync.model import Booking
from shared.sync.translate import MOST_SUBJECT

MOST_TEMPLATE = 8_192
MOST_BODY = 32_768


class _Bounded(ImmutableSandboxedEnvironment):
    """Without what could make a short template run long: no ranges, no repetition, no powers, no macros."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:  # noqa: ARG002
        raise SecurityError(f"{operator!r} cannot be used in a template")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        if next(tree.find_all((nodes.Macro, nodes.CallBlock)), None) is not None:
            raise TemplateSyntaxError("macros cannot be used", 1)
        return tree


def _environment(*, escapes: bool) -> _Bounded:
    made = _Bounded(undefined=StrictUndefined, autoescape=escapes)
    for name in ("range", "lipsum", "cycler", "joiner", "namespace"):
        made.globals.pop(name)
    return made


_TEXT, _HTML = _environment(escapes=False), _environment(escapes=True)


def subject_template(setting: str, source: str) -> Callable[[Booking], str]:
    """A template for one line of plain text. Raises `SettingsError` naming `setting`."""
    render = _compile(_TEXT, setting, source, dataverse_url="")
    return lambda booking: " ".join(render(booking).split())[:MOST_SUBJECT]


def body_template(setting: str, source: str, dataverse_url: str) -> Callable[[Booking], str]:
    """A template for HTML; values are escaped. Raises `SettingsError` naming `setting`."""
    render = _compile(_HTML, setting, source, dataverse_url=dataverse_url)
    return lambda booking: render(booking).strip()[:MOST_BODY]


def may_tell_times(source: str) -> bool:
    """Whether a text by this template, which must be valid, may be another one when only the booking's times are."""
    return not find_undeclared_variables(_TEXT.parse(source)).isdisjoint({"start", "end", "columns"})


def _compile(
    environment: ImmutableSandboxedEnvironment, setting: str, source: str, *, dataverse_url: str
) -> Callable[[Booking], str]:
    if len(source) > MOST_TEMPLATE:
        raise SettingsError(f"{setting} is longer than {MOST_TEMPLATE} characters")
    try:
        template = environment.from_string(source)
    except TemplateError as error:
        raise SettingsError(f"{setting} is not a valid template: {error}") from error

    def render(booking: Booking) -> str:
        try:
            return template.render(_names(booking, dataverse_url))
        except Exception as error:
            raise RefusedError(f"{setting} fails on this booking: {type(error).__name__}") from error

    return render


def _names(booking: Booking, dataverse_url: str) -> Mapping[str, object]:
    """What a template may use."""
    record = f"{dataverse_url}/main.aspx?pagetype=entityrecord&etn=bookableresourcebooking&id={booking.id}"
    return {
        "name": booking.name,
        "account": booking.account,
        "work_order": booking.work_order,
        "status": booking.status.name,
        "resource": booking.resource.name,
        "start": booking.start,
        "end": booking.end,
        "link": record,
        "columns": booking.columns,
    }
