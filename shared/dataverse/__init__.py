"""Dataverse: `wire` is its JSON, `bookings` the Web API client. They carry out, they never decide."""
