"""A local Microsoft cloud on loopback: what the app talks to in production, small enough to run in a test.

Here live simulators of Entra ID, Microsoft Graph and Dataverse, a functions host round the real worker runtime, and a
control plane to seed, break and watch them. Nothing here imports the product (`shared`), and the product never imports
this: a fake that shared code with the client would share its mistakes.

Every simulator answers a `Request` value with a `Response` value. Sockets come on top (`sandbox.server`), so the same
simulators run inside one event loop under virtual time.
"""
