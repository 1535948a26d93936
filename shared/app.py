"""The composition root: settings in, a working app out. One per worker process."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random

from shared.azure_sdk import managed_identity
from shared.conditions import compile_condition
from shared.dataverse.bookings import DataverseBookings
from shared.dataverse.changes import DataverseChanges
from shared.dataverse.envelopes import Envelopes
from shared.dataverse.lanes import Rows
from shared.dataverse.organization import Organization
from shared.dispatch import Dispatcher, Form, Lanes
from shared.errors import SettingsError
from shared.graph.changes import GraphChanges
from shared.graph.data import GraphData
from shared.graph.envelope import JsonBatch
from shared.graph.events import GraphEvents
from shared.graph.lanes import Mailboxes
from shared.graph.legacy import GraphLegacy
from shared.graph.subscriptions import GraphSubscriptions
from shared.graph.wire import Style
from shared.http import Caller, Tokens, Transport
from shared.identity import CachedTokens, IdentityTokens, RegistrationTokens
from shared.intake.inbox import Inbox
from shared.intake.notices import Notices
from shared.proof import Proof
from shared.secrets import GivenSecret, KeyVault, Secrets
from shared.settings import Settings
from shared.sync.adopt import Adoption
from shared.sync.budget import Budget
from shared.sync.engine import Engine
from shared.sync.housekeeping import Housekeeping
from shared.sync.mend import Mending
from shared.sync.merge import Rules
from shared.sync.model import Booking
from shared.sync.ports import Clock
from shared.sync.pull import Pull
from shared.sync.rebuild import Rebuild
from shared.sync.recover import Recovery
from shared.sync.restore import Restoring
from shared.sync.route import Router
from shared.sync.subscribe import Subscribing
from shared.sync.subscriptions import Terms
from shared.sync.sweep import Sweep
from shared.sync.translate import Policy
from shared.tables.azure import AzureTables
from shared.tables.budget import TableBudget
from shared.tables.calendars import TableCalendars
from shared.tables.cursors import TableCursors
from shared.tables.housekeeping import TableHousekeeping
from shared.tables.journal import TableJournal
from shared.tables.rebuilding import TableRebuildStore
from shared.tables.store import TableStore
from shared.tables.subscriptions import TableSubscriptions
from shared.tables.sweeping import TableSweep
from shared.tables.tables import Tables
from shared.templates import body_template, may_tell_times, subject_template
from shared.transport import AiohttpTransport

TIMES = frozenset({"starttime", "endtime", "duration"})
"""Columns that are others as soon as a booking is moved."""
SUBSCRIBING = 2
"""How many requests about subscriptions are under way at once, beside those about events."""


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """The present instant in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Let others run for `seconds`."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Everything that is not the app itself: time, chance, secrets, tokens, network and storage (R12)."""

    clock: Clock
    random: Random
    new_secret: Callable[[], str]
    secrets: Secrets | None
    transport: Transport
    tokens: Tokens
    tables: Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What the functions call."""

    inbox: Inbox
    notices: Notices
    engine: Engine
    pull: Pull
    subscribing: Subscribing
    recovery: Recovery
    sweep: Sweep
    restoring: Restoring
    housekeeping: Housekeeping


def build(settings: Settings, outside: Outside) -> App:
    """Wire the app. Raises `SettingsError` for templates, filters and columns that cannot be used."""
    store = TableStore(outside.tables, outside.random, settings.shards)
    is_wanted, wanted_columns = _condition("SYNC_FILTER", settings.filter, otherwise=True)
    is_masked, masked_columns = _condition("SYNC_MASK", settings.mask, otherwise=False)

    def caller(base: str, scope: str, lanes: Lanes, form: Form) -> Caller:
        return Caller(
            base=base,
            scope=scope,
            transport=Dispatcher(outside.transport, lanes=lanes, form=form, clock=outside.clock),
            tokens=outside.tokens,
            clock=outside.clock,
            random=outside.random,
        )

    dataverse = caller(settings.dataverse, f"{settings.dataverse}/.default", Rows(), Envelopes())
    graph = caller(settings.graph, settings.graph_scope, Mailboxes(settings.graph_requests), JsonBatch(settings.graph))
    organization = Organization(dataverse, settings.organization)
    try:
        bookings = DataverseBookings(
            dataverse,
            organization=organization,
            columns=wanted_columns | masked_columns,
            mailboxes=settings.mailboxes,
            canceled_name=settings.canceled_status,
        )
    except ValueError as error:
        raise SettingsError(f"SYNC_FILTER, SYNC_MASK: {error}") from error
    style = Style(category=settings.category, of_status=frozenset(settings.categories.values()), zone=settings.zone)
    events = GraphEvents(graph, style=style, clock=outside.clock)
    policy = Policy(
        organization=settings.organization,
        subject=subject_template("SYNC_SUBJECT_TEMPLATE", settings.subject),
        body=body_template("SYNC_BODY_TEMPLATE", settings.body, settings.dataverse),
        show_as=settings.show_as,
        categories=settings.categories,
        past=settings.past,
        future=settings.future,
        is_wanted=is_wanted,
        keeps_canceled=settings.keeps_canceled,
        canceled_prefix=settings.canceled_prefix,
        is_masked=is_masked,
        masked_subject=settings.masked_subject,
        depends_on_times=may_tell_times(settings.subject)
        or may_tell_times(settings.body)
        or not TIMES.isdisjoint(wanted_columns | masked_columns),
        rules=Rules(edits=settings.edits, winners=settings.conflicts),
        on_deleted=settings.on_deleted,
    )
    engine = Engine(
        bookings=bookings,
        events=events,
        store=store,
        rebuild=Rebuild(
            bookings=bookings,
            events=events,
            store=TableRebuildStore(outside.tables, store, settings.shards),
            clock=outside.clock,
            organization=settings.organization,
            shards=settings.shards,
            adoption=_adoption(settings, bookings, events, style, outside.clock),
        ),
        budget=Budget(store=TableBudget(outside.tables), clock=outside.clock, limits=settings.deletions),
        policy=policy,
        shards=settings.shards,
        clock=outside.clock,
        random=outside.random,
    )
    router = Router(store=store, clock=outside.clock, shards=settings.shards)
    inbox = Inbox(
        router=router,
        store=store,
        clock=outside.clock,
        organization=settings.organization,
        shards=settings.shards,
    )
    feed = DataverseChanges(dataverse, organization)
    pull = Pull(
        feed=feed,
        cursors=TableCursors(outside.tables),
        router=router,
        clock=outside.clock,
        past=settings.past,
        future=settings.future,
        policy=settings.policy,
    )
    data = _data(settings, outside, style)
    subscriptions = TableSubscriptions(outside.tables)
    subscribing = Subscribing(
        bookings=bookings,
        side=GraphSubscriptions(
            caller(settings.graph, settings.graph_scope, Mailboxes(SUBSCRIBING), JsonBatch(settings.graph))
        ),
        store=subscriptions,
        clock=outside.clock,
        terms=partial(_terms, settings, data),
        new_secret=outside.new_secret,
    )
    notices = Notices(marks=store, subscriptions=subscriptions, data=data, clock=outside.clock, shards=settings.shards)
    recovery = Recovery(
        bookings=bookings,
        feed=GraphChanges(graph),
        store=TableCalendars(outside.tables, store, settings.shards),
        notes=subscriptions,
        clock=outside.clock,
        shards=settings.shards,
        past=settings.past,
        future=settings.future,
    )
    sweeping = TableSweep(outside.tables, settings.shards)
    sweep = Sweep(
        bookings=bookings,
        feed=feed,
        events=events,
        store=store,
        notes=sweeping,
        mending=Mending(store=store, links=sweeping, clock=outside.clock, shards=settings.shards),
        clock=outside.clock,
        policy=policy,
        shards=settings.shards,
    )
    restoring = Restoring(
        store=TableJournal(outside.tables, store, settings.shards, settings.journal_months),
        clock=outside.clock,
        edits=settings.edits,
        shards=settings.shards,
    )
    housekeeping = Housekeeping(
        store=TableHousekeeping(outside.tables, settings.shards),
        clock=outside.clock,
        journal_months=settings.journal_months,
        dead_letter_life=settings.dead_letter_life,
    )
    return App(
        inbox=inbox,
        notices=notices,
        engine=engine,
        pull=pull,
        subscribing=subscribing,
        recovery=recovery,
        sweep=sweep,
        restoring=restoring,
        housekeeping=housekeeping,
    )


def _data(settings: Settings, outside: Outside, style: Style) -> GraphData | None:
    """What notifications bring along, where that is wanted."""
    if not settings.notification_certificate or outside.secrets is None:
        return None
    proof = Proof(
        outside.transport,
        outside.clock,
        authority=settings.authority,
        tenant=settings.tenant,
        app=settings.client or settings.managed_identity,
    )
    return GraphData(secrets=outside.secrets, name=settings.notification_certificate, proof=proof, style=style)


async def _terms(settings: Settings, data: GraphData | None) -> Terms:
    """How subscriptions are to be made, as of now."""
    certificate = await data.certificate() if data is not None and settings.notification_url else None
    return Terms(url=settings.notification_url, certificate=certificate)


def _adoption(
    settings: Settings, bookings: DataverseBookings, events: GraphEvents, style: Style, clock: Clock
) -> Adoption | None:
    if settings.extension is None:
        return None
    return Adoption(
        bookings=bookings,
        legacy=GraphLegacy(events, style, *settings.extension),
        clock=clock,
        organization=settings.organization,
        past=settings.past,
    )


def _condition(setting: str, source: str, *, otherwise: bool) -> tuple[Callable[[Booking], bool], frozenset[str]]:
    """The condition in `setting` and the columns it asks for; where there is none, the answer is always `otherwise`."""
    if not source:
        return (lambda _: otherwise), frozenset()
    condition, columns = compile_condition(setting, source)
    return (lambda booking: condition(booking.columns)), columns


def tokens_of(settings: Settings, clock: Clock, *, ca: str = "") -> Tokens:
    """Who the app is: an app registration if the settings name one, else its managed identity.

    `ca` is for a Key Vault with a certificate that the machine does not trust.
    """
    identity = partial(managed_identity, settings.managed_identity)
    if not settings.client:
        return CachedTokens(IdentityTokens(identity).fetch, clock)
    registration = RegistrationTokens(
        authority=settings.authority,
        tenant=settings.tenant,
        client_id=settings.client,
        secrets=GivenSecret(settings.client_secret) if settings.client_secret else vault_of(settings, clock, ca=ca),
        name=settings.credential,
        clock=clock,
    )
    return CachedTokens(registration.fetch, clock)


def vault_of(settings: Settings, clock: Clock, *, ca: str = "") -> KeyVault:
    """The vault that the settings name, read by the managed identity; `ca` as above."""
    identity = partial(managed_identity, settings.managed_identity)
    return KeyVault(settings.keyvault, identity, clock=clock, keep=settings.keep_secrets, ca=ca)


async def start() -> App:
    """The app on the real outside, from the process environment. Raises `SettingsError`."""
    settings = Settings.from_environment(os.environ)
    # The SDK logs every request in two long lines; what matters of them is in the engine's own line.
    logging.getLogger("azure").setLevel(logging.WARNING)
    clock = SystemClock()
    tables = (
        AzureTables.from_connection_string(settings.storage, settings.table)
        if settings.storage
        else AzureTables.from_identity(
            settings.storage_tables, managed_identity(settings.managed_identity), settings.table
        )
    )
    await tables.create()
    await TableStore(tables, Random(), settings.shards).without_epoch()  # noqa: S311 - refuses a changed SYNC_SHARDS
    outside = Outside(
        clock=clock,
        random=Random(secrets.randbits(128)),  # noqa: S311 - spreads retries and names rows, guards nothing
        new_secret=partial(secrets.token_urlsafe, 32),
        secrets=vault_of(settings, clock) if settings.keyvault else None,
        transport=AiohttpTransport(),
        tokens=tokens_of(settings, clock),
        tables=tables,
    )
    return build(settings, outside)


def once(starting: Callable[[], Awaitable[App]] = start) -> Callable[[], Awaitable[App]]:
    """A function that starts the app at its first call and then always gives the same; a failed start is repeated."""
    lock = asyncio.Lock()
    running: list[App] = []

    async def get() -> App:
        async with lock:
            if not running:
                running.append(await starting())
        return running[0]

    return get
