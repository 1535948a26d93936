"""The engine. Its core (`model`, `translate`, `merge`, `decide`) is pure: standard library only, no clock, no I/O.

`engine` is the main path: lease, marks, snapshot, decide, apply, commit. All I/O goes through `ports`.
"""
