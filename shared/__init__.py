"""The booking sync: bookings in Dataverse and events in Microsoft 365 calendars, kept the same thing.

Read `sync` first: `sync.engine` is the main path, `sync.decide` the rules. `intake` turns posts into marks; `graph`,
`dataverse` and `tables` are the outside, behind the ports in `sync.ports`; `app` wires everything once per process.
"""
