from __future__ import annotations

import pytest

from sandbox.functions.routes import ANY_METHOD, Routes, Template
from sandbox.functions.settings import SettingsError


def routes(*templates: str) -> Routes[str]:
    table: Routes[str] = Routes()
    for template in templates:
        assert table.add(Template(template), ANY_METHOD, template) is None
    return table


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("api/health", "/api/health", {}),
        ("api/Health", "/API/health", {}),
        ("api/health", "/api/health/", {}),
        ("api/{x}", "/api/Some%20Thing", {"x": "Some Thing"}),
        ("api/{x}", "/api/a%2Fb", {"x": "a%2Fb"}),
        ("api/{x}", "/api", None),
        ("api/{x}", "/api/a/b", None),
        ("api/{x:int}", "/api/12", {"x": "12"}),
        ("api/{x:int}", "/api/twelve", None),
        ("api/{x:guid}", "/api/7a1d0000-0000-4000-8000-0000000000aa", {"x": "7a1d0000-0000-4000-8000-0000000000aa"}),
        ("api/{x:guid}", "/api/7a1d", None),
        ("api/{x:int?}", "/api", {}),
        ("api/{x:int?}", "/api/1", {"x": "1"}),
        ("api/{*rest}", "/api/a/b/c", {"rest": "a/b/c"}),
        ("api/{*rest}", "/api", {}),
        ("api/a", "/other/a", None),
    ],
)
def test_a_template_matches_a_path(template: str, path: str, values: dict[str, str] | None) -> None:
    found = routes(template).find("GET", path)
    assert (found[1] if found else None) == values


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/known", "api/known"),
        ("/api/12", "api/{x:int}"),
        ("/api/other", "api/{x}"),
        ("/api/other/more", "api/{*rest}"),
    ],
)
def test_literal_goes_before_constrained_before_free_before_rest(path: str, template: str) -> None:
    found = routes("api/{*rest}", "api/{x}", "api/{x:int}", "api/known").find("GET", path)
    assert found
    assert found[0] == template


def test_a_route_of_another_method_is_not_found() -> None:
    table: Routes[str] = Routes()
    table.add(Template("api/a"), frozenset({"POST"}), "post")
    assert table.find("GET", "/api/a") is None
    assert table.find("POST", "/api/a")


def test_two_routes_collide_only_when_path_and_method_do() -> None:
    table: Routes[str] = Routes()
    assert table.add(Template("api/{x}"), frozenset({"GET"}), "first") is None
    assert table.add(Template("api/{y}"), frozenset({"POST"}), "other method") is None
    assert table.add(Template("api/{y:int}"), frozenset({"GET"}), "other shape") is None
    assert table.add(Template("API/{other}"), frozenset({"GET"}), "same") == "first"
    assert table.add(Template("api/{other}"), ANY_METHOD, "any") == "first"


@pytest.mark.parametrize(
    "template",
    [
        "api/{x:range(1,2)}",
        "api/{x}.{y}",
        "api//b",
        "api/{x?}/b",
        "api/{*rest}/b",
        "admin/x",
        "runtime/x",
        "api/{*r:int}",
    ],
)
def test_what_is_not_known_is_refused(template: str) -> None:
    with pytest.raises(SettingsError, match="route"):
        Template(template)
