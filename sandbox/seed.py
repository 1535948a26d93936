"""The Contoso organisation: the people, rooms and things that a demo, a test or a benchmark starts from.

All ids are fixed (`known_id`), so they are the same in every run and survive a reset; only the secrets are drawn from
the cloud's seed. Nobody is told: it is all there as if it had always been.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sandbox.dataverse.privileges import SYSTEM_ADMINISTRATOR, Right, Role, privileges
from sandbox.dataverse.routes import BUSINESS_UNIT_ID, ORGANIZATION_ID, Dataverse
from sandbox.dataverse.schema import Reference, Value
from sandbox.directory import DOMAIN, Account, Application, Directory, RoomList, known_id
from sandbox.entra.certificates import known_key_pair
from sandbox.keyvault.routes import KeyVault
from sandbox.keyvault.routes import Role as VaultRole

PEOPLE = (
    *("Alice Anderson", "Bob Brandt", "Carol Castell", "Dave Doyle", "Erin Eklund", "Frank Ferrara", "Grace Gupta"),
    *("Heidi Hofer", "Ivan Ilic", "Judy Janssen", "Kevin Kowalski", "Laura Lindholm", "Mallory Moreau", "Niaj Noor"),
    *("Olivia Okafor", "Peggy Petersen", "Quentin Quast", "Rupert Rossi", "Sybil Santos", "Trent Tanaka"),
    *("Uma Ullrich", "Victor Vargas", "Wendy Weiss"),
)
WITHOUT_MAILBOX = "Xavier Xu"
ROOMS = {"room-1": "Room 1", "room-2": "Room 2"}
ROOM_LIST, SEATS = "Headquarters", 8
SPARE_VAN = "Spare Van"
CUSTOMERS = {
    "Adventure Works": "Seattle",
    "Fabrikam": "Munich",
    "Northwind Traders": "London",
    "Proseware": "Zurich",
    "Tailspin Toys": "Lyon",
    "Wide World Importers": "Rotterdam",
}
WORK = (
    *("Boiler service", "Lift inspection", "Replace pump", "Install charging point", "Repair door drive"),
    *("Calibrate scales", "Service cold room", "Exchange filter", "Annual safety check", "Network cabling"),
    *("Fit smoke detectors", "Repair conveyor"),
)
# Status category, Field Service status and commit type; the names are a customer's own, so two of them are canceled.
STATUSES: Mapping[str, tuple[int, int | None, int]] = {
    "Proposed": (1, None, 192350003),
    "Committed": (2, None, 192350001),
    "Canceled": (3, None, 192350004),
    "Scheduled": (2, 690970000, 192350001),
    "Traveling": (2, 690970001, 192350001),
    "On Break": (2, 690970002, 192350001),
    "In Progress": (2, 690970003, 192350001),
    "Completed": (2, 690970004, 192350001),
    "Field Service Canceled": (3, 690970005, 192350004),
}
BOOKING_SYNC_ROLES = ("Calendars.Read", "Calendars.ReadWrite")
PLANNER_ROLES = ("Calendars.ReadWrite", "User.Read.All")
"""Application permissions on Graph: what the app asks for, and what the people at their desks do."""
BOOKING_SYNC = Role(
    name="Booking Sync",
    privileges=privileges(
        Right.READ,
        (
            "account",
            "bookableresource",
            "bookableresourcebooking",
            "bookingstatus",
            "msdyn_workorder",
            "systemuser",
        ),
    )
    | privileges(Right.WRITE, ("bookableresourcebooking",))
    | privileges(Right.APPEND, ("bookableresourcebooking",))
    | privileges(Right.APPEND_TO, ("bookingstatus",)),
)
DISPATCHER = Role(
    name="Field Service - Dispatcher",
    privileges=BOOKING_SYNC.privileges.union(
        *(privileges(right, ("bookableresourcebooking", "msdyn_workorder")) for right in Right),
        privileges(Right.APPEND_TO, ("account", "bookableresource")),
    ),
)
"""Security roles in Dataverse, as far as they matter here; the planner is an administrator."""
CERTIFICATE, SECRET = "booking-sync", "booking-sync-secret"
"""What the vault holds: how the registration of the app proves itself, in two ways."""
GENERIC, USER, FACILITY = 1, 3, 7
AMSTERDAM_BERLIN = 110
NON_INTERACTIVE = 4
HARD_SECRET_BITS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who can be booked."""

    account: Account
    user_id: str
    resource_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A room that can be booked."""

    account: Account
    resource_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contoso:
    """What was seeded, by name: people by first name (`alice`), rooms by mailbox name (`room-1`), the rest by its name.

    `booking_sync` is the app's own registration; `planner` stands for the people at their desks: it writes to Dataverse
    as the planner in Dynamics does, and to calendars as the technician in Outlook does. `managed_identity` is what the
    app has in Azure without any registration; it may do the same.
    """

    organization_id: str
    people: Mapping[str, Person]
    rooms: Mapping[str, Room]
    spare_van: str
    statuses: Mapping[str, str]
    customers: Mapping[str, str]
    work_orders: Mapping[str, str]
    booking_sync: Application
    planner: Application
    managed_identity: Application

    def resource(self, name: str) -> str:
        """The id of the bookable resource of a person or a room."""
        return self.rooms[name].resource_id if name in self.rooms else self.people[name].resource_id

    def account(self, name: str) -> Account:
        """The account of a person or a room."""
        return self.rooms[name].account if name in self.rooms else self.people[name].account


def seed_contoso(directory: Directory, graph: object, dataverse: Dataverse) -> Contoso:  # noqa: ARG001
    """Fill the cloud. Doing it again repairs what is missing or changed; mailboxes come with their accounts."""
    statuses = {name: _status(dataverse, name) for name in STATUSES}
    customers = {name: _customer(dataverse, name, city) for name, city in CUSTOMERS.items()}
    people = [seed_person(directory, dataverse, name) for name in (*PEOPLE, WITHOUT_MAILBOX)]
    rooms = {name: _room(directory, dataverse, name, shown) for name, shown in ROOMS.items()}
    directory.room_lists[ROOM_LIST] = RoomList(
        id=known_id("roomlist", ROOM_LIST),
        name=ROOM_LIST,
        address=f"{ROOM_LIST.lower()}@{DOMAIN}",
        rooms=tuple(room.account.address for room in rooms.values()),
    )
    return Contoso(
        organization_id=ORGANIZATION_ID,
        people={person.account.address.partition("@")[0]: person for person in people},
        rooms=rooms,
        spare_van=_resource(dataverse, SPARE_VAN, {"resourcetype": GENERIC}),
        statuses=statuses,
        customers=customers,
        work_orders=dict(_work_order(dataverse, number, customers) for number in range(1, len(WORK) + 1)),
        booking_sync=_application(directory, dataverse, "Booking Sync", BOOKING_SYNC_ROLES, BOOKING_SYNC),
        planner=_application(directory, dataverse, "Planner", PLANNER_ROLES, SYSTEM_ADMINISTRATOR),
        managed_identity=_application(
            directory, dataverse, "Booking Sync Identity", BOOKING_SYNC_ROLES, BOOKING_SYNC, has_secret=False
        ),
    )


def seed_vault(contoso: Contoso, directory: Directory, vault: KeyVault) -> None:
    """Put certificate and secret of the app's registration into the vault, where its identity may read them."""
    pair = known_key_pair(CERTIFICATE)
    application = directory.applications[contoso.booking_sync.client_id]
    if pair.certificate not in application.certificates:
        directory.register(replace(application, certificates=(*application.certificates, pair.certificate)))
    if CERTIFICATE not in vault.state.secrets:
        vault.put_certificate(CERTIFICATE, pair)
    if SECRET not in vault.state.secrets:
        vault.put_secret(SECRET, application.secrets[0], content_type="text/plain")
    vault.roles[contoso.managed_identity.object_id] = VaultRole.SECRETS_USER
    vault.roles[contoso.planner.object_id] = VaultRole.SECRETS_OFFICER


