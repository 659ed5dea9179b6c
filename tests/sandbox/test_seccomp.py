"""The system call filters of both architectures, run by a small interpreter of their programs."""

import struct

import pytest

from asteros.sandbox import seccomp
from asteros.sandbox.seccomp import MACHINES

KILL, ALLOW, EPERM, ENOSYS, NOTHING = 0x80000000, 0x7FFF0000, 0x00050001, 0x00050026, 0x00050000


def judged(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the kernel would answer for one system call."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(list(arguments) + [0] * 6)[:6])
    lines = list(struct.iter_unpack("<HBBI", program))
    accumulator = place = 0
    while True:
        code, when_true, when_false, operand = lines[place]
        place += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("<I", data, operand)[0]
            case 0x15:
                place += when_true if accumulator == operand else when_false
            case 0x35:
                place += when_true if accumulator >= operand else when_false
            case 0x45:
                place += when_true if accumulator & operand else when_false
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(hex(code))


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_another_architecture_ends_the_process(machine: str) -> None:
    program = seccomp.program(sockets=True, machine=machine)
    assert judged(program, 0x40000003, 1) == KILL  # i386
    assert judged(program, MACHINES[machine].audit, 1) == ALLOW


def test_calls_are_denied(machine: str) -> None:
    numbers = MACHINES[machine]
    program = seccomp.program(sockets=True, machine=machine)
    assert {judged(program, numbers.audit, number) for number in numbers.denied.values()} == {EPERM}
    assert judged(program, numbers.audit, numbers.clone3) == ENOSYS
    others = set(range(480)) - set(numbers.denied.values()) - {numbers.clone3, numbers.socket}
    assert {judged(program, numbers.audit, number) for number in others} == {ALLOW}


@pytest.mark.parametrize("family", range(50))
def test_sockets(machine: str, family: int) -> None:
    numbers = MACHINES[machine]
    open_ones = seccomp.program(sockets=True, machine=machine)
    assert judged(open_ones, numbers.audit, numbers.socket, family) == (ALLOW if family in (1, 2, 10, 16) else EPERM)
    assert judged(seccomp.program(sockets=False, machine=machine), numbers.audit, numbers.socket, family) == EPERM


@pytest.mark.parametrize("bit", range(32))
def test_flags_of_clone(machine: str, bit: int) -> None:
    numbers = MACHINES[machine]
    program = seccomp.program(sockets=True, machine=machine)
    new_namespace = bit in (17, 25, 26, 27, 28, 29, 30)
    expected = EPERM if new_namespace else ALLOW
    assert judged(program, numbers.audit, numbers.clone, 1 << bit) == expected
    assert judged(program, numbers.audit, numbers.clone, (1 << bit) | 17 | 0x100) == expected


def test_terminal_input(machine: str) -> None:
    numbers = MACHINES[machine]
    program = seccomp.program(sockets=True, machine=machine)
    answers = [
        judged(program, numbers.audit, numbers.ioctl, 0, request) for request in (0x5412, 0x541C, 0x5413, 0x5401)
    ]
    assert answers == [EPERM, EPERM, ALLOW, ALLOW]
    # The kernel looks at 32 bits of the request: what is above them must not hide it.
    assert judged(program, numbers.audit, numbers.ioctl, 0, 0x5412 | 1 << 40) == EPERM


def test_metadata_by_path_has_no_effect(machine: str) -> None:
    numbers = MACHINES[machine]
    program = seccomp.program(sockets=False, metadata=False, machine=machine)
    assert {judged(program, numbers.audit, number) for number in numbers.metadata.values()} == {NOTHING}
    assert judged(program, numbers.audit, numbers.utimensat, 3, 0) == ALLOW
    assert judged(program, numbers.audit, numbers.utimensat, 3, 4096) == NOTHING


def test_the_other_numbers_of_x86_64() -> None:
    program = seccomp.program(sockets=True, machine="x86_64")
    assert judged(program, MACHINES["x86_64"].audit, 0x40000000 + 39) == KILL


def test_only_what_is_listed_is_supported() -> None:
    assert seccomp.supported("x86_64")
    assert not seccomp.supported("riscv64")
    with pytest.raises(KeyError):
        seccomp.program(sockets=True, machine="riscv64")
