"""HTTP/2 behind the interface of `kfunc.http.exchange`: a sans-IO core, and the connection that drives it."""
