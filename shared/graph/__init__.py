"""Microsoft Graph: `wire` is its JSON, `events` the calendar client. They carry out, they never decide."""
