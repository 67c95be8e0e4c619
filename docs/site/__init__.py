"""The documentation's site: pages of this folder and of docs/, and the reference made from the code (`make docs`)."""
