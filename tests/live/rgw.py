"""A Ceph cluster of one host with its object gateway: monitor, object storage daemon in memory, radosgw."""

from __future__ import annotations

import json
import uuid

from live.node import Node, free_port, settings
from servers import CREDENTIALS, HOST


class RGW(Node):
    """Ceph's object gateway. Daemons trust one another by keys made here; S3 requests are signed and checked."""

    programs = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "ceph-authtool", "monmaptool")
    packages = ("radosgw", "ceph-osd", "ceph-mon", "ceph-mgr", "ceph-mgr-modules-core", "ceph-common")
    access_key = CREDENTIALS["AWS_ACCESS_KEY_ID"]
    secret_key = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]

    def start_programs(self) -> None:
        cluster = str(uuid.uuid1())
        self._write_configuration(cluster)
        self._start_monitor(cluster)
        self._start_storage()
        self.spawn("rgw", "radosgw", *self._config, "-n", "client.admin", "-f")
        self.until_listening(self.port)
        self.run(
            "radosgw-admin", *self._config, "user", "create", "--uid", "milepost", "--display-name", "milepost",
            "--access-key", self.access_key, "--secret-key", self.secret_key,
        )  # fmt: skip

    @property
    def _config(self) -> tuple[str, str]:
        return "-c", str(self.folder / "ceph.conf")

    def _write_configuration(self, cluster: str) -> None:
        here = self.folder
        monitor = f"[v2:{HOST}:{free_port()},v1:{HOST}:{free_port()}]"
        every = {
            "fsid": cluster,
            "mon_host": monitor,
            "keyring": here / "keyring",
            "public_addr": HOST,
            "cluster_addr": HOST,
            "ms_bind_ipv6": "false",
            "run_dir": here,
            "log_file": here / "$name.log",
            "pid_file": here / "$name.pid",
            "admin_socket": here / "$name.$pid.asok",
            "crash_dir": here,
            "auth_allow_insecure_global_id_reclaim": "false",
        }
        # One copy of everything, on one device: nobody waits for a second.
        pools = {
            "osd_pool_default_size": 1,
            "osd_pool_default_min_size": 1,
            "osd_pool_default_pg_num": 1,
            "osd_pool_default_pgp_num": 1,
            "osd_pool_default_pg_autoscale_mode": "off",
            "osd_crush_chooseleaf_type": 0,
            "mon_allow_pool_size_one": "true",
            "mon_max_pg_per_osd": 1000,
        }
        gateway = {
            "rgw_data": here / "rgw",
            # Without tcp_nodelay each small answer waits for the client's delayed acknowledgement.
            "rgw_frontends": f"beast endpoint={HOST}:{self.port} tcp_nodelay=1",
        }
        text = settings({
            "global": every | pools,
            "mon.a": {"mon_data": here / "mon", "mon_data_avail_crit": 1, "mon_data_avail_warn": 2},
            "osd.0": {
                "osd_data": here / "osd",
                "keyring": here / "osd" / "keyring",
                "osd_objectstore": "memstore",
                "memstore_device_bytes": 2 * 2**30,
            },
            "client.admin": gateway,
        })  # fmt: skip
        (here / "ceph.conf").write_text(text)
        self._monitor = monitor
        for name in ("mon", "osd", "rgw"):
            (here / name).mkdir()

    def _start_monitor(self, cluster: str) -> None:
        keys = str(self.folder / "keyring")
        self.run(
            "ceph-authtool", "--create-keyring", keys, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"
        )
        everything = [word for part in ("mon", "osd", "mgr") for word in ("--cap", part, "allow *")]
        self.run("ceph-authtool", keys, "--gen-key", "-n", "client.admin", *everything)
        self.run("monmaptool", "--create", "--fsid", cluster, "--addv", "a", self._monitor, "monmap")
        self.run("ceph-mon", *self._config, "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", keys)
        self.spawn("mon", "ceph-mon", *self._config, "-i", "a", "-f")
        self._ceph("--connect-timeout", "60", "status")

    def _start_storage(self) -> None:
        device = str(uuid.uuid1())
        self._ceph("osd", "new", device)
        rights = ("mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd")
        keys = str(self.folder / "osd" / "keyring")
        self._ceph("auth", "get-or-create", "osd.0", *rights, "-o", keys)
        self.run("ceph-osd", *self._config, "-i", "0", "--mkfs", "--osd-uuid", device)
        self.spawn("osd", "ceph-osd", *self._config, "-i", "0", "-f")
        self.until(lambda: json.loads(self._ceph("osd", "stat", "-f", "json"))["num_up_osds"] == 1, "an osd")

    def _ceph(self, *arguments: str) -> str:
        return self.run("ceph", *self._config, *arguments)
