"""OpenStack Swift of one host with its S3 interface: memcached, account, container, object and proxy servers."""

from __future__ import annotations

from live.node import Node, free_port, owner, settings
from servers import CREDENTIALS, HOST

_KINDS = ("account", "container", "object")
_FILTERS = ("catch_errors", "cache", "listing_formats", "bulk", "s3api", "tempauth", "copy", "slo", "dlo")
_EGGS = {"cache": "memcache"}
"""What a filter is called among Swift's own, where that is another name."""


class Swift(Node):
    """Swift's S3 interface, which knows no conditional writes."""

    programs = (
        "memcached",
        "swift-ring-builder",
        "swift-proxy-server",
        *(f"swift-{kind}-server" for kind in _KINDS),
    )
    packages = ("swift-proxy", *(f"swift-{kind}" for kind in _KINDS), "memcached")
    access_key = "live:milepost"
    secret_key = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]

    def start_programs(self) -> None:
        (self.folder / "devices" / "one").mkdir(parents=True)
        cache = free_port()
        self._write("swift.conf", {
            "swift-hash": {"swift_hash_path_prefix": "live", "swift_hash_path_suffix": "live"},
            "storage-policy:0": {"name": "only", "default": "yes"},
        })  # fmt: skip
        self.spawn("memcached", "memcached", "-u", owner(), "-l", HOST, "-p", str(cache))
        self.until_listening(cache)
        for kind in _KINDS:
            self._start_storage(kind)
        self._start_proxy(cache)

    def _start_storage(self, kind: str) -> None:
        port, name = free_port(), f"{kind}-server"
        ring = ("swift-ring-builder", f"{kind}.builder")
        self.run(*ring, "create", "4", "1", "1")
        self.run(*ring, "add", f"r1z1-{HOST}:{port}/one", "1")
        self.run(*ring, "rebalance")
        own = {"bind_port": port, "workers": 0, "devices": self.folder / "devices", "mount_check": "false"}
        self._write(f"{name}.conf", {
            "DEFAULT": self._common | own,
            "pipeline:main": {"pipeline": name},
            f"app:{name}": {"use": f"egg:swift#{kind}"},
        })  # fmt: skip
        self.spawn(name, f"swift-{name}", str(self.folder / f"{name}.conf"))
        self.until_listening(port)

    def _start_proxy(self, cache: int) -> None:
        options: dict[str, dict[str, object]] = {
            "cache": {"memcache_servers": f"{HOST}:{cache}"},
            "s3api": {"location": "us-east-1"},
            "tempauth": {"user_live_milepost": f"{self.secret_key} .admin"},
        }
        filters = {
            f"filter:{name}": {"use": f"egg:swift#{_EGGS.get(name, name)}", **options.get(name, {})}
            for name in _FILTERS
        }
        self._write("proxy-server.conf", {
            "DEFAULT": self._common | {"bind_port": self.port, "workers": 0},
            "pipeline:main": {"pipeline": " ".join((*_FILTERS, "proxy-server"))},
            "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true"},
            **filters,
        })  # fmt: skip
        self.spawn("proxy-server", "swift-proxy-server", str(self.folder / "proxy-server.conf"))
        self.until_listening(self.port)

    @property
    def _common(self) -> dict[str, object]:
        return {"bind_ip": HOST, "user": owner(), "swift_dir": self.folder, "log_level": "WARNING"}

    def _write(self, name: str, sections: dict[str, dict[str, object]]) -> None:
        (self.folder / name).write_text(settings(sections))
