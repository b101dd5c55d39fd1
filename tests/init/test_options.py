"""Container options that init needs."""

from __future__ import annotations

import pytest

from codapi_flask.init import binary, is_safe, options


@pytest.mark.parametrize(
    ("add", "drop", "init_add", "init_drop", "own"),
    [
        ([], [], [], [], 0),
        ([], ["ALL"], ["KILL", "SETGID", "SETPCAP", "SETUID"], ["ALL"], 0x1E0),
        ([], ["all"], ["KILL", "SETGID", "SETPCAP", "SETUID"], ["ALL"], 0x1E0),
        (["NET_RAW"], ["ALL"], ["NET_RAW", "KILL", "SETGID", "SETPCAP", "SETUID"], ["ALL"], 0x1E0),
        (["CAP_SETUID"], ["ALL"], ["SETUID", "KILL", "SETGID", "SETPCAP"], ["ALL"], 0x160),
        ([], ["kill", "cap_chown"], ["KILL"], ["CHOWN"], 0x20),
        (["KILL"], ["KILL"], ["KILL"], ["KILL"], 0),
        (["ALL"], [], ["ALL"], [], 0),
        (["ALL"], ["SETPCAP"], ["ALL", "SETPCAP"], [], 0x100),
        (["ALL"], ["ALL"], ["ALL"], ["ALL"], 0),
    ],
)
def test_options_give_init_capabilities_that_the_program_lacks(
    add: list[str], drop: list[str], init_add: list[str], init_drop: list[str], own: int
) -> None:
    result = options(add, drop)
    assert (result.cap_add, result.cap_drop) == (init_add, init_drop)
    assert result.command == ["box", f"{own:x}", "-"]


@pytest.mark.parametrize("name", ["ALL", "all", "SYS_PTRACE", "cap_sys_admin"])
def test_capability_that_reaches_process_1_is_not_safe(name: str) -> None:
    assert not is_safe(["CHOWN", name])
    assert is_safe(["CHOWN", "NET_ADMIN"])


def test_binary_exists_for_this_machine() -> None:
    assert binary().read_bytes().startswith(b"\x7fELF")


def test_binary_for_an_unknown_machine_raises() -> None:
    with pytest.raises(FileNotFoundError, match="init-pdp11: not built: run `make setup`"):
        binary("pdp11")
