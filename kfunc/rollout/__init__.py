"""Safe changes of a function: a pure core that decides, a driver that acts on the cluster.

What a rollout is and how far it has come is in one ConfigMap of the cluster; a driver that is started again goes on from there.
"""
