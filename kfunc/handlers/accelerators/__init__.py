"""Which device a model runs on: what there is (`probe`), what a runtime can use of it (`selection`), what works (`choice`).

`facts`, `visibility` and `selection` are pure; `probe` and `nvml` read the machine and import no framework.
"""
