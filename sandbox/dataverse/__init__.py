"""Dataverse: the tables that hold bookings, read and written through the Web API, told about by webhooks.

`routes` takes a call apart, `pipeline` executes what it asks for, `state` keeps the rows, `webhooks` tells the outside,
`changes` tells who asks later. `cascades` is business logic for environments that should have some.
`schema` and `tables` say what exists. What the simulator does not know it refuses with 501.
"""
