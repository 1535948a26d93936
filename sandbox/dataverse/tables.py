"""The tables of scheduling: Field Service's bookings and what they lead to, and the people.

Names, casing, lengths and option values: Microsoft's table reference ("bookableresourcebooking table/entity reference"
and its neighbours) and the Common Data Model's schema documents. Of wide tables only the columns that this field uses
are here.
"""

from __future__ import annotations

from sandbox.dataverse.columns import choice, decimal, flag, guid, instant, integer, lookup, table, text
from sandbox.dataverse.schema import Column, Kind

ACTIVE_INACTIVE = {0: ("Active", {1: "Active"}), 1: ("Inactive", {2: "Inactive"})}
WORK_LOCATIONS = {690970000: "Onsite", 690970001: "Facility", 690970002: "Location Agnostic"}
RESOURCE_LOCATIONS = {
    690970000: "Resource Address",
    690970001: "Organizational Unit Address",
    690970002: "Location Agnostic",
}
BOOKING_TYPES = {1: "Solid", 2: "Liquid"}

BOOKING = table(
    "bookableresourcebooking",
    "bookableresourcebookings",
    "BookableResourceBooking",
    [
        text("name"),
        instant("starttime", required=True),
        instant("endtime", required=True),
        integer("duration", required=True, minimum=0),
        choice("bookingtype", BOOKING_TYPES, required=True),
        lookup(
            "resource",
            "bookableresource",
            "Resource",
            collection="bookableresource_bookableresourcebooking_Resource",
            required=True,
        ),
        lookup(
            "bookingstatus",
            "bookingstatus",
            "BookingStatus",
            collection="bookingstatus_bookableresourcebooking_BookingStatus",
            required=True,
        ),
        lookup(
            "header",
            "bookableresourcebookingheader",
            "Header",
            collection="bookableresourcebookingheader_bookableresourcebooking_Header",
        ),
        lookup(
            "msdyn_workorder",
            "msdyn_workorder",
            collection="msdyn_msdyn_workorder_bookableresourcebooking_WorkOrder",
        ),
        lookup(
            "msdyn_resourcerequirement",
            "msdyn_resourcerequirement",
            "msdyn_ResourceRequirement",
            collection="msdyn_resourcerequirement_bookableresourcebooking_ResourceRequirement",
        ),
        lookup(
            "msdyn_resourcegroup",
            "bookableresource",
            collection="msdyn_bookableresource_bookableresourcebooking_ResourceGroup",
        ),
        lookup(
            "msdyn_crew",
            "bookableresource",
            "msdyn_Crew",
            collection="msdyn_bookableresource_bookableresourcebooking_Crew",
        ),
        lookup("msdyn_appointmentbookingid", "appointment", "msdyn_AppointmentBookingId"),
        lookup("msdyn_bookingsetupmetadataid", "msdyn_bookingsetupmetadata", "msdyn_BookingSetupMetadataId"),
        lookup("msdyn_requirementgroupid", "msdyn_requirementgroup"),
        lookup("msdyn_timegroupdetailselected", "msdyn_timegroupdetail"),
        lookup("msdyn_agreementbookingdate", "msdyn_agreementbookingdate"),
        lookup("msdyn_projectid", "msdyn_project"),
        lookup("msdyn_projectteamid", "msdyn_projectteam"),
        lookup("msdyn_resourcecategoryid", "bookableresourcecategory"),
        lookup("transactioncurrencyid", "transactioncurrency"),
        choice(
            "msdyn_bookingmethod",
            {
                192350000: "Resource Scheduling Optimization",
                690970001: "Schedule Board",
                690970002: "Mobile",
                690970003: "Manual",
                690970004: "Schedule Assistant",
                690970005: "System - Agreement Schedule",
            },
            default=690970003,
        ),
        instant("msdyn_estimatedarrivaltime"),
        instant("msdyn_actualarrivaltime"),
        instant("msdyn_tzastarttime"),
        instant("msdyn_tzaendtime"),
        instant("msdyn_offlinetimestamp"),
        integer("msdyn_estimatedtravelduration", minimum=0),
        integer("msdyn_actualtravelduration", minimum=0),
        integer("msdyn_basetravelduration", minimum=0),
        integer("msdyn_totalbillableduration", minimum=0),
        integer("msdyn_totalbreakduration", minimum=0),
        integer("msdyn_totaldurationinprogress", minimum=0),
        text("msdyn_globalobjectid", 300),
        flag("msdyn_allowoverlapping"),
        flag("msdyn_cascadecrewchanges"),
        flag("msdyn_acceptcascadecrewchanges"),
        flag("msdyn_preventtimestampcreation"),
        flag("msdyn_traveltimerescheduling"),
        choice("msdyn_worklocation", WORK_LOCATIONS),
        choice("msdyn_crewmembertype", {192350000: "Leader", 192350001: "Member", 192350002: "None"}),
        choice(
            "msdyn_traveltimecalculationtype",
            {
                192350000: "Bing Maps without historical traffic",
                192350001: "Bing Maps with historical traffic",
                192350002: "Custom Map Provider",
                192350003: "Approximate",
            },
            default=192350000,
        ),
        decimal("msdyn_effort"),
        decimal("msdyn_latitude"),
        decimal("msdyn_longitude"),
        decimal("msdyn_milestraveled"),
        text("msdyn_signature", 15_000),
        text("msdyn_slottext", 8_000),
        text("msdyn_internalflags", 1_048_576),
        text("msdyn_ursinternalflags", 1_048_576),
        integer("timezoneruleversionnumber", minimum=-1, default=4),
        integer("utcconversiontimezonecode", minimum=-1),
        integer("importsequencenumber"),
        Column(name="overriddencreatedon", kind=Kind.INSTANT, read_only=True),
        Column(name="exchangerate", kind=Kind.DECIMAL, read_only=True),
        guid("processid"),
        guid("stageid"),
        text("traversedpath", 1250),
    ],
    owned=True,
    states=ACTIVE_INACTIVE,
)

