module kfunc/tests/integration/go_proxy

go 1.24
