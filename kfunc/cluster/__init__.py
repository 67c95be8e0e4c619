"""The cluster: its API (`connection.py`), what a function has there (`observing.py`), and what that means (`diagnosis.py`)."""
