"""What lets calls and queue survive the death of signalling: a journal of live state, and the way back from it.

in → out: machines that changed (`sources`) → sealed frames in one file (`frames`, `journal`), before anything the change
caused leaves the process (`outward`); after a restart the file → the same machines (`continuity`).

The journal is no record of what happened (evidence and database are) and is kept for nobody to read: it is sealed with a key
that only the supervisor's memory holds, and means nothing after the supervisor or the machine has gone.
"""
