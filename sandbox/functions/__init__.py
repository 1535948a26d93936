"""A functions host round the Python worker runtime that Azure runs: what works here is what is deployed.

The worker (PyPI `azure-functions-runtime`) indexes the app, converts bindings and calls the functions. Here is what
the platform does around it: HTTP routes and keys, schedules, queue listeners, settings. It follows the public sources
of the host (Azure/azure-functions-host, the Storage Queues and Timers extensions) and the documentation; what it does
not know it refuses at the start.

    worker -> the runtime; settings -> host.json and app settings; http, timers, queues -> triggers; host -> all of them

One host per process: the runtime keeps its state in its modules.
"""
