"""Microsoft Graph v1.0, as far as a calendar sync uses it: users, calendars, events, batches.

What is not modelled is refused with 501 `NotImplemented` naming it: nobody shall believe that an ignored parameter
worked. `routes` takes calls apart, `state` holds the mailboxes, `errors` words the refusals.
"""
