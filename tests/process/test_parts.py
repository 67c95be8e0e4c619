"""What a sidecar's application is made of."""

from kfunc.config.inference import Limits
from kfunc.config.pod import PodConfig
from kfunc.http.address import Address
from kfunc.process.sidecar import Parts


def test_nothing_waits_in_front_of_an_inner_process_of_ours_which_has_its_own_order_and_bounds() -> None:
    config = PodConfig(function="iris", limits=Limits(max_connections=3000))
    ours = Parts(config, "logger", Address(path="/inner"), access_log=0.0)
    theirs = Parts(config, "batcher", Address(host="127.0.0.1", port=8000), access_log=0.0)
    assert ours.pool.max_connections == 3000
    assert theirs.pool.max_connections < 1000
