"""The load generator of `kfunc bench`: connections of its own, arrivals, figures, reports. It knows no server's code.

`arrivals`, `histogram`, `results`, `text_report`, `html_report`, `h2_frames` are sans-IO; the rest runs on one event loop.
"""