def _status(dataverse: Dataverse, name: str) -> str:
    status_id, (status, field_service_status, commit_type) = known_id("bookingstatus", name), STATUSES[name]
    values: dict[str, Value] = {
        "name": name,
        "status": status,
        "msdyn_fieldservicestatus": field_service_status,
        "msdyn_committype": commit_type,
    }
    dataverse.load("bookingstatus", status_id, values)
    return status_id


def _customer(dataverse: Dataverse, name: str, city: str) -> str:
    customer_id = known_id("account", name)
    dataverse.load("account", customer_id, {"name": name, "address1_city": city})
    return customer_id


def _work_order(dataverse: Dataverse, number: int, customers: Mapping[str, str]) -> tuple[str, str]:
    name = f"WO-{number:05}"
    work_order_id = known_id("workorder", name)
    customer = list(customers)[number % len(customers)]
    values: dict[str, Value] = {
        "msdyn_name": name,
        "msdyn_workordersummary": WORK[number - 1],
        "msdyn_serviceaccount": Reference("account", customers[customer]),
        "msdyn_city": CUSTOMERS[customer],
    }
    dataverse.load("msdyn_workorder", work_order_id, values)
    return name, work_order_id


def seed_person(directory: Directory, dataverse: Dataverse, name: str) -> Person:
    """Somebody with an account, a mailbox, a user in Dataverse and a bookable resource."""
    short = name.partition(" ")[0].lower()
    account = directory.add(
        Account(
            id=known_id("user", short),
            name=name,
            address=f"{short}@{DOMAIN}",
            has_mailbox=name != WITHOUT_MAILBOX,
        )
    )
    first, _, last = name.partition(" ")
    values: dict[str, Value] = {"firstname": first, "lastname": last, "accessmode": 0}
    user_id = _user(dataverse, known_id("systemuser", short), name, account.address, account.id, values)
    dataverse.roles[user_id] = DISPATCHER
    resource_id = _resource(
        dataverse,
        name,
        {
            "resourcetype": USER,
            "userid": Reference("systemuser", user_id),
            "msdyn_primaryemail": account.address,
        },
    )
    return Person(account=account, user_id=user_id, resource_id=resource_id)


