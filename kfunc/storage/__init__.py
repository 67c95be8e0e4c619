"""Models from wherever their URI says, into a folder that functions share.

`planning.py`, `eviction.py` and `names.py` are pure; a source (one file per scheme) lists and reads, `download.py` moves
the bytes, `cache.py` keeps them, `fetching.py` joins the three. Blocking: callers use a thread. Imported when a URI needs it.
"""
