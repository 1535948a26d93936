"""A functions host round the Python worker runtime that Azure runs: what works here is what is deployed.

The worker (PyPI `azure-functions-runtime`) indexes the app, converts bindings and calls the functions. Here is what
the platform does around it: HTTP routes and keys, schedules, queue listeners, settings. It follows the public sources
of the host (Azure/azure-functions-host, the Storage Queues and Timers extensions) and the documentation; what it does
not know it refuses at the start.

    worker -> the runtime; settings -> host.json and app settings; http, timers, queues -> triggers; host -> all of them

One host per process: the runtime keeps its state in its modules.

Where it differs from the platform:

- Timers: in Azure one of several hosts runs a timer, by the lease of a blob, and after a crash the timer may rest for
  a minute or so. Here every host runs every timer from its start: an app that stands this stands the other.
- A function that takes longer than the function timeout: Azure restarts the worker process, what ran in it has failed,
  and calls wait for the new one. Here the host ends with its worker (exit code 3) and calls find nobody until it was
  started again, as `sandbox.up` does.
- A function that blocks the event loop: Azure ends it by the same time-out. Here nothing does.
"""