RESOURCE = table(
    "bookableresource",
    "bookableresources",
    "BookableResource",
    [
        text("name", required=True),
        choice(
            "resourcetype",
            {
                1: "Generic",
                2: "Contact",
                3: "User",
                4: "Equipment",
                5: "Account",
                6: "Crew",
                7: "Facility",
                8: "Pool",
            },
            required=True,
        ),
        lookup("userid", "systemuser", "UserId", collection="systemuser_bookableresource_UserId"),
        lookup("contactid", "contact", "ContactId", collection="contact_bookableresource_ContactId"),
        lookup("accountid", "account", "AccountId", collection="account_bookableresource_AccountId"),
        integer("timezone", required=True, minimum=-1),
        guid("calendarid"),
        text("msdyn_primaryemail"),
        flag("msdyn_displayonscheduleboard", default=True),
        flag("msdyn_displayonscheduleassistant", default=True),
        choice("msdyn_startlocation", RESOURCE_LOCATIONS, default=690970002),
        choice("msdyn_endlocation", RESOURCE_LOCATIONS, default=690970002),
        integer("msdyn_targetutilization", minimum=0),
        flag("msdyn_enableoutlookschedules"),
        flag("msdyn_enableappointments"),
    ],
    owned=True,
    states=ACTIVE_INACTIVE,
)

BOOKING_STATUS = table(
    "bookingstatus",
    "bookingstatuses",
    "BookingStatus",
    [
        text("name", required=True),
        text("description"),
        choice("status", {1: "Proposed", 2: "Committed", 3: "Canceled"}, required=True),
        choice(
            "msdyn_fieldservicestatus",
            {
                690970000: "Scheduled",
                690970001: "Traveling",
                690970002: "On Break",
                690970003: "In Progress",
                690970004: "Completed",
                690970005: "Canceled",
            },
        ),
        choice(
            "msdyn_committype",
            {
                192350000: "None",
                192350001: "Hard Book",
                192350002: "Soft Book",
                192350003: "Proposed",
                192350004: "Canceled",
            },
        ),
        flag("msdyn_statuscompletesworkorder", default=True),
        text("msdyn_statuscolor"),
        text("msdyn_imageurl", 200),
    ],
    owned=True,
    states=ACTIVE_INACTIVE,
)

HEADER = table(
    "bookableresourcebookingheader",
    "bookableresourcebookingheaders",
    "BookableResourceBookingHeader",
    [
        text("name", required=True),
        instant("starttime", required=True),
        instant("endtime", required=True),
        integer("duration", required=True, minimum=0),
        choice("msdyn_bookingtype", BOOKING_TYPES),
        lookup("msdyn_bookableresourceid", "bookableresource", "msdyn_BookableResourceId"),
        lookup("msdyn_bookingstatusid", "bookingstatus", "msdyn_BookingStatusId"),
        lookup("msdyn_resourcerequirement", "msdyn_resourcerequirement", "msdyn_ResourceRequirement"),
    ],
    owned=True,
    states=ACTIVE_INACTIVE,
)

