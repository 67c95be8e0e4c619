"""The handler container: model runtimes behind the contract, and the server in front of them."""
