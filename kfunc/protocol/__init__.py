"""Messages of an inference call and their codecs. No external calls, no clock, no I/O of any kind."""
