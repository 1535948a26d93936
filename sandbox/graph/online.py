"""Online meetings: an event gets the address of a Teams meeting, and a piece of its body that leads there.

Microsoft Graph docs, "Create event", "Update event", "Choose an API in Microsoft Graph to create and join online
meetings": once a meeting is online it stays so, except that a body without that piece disables it. Unverified: what the
piece looks like, and what happens to a request that takes the meeting away otherwise, which is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from sandbox.graph.bodies import read_html
from sandbox.graph.events import Content
from sandbox.http import Json

PROVIDER = "teamsForBusiness"
_JOIN = "https://teams.microsoft.com/l/meetup-join/{}/0"
_PIECE = '<div class="me-email-text"><a href="{}">Join the meeting now</a></div>'


def settle_meeting(content: Content, new_id: Callable[[], str]) -> Content:
    """`content` with the address that a new online meeting gets, or without the meeting if its body leads nowhere."""
    if not content.is_online:
        return content
    if content.join_url is not None:
        leads_there = content.join_url in content.body.html
        return content if leads_there else replace(content, is_online=False, join_url=None)
    url = _JOIN.format(quote(f"19:meeting_{new_id()}@thread.v2", safe=""))
    body = content.body.html.removesuffix("</body></html>") + _PIECE.format(url)
    return replace(content, join_url=url, body=read_html(body.partition("<body>")[2] or body))


def meeting_json(content: Content) -> dict[str, Json]:
    """What an event says about its online meeting."""
    return {
        "isOnlineMeeting": content.is_online,
        "onlineMeetingProvider": PROVIDER if content.is_online else "unknown",
        "onlineMeeting": {"joinUrl": content.join_url} if content.is_online else None,
    }
