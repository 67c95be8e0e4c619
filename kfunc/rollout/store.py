"""Keeps the record in its ConfigMap: the one place where it is written."""

from kfunc.cluster.connection import Cluster
from kfunc.cluster.faults import CONFLICT
from kfunc.cluster.rollout_record import record_name
from kfunc.errors import ClusterError
from kfunc.rollout.driver import Conflict
from kfunc.rollout.record import Record, from_config_map, to_config_map

KIND = "ConfigMap"


class ConfigMapStore:
    """The record of one function."""

    def __init__(self, cluster: Cluster, function: str, namespace: str) -> None:
        self._cluster, self.function, self.namespace = cluster, function, namespace

    def now(self) -> float:
        """The time by the cluster's clock, which the record's times are of. Raises ClusterError."""
        return self._cluster.now()

    def read(self) -> Record | None:
        """The record, or None. Raises ClusterError, and KfuncError for a ConfigMap that is none."""
        found = self._cluster.get(KIND, record_name(self.function), self.namespace)
        return None if found is None else from_config_map(found)

    def write(self, record: Record) -> Record:
        """Keep the record, new where it has no version. Raises Conflict where somebody else wrote meanwhile."""
        manifest = to_config_map(record)
        if not record.version:
            if not self._cluster.create(manifest):
                raise Conflict(f"somebody else has begun a rollout of {self.function}")
            return self.read() or record
        try:
            body = {"metadata": manifest["metadata"], "data": manifest["data"]}
            written = self._cluster.patch(KIND, record_name(self.function), self.namespace, body)
        except ClusterError as error:
            if error.code == CONFLICT:
                raise Conflict(f"the rollout of {self.function} was changed meanwhile") from None
            raise
        return from_config_map(written)