def _room(directory: Directory, dataverse: Dataverse, name: str, shown: str) -> Room:
    address = f"{name}@{DOMAIN}"
    account = directory.add(
        Account(
            id=known_id("room", name), name=shown, address=address, is_room=True, capacity=SEATS, building=ROOM_LIST
        )
    )
    values: dict[str, Value] = {"resourcetype": FACILITY, "msdyn_primaryemail": address}
    return Room(account=account, resource_id=_resource(dataverse, shown, values))


def _application(
    directory: Directory,
    dataverse: Dataverse,
    name: str,
    graph_roles: tuple[str, ...],
    role: Role,
    *,
    has_secret: bool = True,
) -> Application:
    """A registration or an identity with its application user; one that is there keeps its secret."""
    client_id = known_id("application", name)
    application = directory.applications.get(client_id) or directory.register(
        Application(
            client_id=client_id,
            object_id=known_id("serviceprincipal", name),
            name=name,
            secrets=(f"{dataverse.cloud.random.getrandbits(HARD_SECRET_BITS):040x}",) if has_secret else (),
            graph_roles=graph_roles,
        )
    )
    address = f"{name.lower().replace(' ', '')}@{DOMAIN}"
    values: dict[str, Value] = {"applicationid": client_id, "accessmode": NON_INTERACTIVE}
    user_id = _user(dataverse, known_id("systemuser", name), f"# {name}", address, application.object_id, values)
    dataverse.roles[user_id] = role
    return application


def _user(  # noqa: PLR0917 - private, and each is another column
    dataverse: Dataverse, user_id: str, name: str, address: str, object_id: str, more: Mapping[str, Value]
) -> str:
    values: dict[str, Value] = {
        "fullname": name,
        "domainname": address,
        "internalemailaddress": address,
        "azureactivedirectoryobjectid": object_id,
        "businessunitid": Reference("businessunit", BUSINESS_UNIT_ID),
        "organizationid": ORGANIZATION_ID,
        "isdisabled": False,
    }
    dataverse.load("systemuser", user_id, {**values, **more})
    return user_id


def _resource(dataverse: Dataverse, name: str, values: Mapping[str, Value]) -> str:
    resource_id = known_id("bookableresource", name)
    dataverse.load("bookableresource", resource_id, {"name": name, "timezone": AMSTERDAM_BERLIN, **values})
    return resource_id
