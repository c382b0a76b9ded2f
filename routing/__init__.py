"""Who gets the call, as pure functions and machines.

in → out: callers who wait and desks that are free (events) → who is put through to whom (effects).

Not done here: carrying a decision out (`pbx.call`), districts, skills, overflow and priorities.
"""
