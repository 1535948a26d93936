"""Storage: Azure Tables and its in-memory twin behind one small port, and the app's rows on top.

`tables` is the port with exactly the semantics the app relies on; `azure` and `memory` implement it and pass one suite;
`store` knows what the rows mean. Only `azure` imports the SDK.
"""
