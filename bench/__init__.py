"""kfunc's figures, each measured beside something run in the same call: `python -m bench [NAME …]`.

Nothing here ships and nothing here is asserted by a test: a time is a measurement, not a fact.
"""
