"""The page at which people meet the sandbox: a week of bookings and events side by side, and what travels in between.

`board` tells what both sides hold and where they differ, `desk` does what people do, through the services' real APIs,
`calls` and `switches` are the log and the faults in words, `routes` serves it all. The page itself, in `static`, is
plain HTML, CSS and JavaScript, as it is.
"""
