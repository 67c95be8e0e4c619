"""The page at `/` of a function, for people: in the outermost process, and only where `inference.page` allows it.

What is imported before somebody opens it is `front` and `access`; Flask comes with the first visit, in a thread.
"""
