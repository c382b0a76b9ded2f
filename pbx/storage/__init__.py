"""Storage: what outlives calls.

in → out: `outbox.append` → journal segments on disk → `records` → PostgreSQL through `database`, which `keeper` keeps
running (`embedded`, `place`, `postmaster`) unless the site has its own. `accounts` answers who may register from memory.
Nothing here is awaited on the way of a call.

Not done here: retention, replication, major-version upgrades of the embedded cluster.
"""
