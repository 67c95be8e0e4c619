module kfunc/tests/e2e/trivial

go 1.24
