"""Texts from the administrator's templates."""

from __future__ import annotations

import pytest

from shared.errors import RefusedError, SettingsError
from shared.settings import Settings
from shared.sync.translate import MOST_SUBJECT
from shared.templates import MOST_BODY, body_template, may_tell_times, subject_template
from tests.app.test_settings import COMPLETE
from tests.core.builders import BOOKING, booking

DYNAMICS = "https://contoso.crm4.dynamics.com"


def defaults() -> Settings:
    return Settings.from_environment(COMPLETE)


def test_the_default_subject_is_the_customer_or_the_name() -> None:
    render = subject_template("S", defaults().subject)
    assert render(booking(account="Fabrikam")) == "Fabrikam"
    assert render(booking(account="")) == "Boiler service"


def test_the_default_body_names_status_and_work_order_and_leads_to_the_record() -> None:
    render = body_template("S", defaults().body, DYNAMICS)
    html = render(booking(work_order="WO-00042"))
    assert "Committed" in html
    assert "WO-00042" in html
    assert f'href="{DYNAMICS}/main.aspx?pagetype=entityrecord&amp;etn=bookableresourcebooking&amp;id={BOOKING}"' in html


def test_values_are_escaped_in_html_and_kept_in_plain_text() -> None:
    hostile = booking(account="<script>alert('x')</script>")
    assert "<script>" not in body_template("S", "<p>{{ account }}</p>", DYNAMICS)(hostile)
    assert subject_template("S", "{{ account }}")(hostile) == "<script>alert('x')</script>"


def test_a_subject_is_one_line_of_bounded_length() -> None:
    assert subject_template("S", "a\n  b\t{{ name }}")(booking(name="c\r\nd")) == "a b c d"
    assert len(subject_template("S", "{{ name }}")(booking(name="x" * 1000))) == MOST_SUBJECT


@pytest.mark.parametrize(
    "source",
    ["{{ name", "{% if %}", "{% include 'x' %}", "x" * 8193],
    ids=["not closed", "syntax", "include", "too long"],
)
def test_a_template_that_cannot_work_is_refused_at_the_start(source: str) -> None:
    with pytest.raises((SettingsError, RefusedError), match="SYNC_SUBJECT_TEMPLATE"):
        subject_template("SYNC_SUBJECT_TEMPLATE", source)(booking())


@pytest.mark.parametrize(
    "source",
    [
        "{{ unknown }}",
        "{{ name.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ columns.clear() }}",
        "{{ 1 / 0 }}",
        "{{ range(100000000) | list }}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ '%01000000000d' % 1 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(source: str) -> None:
    with pytest.raises((RefusedError, SettingsError), match="SYNC_SUBJECT_TEMPLATE"):
        subject_template("SYNC_SUBJECT_TEMPLATE", source)(booking())


def test_a_body_is_bounded() -> None:
    assert len(body_template("S", "{{ name }}", DYNAMICS)(booking(name="x" * 100000))) == MOST_BODY


@pytest.mark.parametrize("source", ["{{ start }}", "{% if end.hour > 12 %}pm{% endif %}", "{{ columns.starttime }}"])
def test_r13_a_template_that_may_tell_times_is_known_and_the_default_ones_do_not(source: str) -> None:
    assert may_tell_times(source)
    assert not may_tell_times(defaults().subject)
    assert not may_tell_times(defaults().body)