WORK_ORDER = table(
    "msdyn_workorder",
    "msdyn_workorders",
    "msdyn_workorder",
    [
        text("msdyn_name"),
        lookup("msdyn_serviceaccount", "account", collection="msdyn_account_msdyn_workorder_ServiceAccount"),
        lookup("msdyn_billingaccount", "account", collection="msdyn_account_msdyn_workorder_BillingAccount"),
        text("msdyn_workordersummary", 1_048_576),
        text("msdyn_instructions", 1_048_576),
        text("msdyn_address1", 250),
        text("msdyn_city", 80),
        text("msdyn_postalcode", 20),
        text("msdyn_country", 80),
        instant("msdyn_timefrompromised"),
        instant("msdyn_timetopromised"),
        choice(
            "msdyn_systemstatus",
            {
                690970000: "Unscheduled",
                690970001: "Scheduled",
                690970002: "In Progress",
                690970003: "Completed",
                690970004: "Posted",
                690970005: "Canceled",
            },
            default=690970000,
        ),
    ],
    name_column="msdyn_name",
    owned=True,
    states=ACTIVE_INACTIVE,
)

REQUIREMENT = table(
    "msdyn_resourcerequirement",
    "msdyn_resourcerequirements",
    "msdyn_resourcerequirement",
    [
        text("msdyn_name"),
        instant("msdyn_fromdate"),
        instant("msdyn_todate"),
        integer("msdyn_duration", minimum=0),
        choice("msdyn_worklocation", WORK_LOCATIONS),
        lookup("msdyn_workorder", "msdyn_workorder"),
    ],
    name_column="msdyn_name",
    owned=True,
    states=ACTIVE_INACTIVE,
)

USER = table(
    "systemuser",
    "systemusers",
    "SystemUser",
    [
        text("fullname", 200),
        text("firstname", 64),
        text("lastname", 64),
        text("title", 128),
        text("jobtitle"),
        text("internalemailaddress"),
        text("domainname", 1024, required=True),
        text("mobilephone", 64),
        guid("azureactivedirectoryobjectid"),
        guid("applicationid"),
        text("applicationiduri", 1024),
        flag("isdisabled"),
        flag("islicensed"),
        flag("isintegrationuser"),
        choice(
            "accessmode",
            {
                0: "Read-Write",
                1: "Administrative",
                2: "Read",
                3: "Support User",
                4: "Non-interactive",
                5: "Delegated Admin",
            },
            default=0,
        ),
        lookup("businessunitid", "businessunit", collection="business_unit_system_users", required=True),
        lookup("parentsystemuserid", "systemuser", collection="user_parent_user"),
        guid("organizationid"),
        guid("calendarid"),
    ],
    name_column="fullname",
)

ACCOUNT = table(
    "account",
    "accounts",
    "Account",
    [
        text("name", 160),
        text("accountnumber", 20),
        text("description", 2000),
        text("emailaddress1"),
        text("telephone1", 50),
        text("websiteurl", 200),
        text("address1_line1", 250),
        text("address1_city", 80),
        text("address1_postalcode", 20),
        text("address1_country", 80),
        decimal("address1_latitude"),
        decimal("address1_longitude"),
        decimal("revenue"),
        integer("numberofemployees", minimum=0),
        lookup("primarycontactid", "contact", collection="account_primary_contact"),
        lookup("parentaccountid", "account", collection="account_parent_account"),
    ],
    owned=True,
    states=ACTIVE_INACTIVE,
)

CONTACT = table(
    "contact",
    "contacts",
    "Contact",
    [
        text("fullname", 160),
        text("firstname", 50),
        text("lastname", 50),
        text("jobtitle"),
        text("emailaddress1"),
        text("telephone1", 50),
        lookup("parentcustomerid", "account", "parentcustomerid_account", collection="contact_customer_accounts"),
    ],
    name_column="fullname",
    owned=True,
    states=ACTIVE_INACTIVE,
)

BUSINESS_UNIT = table(
    "businessunit",
    "businessunits",
    "BusinessUnit",
    [
        text("name", 160, required=True),
        guid("organizationid"),
        flag("isdisabled"),
        lookup("parentbusinessunitid", "businessunit", collection="business_unit_parent_business_unit"),
    ],
)

ORGANIZATION = table(
    "organization",
    "organizations",
    "Organization",
    [
        text("name", 160),
        integer("languagecode", minimum=-1, default=1033),
        integer("expirechangetrackingindays", minimum=0, default=7),
    ],
)

SCHEDULING = (BOOKING, RESOURCE, BOOKING_STATUS, HEADER, WORK_ORDER, REQUIREMENT)
PEOPLE = (USER, ACCOUNT, CONTACT, BUSINESS_UNIT, ORGANIZATION)
