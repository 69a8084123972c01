"""From a URL to a driver: found by its scheme, loaded alone, and every failure says what to do."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from stevedore import _cache
from stevedore.extension import ExtensionManager

from milepost import drivers
from milepost.checkpoint import Checkpointer
from milepost.drivers import (
    InstalledDriver,
    driver_details,
    installed_drivers,
    open_checkpointer,
    open_store,
    register_driver,
)
from milepost.errors import DriverBroken, DriverConflict, DriverNotFound, InvalidURL
from milepost.memory import MemoryCheckpointer, MemoryStore
from milepost.url import URL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DRIVER = """
from milepost.memory import MemoryCheckpointer

class Driver(MemoryCheckpointer):
    DRIVER_API = {api}
    @classmethod
    def from_url(cls, url):
        return cls()
"""


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def forget() -> None:
        ExtensionManager.ENTRY_POINT_CACHE.clear()
        _cache._c._internal.clear()

    monkeypatch.setattr(drivers, "_loaded", {})
    monkeypatch.setattr(drivers, "_registered", {})
    monkeypatch.setattr(_cache._c, "_disable_caching", True)
    forget()
    yield
    forget()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a distribution: its module's source and its entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(
        name: str, source: str, *, version: str = "1.0", kind: str = "checkpointer", **schemes: str
    ) -> None:
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = "\n".join(f"{scheme} = {target}" for scheme, target in schemes.items())
        (info / "entry_points.txt").write_text(f"[milepost.{kind}s]\n{points}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return make


def test_memory_is_fresh_at_each_open_and_shared_by_name() -> None:
    one, other = open_checkpointer("memory://"), open_checkpointer("memory://")
    assert isinstance(one, MemoryCheckpointer)
    assert isinstance(other, MemoryCheckpointer)
    assert one._data is not other._data
    named = [open_checkpointer("memory://test-drivers") for _ in range(2)]
    assert named[0] is not named[1]
    assert named[0]._data is named[1]._data  # type: ignore[attr-defined]
    stores = [open_store("memory://test-drivers") for _ in range(2)]
    assert stores[0]._data is stores[1]._data  # type: ignore[attr-defined]
    assert isinstance(open_store("memory://"), MemoryStore)


def test_memory_takes_no_path_and_no_unknown_option() -> None:
    with pytest.raises(InvalidURL, match="memory://name"):
        open_checkpointer("memory://a/b")
    with pytest.raises(InvalidURL, match="did you mean 'atomic_head'"):
        open_checkpointer("memory://?atomic_hed=no")
    with pytest.raises(InvalidURL, match="no options"):
        open_store("memory://?x=1")


def test_a_driver_is_returned_as_it_is_and_a_parsed_url_is_taken() -> None:
    driver, store = MemoryCheckpointer(), MemoryStore()
    assert open_checkpointer(driver) is driver
    assert open_store(store) is store
    assert isinstance(open_checkpointer(URL.parse("memory://")), MemoryCheckpointer)


def test_memory_scans_nothing() -> None:
    program = (
        "import sys; from milepost.drivers import open_checkpointer; open_checkpointer('memory://');"
        "assert not {'stevedore', 'importlib.metadata', 'sqlite3'} & set(sys.modules), 'scanned'"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path}; {program}"], check=False
    )
    assert done.returncode == 0


def test_an_installed_driver_is_loaded_by_its_scheme(install: Callable[..., None]) -> None:
    install("acme-box", DRIVER.format(api=1), box="acme_box:Driver")
    install("acme-crate", "raise RuntimeError('not asked for')", crate="acme_crate:Driver")
    opened = open_checkpointer("box://x")
    assert type(opened).__module__ == "acme_box"
    assert type(open_checkpointer("BOX://x")) is type(opened)


def test_sqlite_is_found_by_its_entry_point() -> None:
    opened = open_checkpointer("sqlite:///:memory:")
    assert repr(opened) == "SQLiteCheckpointer(':memory:')"


@pytest.mark.parametrize(
    ("url", "package"),
    [
        ("sqlite:///x.db", "sqlite"),
        ("s3://b/p", "s3"),
        ("mongodb://h/d", "mongodb"),
        ("mongodb+srv://h/d", "mongodb"),
    ],
)
def test_a_known_driver_that_is_not_installed_comes_with_its_pip_line(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "_entry_points", lambda group: [])
    with pytest.raises(DriverNotFound) as caught:
        open_checkpointer(url)
    text = str(caught.value)
    assert f"pip install 'milepost-{package}' (or 'milepost[{package}]')" in text
    assert "Installed: memory." in text
    assert (caught.value.kind, caught.value.scheme) == ("checkpointer", url.partition(":")[0])
    assert caught.value.installed == ("memory",)


def test_two_packages_that_claim_a_known_scheme_are_both_named(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = drivers._entry_points
    monkeypatch.setattr(  # without what this environment may have for it
        drivers,
        "_entry_points",
        lambda group: [point for point in scan(group) if not point.value.startswith("milepost_s3")],
    )
    install("acme-bucket", "raise RuntimeError", s3="acme_bucket:Driver", version="0.3")
    install("best-bucket", "raise RuntimeError", s3="best_bucket:Driver", version="2.0")
    with pytest.raises(DriverConflict) as caught:
        open_checkpointer("s3://bucket/prefix")
    assert caught.value.claimants == (
        "acme-bucket 0.3 (acme_bucket:Driver)",
        "best-bucket 2.0 (best_bucket:Driver)",
    )
    for row in installed_drivers():
        if row.scheme == "s3":
            assert driver_details(row).error == str(caught.value)


def test_details_tell_what_a_driver_declares(install: Callable[..., None]) -> None:
    source = """
