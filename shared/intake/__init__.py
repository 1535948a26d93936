"""Posts become marks: check who speaks, say what may have changed, store that, name the shards to wake.

Nothing here calls a service: a post must be answered in time and must not be lost.
"""
