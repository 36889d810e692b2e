"""Pages and files of runs for guests: read only, by tokens, with limits and an audit log.

`server.GuestServer` is the flow of a connection. What is served is a `Site`, a table of exact
addresses that is complete before the first guest: no address becomes a path, and nothing that a
guest sends starts anything.
"""

from __future__ import annotations