from dataclasses import dataclass, field
from milepost.memory import MemoryCheckpointer

@dataclass
class Options:
    needed: str
    size: int | None = None
    wait: float = 1.5
    names: str = field(default="a,b")

class Driver(MemoryCheckpointer):
    DRIVER_API = 1
    options = Options
    options_prefix = "acme."
"""
    install("acme-box", source, box="acme_box:Driver")
    (row,) = [row for row in installed_drivers() if row.scheme == "box"]
    found = driver_details(row)
    assert (found.api, found.error) == (1, None)
    assert found.capabilities == ("atomic-head", "checked-tail", "indexed-heads")
    assert [(each.name, each.type, each.default) for each in found.options] == [
        ("acme.needed", "str", None),
        ("acme.size", "int", ""),
        ("acme.wait", "seconds", "1.5"),
        ("acme.names", "str", "a,b"),
    ]


def test_details_of_a_broken_driver_say_what_is_wrong(install: Callable[..., None]) -> None:
    install("acme-box", "import no_such_client", box="acme_box:Driver")
    odd = DRIVER.format(api=1) + "    options = 7\n"
    install("acme-crate", odd, crate="acme_crate:Driver")
    rows = {row.scheme: row for row in installed_drivers()}
    assert "No module named 'no_such_client'" in str(driver_details(rows["box"]).error)
    assert "its options cannot be read" in str(driver_details(rows["crate"]).error)


def test_details_of_a_registered_driver_are_its_own(install: Callable[..., None]) -> None:
    install("acme-box", "1 / 0", box="acme_box:Driver")
    register_driver("checkpointer", "box", MemoryCheckpointer)
    registered, installed = [row for row in installed_drivers() if row.scheme == "box"]
    assert driver_details(registered).error is None
    assert "division by zero" in str(driver_details(installed).error)


def test_the_options_that_the_drivers_of_the_repository_declare_are_those_of_their_urls() -> None:
    for row in installed_drivers():
        found = driver_details(row)
        assert found.error is None, row
        for option in found.options:
            assert option.default is not None, f"{row.scheme}: {option.name}"
    named = {
        (row.kind, row.scheme): [option.name for option in driver_details(row).options]
        for row in installed_drivers()
    }
    assert named["checkpointer", "sqlite"] == ["synchronous", "timeout", "mkdir"]
    assert named["store", "sqlite"] == ["synchronous", "timeout", "mkdir", "fields"]
    for kind in ("checkpointer", "store"):
        assert named[kind, "s3"][:2] == ["endpoint_url", "region"]
        assert named[kind, "mongodb+srv"] == ["milepost.prefix", "milepost.retention", "milepost.timeout"]


def test_a_typo_comes_with_the_nearest_scheme() -> None:
    with pytest.raises(
        DriverNotFound, match=r"no checkpointer driver for 'sqllite'\. Did you mean 'sqlite'\?"
    ):
        open_checkpointer("sqllite:///x.db")
    with pytest.raises(DriverNotFound, match=r"no store driver for 'qqq'\. Installed: memory"):
        open_store("qqq://x")


def test_a_store_asked_of_a_driver_without_one_is_told_apart(install: Callable[..., None]) -> None:
    install("acme-box", DRIVER.format(api=1), box="acme_box:Driver")
    with pytest.raises(
        DriverNotFound,
        match=r"acme-box provides a checkpointer for 'box' but no store; stores installed: .*memory",
    ):
        open_store("box://x")


def test_two_packages_with_one_scheme_are_named_and_neither_is_imported(install: Callable[..., None]) -> None:
    install("acme-box", "raise RuntimeError", box="acme_box:Driver", version="0.3.1")
    install("best-box", "raise RuntimeError", box="best_box:Driver", version="2.0")
    with pytest.raises(DriverConflict) as caught:
        open_checkpointer("box://x")
    assert "acme-box 0.3.1 (acme_box:Driver) and best-box 2.0 (best_box:Driver)" in str(caught.value)
    assert "uninstall one" in str(caught.value)
    assert caught.value.scheme == "box"
    assert len(caught.value.claimants) == 2


def test_the_same_entry_point_twice_is_no_conflict(install: Callable[..., None]) -> None:
    install("acme-box", DRIVER.format(api=1), box="acme_box:Driver")
    install("acme-box-editable", "", box="acme_box:Driver")
    assert type(open_checkpointer("box://x")).__module__ == "acme_box"


def test_a_driver_whose_dependency_is_missing_says_how_to_get_it(install: Callable[..., None]) -> None:
    install("acme-box", "import no_such_client", box="acme_box:Driver")
    with pytest.raises(
        DriverBroken, match=r"'box' from acme-box 1\.0 cannot be imported: No module named"
    ) as caught:
        open_checkpointer("box://x")
    assert "pip install --force-reinstall 'acme-box'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_driver_that_fails_at_import_is_broken_and_not_fatal(install: Callable[..., None]) -> None:
    install("acme-box", "1 / 0", box="acme_box:Driver", crate="acme_nowhere:Driver")
    with pytest.raises(DriverBroken, match="division by zero") as caught:
        open_checkpointer("box://x")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(DriverBroken) as caught:
        open_checkpointer("crate://x")
    assert "reinstall" not in str(caught.value)
    assert isinstance(open_checkpointer("memory://"), MemoryCheckpointer)


@pytest.mark.parametrize(("api", "remedy"), [(3, "upgrade milepost"), (0, "upgrade acme-box")])
def test_a_driver_for_another_api_is_refused(install: Callable[..., None], api: int, remedy: str) -> None:
    install("acme-box", DRIVER.format(api=api), version="0.9", box="acme_box:Driver")
    with pytest.raises(
        DriverBroken, match=f"acme-box 0.9 speaks driver API {api}, this milepost speaks 1: {remedy}"
    ):
        open_checkpointer("box://x")


def test_what_is_no_driver_class_is_refused(install: Callable[..., None]) -> None:
    install("acme-box", "Driver = 7", box="acme_box:Driver")
    with pytest.raises(DriverBroken, match=r"is no milepost\.checkpoint\.Checkpointer"):
        open_checkpointer("box://x")


def test_a_driver_newer_than_stevedores_cache_is_loaded_all_the_same(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-box", DRIVER.format(api=1), box="acme_box:Driver")
    monkeypatch.setitem(ExtensionManager.ENTRY_POINT_CACHE, "milepost.checkpointers", [])
    assert type(open_checkpointer("box://x")).__module__ == "acme_box"


def test_a_registered_driver_comes_before_an_installed_one(install: Callable[..., None]) -> None:
    install("acme-box", DRIVER.format(api=1), box="acme_box:Driver")

    class Mine(MemoryCheckpointer):
        @classmethod
        def from_url(cls, url: URL) -> Mine:
            return cls()

    register_driver("checkpointer", "BOX", Mine)
    assert type(open_checkpointer("box://x")) is Mine
    listed = [row for row in installed_drivers() if row.scheme == "box"]
    assert [row.distribution for row in listed] == ["(registered)", "acme-box"]


def test_registering_checks_scheme_kind_and_api() -> None:
    class Old(MemoryCheckpointer):
        DRIVER_API = 0

    with pytest.raises(InvalidURL, match="underscore"):
        register_driver("checkpointer", "my_box", MemoryCheckpointer)
    with pytest.raises(DriverBroken, match=r"is no milepost\.store\.Store"):
        register_driver("store", "box", MemoryCheckpointer)
    with pytest.raises(DriverBroken, match="driver API 0"):
        register_driver("checkpointer", "box", Old)


def test_listing_imports_no_driver(install: Callable[..., None]) -> None:
    install("acme-box", "raise RuntimeError", version="4.2", box="acme_box:Driver")
    rows = installed_drivers()
    assert (
        InstalledDriver(
            kind="checkpointer",
            scheme="box",
            distribution="acme-box",
            version="4.2",
            target="acme_box:Driver",
        )
        in rows
    )
    assert {(row.kind, row.scheme) for row in rows} >= {("checkpointer", "memory"), ("store", "memory")}
    order = [(row.kind, row.scheme, row.distribution) for row in rows]
    assert order == sorted(order)


def test_memory_is_listed_even_where_milepost_itself_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drivers, "_entry_points", lambda group: [])
    assert [(row.kind, row.scheme, row.target) for row in installed_drivers()] == [
        ("checkpointer", "memory", "milepost.memory:MemoryCheckpointer"),
        ("store", "memory", "milepost.memory:MemoryStore"),
    ]


def test_every_driver_of_the_repository_declares_its_api_itself() -> None:
    opened = [open_checkpointer("memory://"), open_checkpointer("sqlite://"), open_store("memory://")]
    assert all("DRIVER_API" in vars(type(driver)) for driver in opened)
    assert isinstance(opened[1], Checkpointer)
