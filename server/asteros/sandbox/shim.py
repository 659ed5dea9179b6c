"""The program between the server and a boxed command; run as ``python -I -S shim.py FD``.

It is not part of the server's process: it reads its plan (``base.Plan``, as
NUL-separated KEY=VALUE) from the descriptor, gives up what the command must not have,
and becomes bubblewrap, or shuts the box with Landlock and seccomp and watches over it.
It imports the standard library alone, and little of it: it starts with every command.
What it cannot do it writes as "!TEXT" to the status descriptor, and exits with 125.
"""

import ctypes
import os
import resource
import signal
import socket
import stat
import struct
import sys
import time

FAILED = 125
STAGE = "/tmp"  # covered, in a mount namespace of its own, to give the workspace a path
TEMPORARY = ".tmp"  # where a command that sees the real /tmp puts temporary files
PROXY_PORT = 3128
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
MOUNT_SETATTR, MOUNT_ATTR_RDONLY, AT_EMPTY_PATH = 442, 1, 0x1000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

libc = ctypes.CDLL(None, use_errno=True)
libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


class Plan:
    """Keys with their values, in order."""

    def __init__(self, data: bytes) -> None:
        self.pairs = [tuple(item.split("=", 1)) for item in os.fsdecode(data).split("\0") if item]

    def all(self, key: str) -> "list[str]":
        return [value for name, value in self.pairs if name == key]

    def get(self, key: str) -> str:
        return (self.all(key) or [""])[0]

    def number(self, key: str) -> int:
        """A number; -1 where the plan has none."""
        return int(self.get(key) or -1)


def check(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def main() -> None:
    with open(int(sys.argv[1]), "rb") as file:
        plan = Plan(file.read())
    status = plan.number("status")
    os.set_inheritable(status, False)
    try:
        run(plan, status)
    except OSError as error:
        os.write(status, f"!{error.strerror}".encode())
        os._exit(FAILED)


def run(plan: Plan, status: int) -> None:
    if plan.get("exec") == "bwrap":
        become_bubblewrap(plan, status)
    else:
        watch_over(plan, status)


def put(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


# -- what is given up -------------------------------------------------------------------


def drop(plan: Plan) -> None:
    """Limits, then the user, then any way back."""
    put("/proc/self/oom_score_adj", "1000")  # the box is the first to go when memory ends, never the server
    for folder in plan.all("cgroup"):
        put(f"{folder}/cgroup.procs", "0")
    for limit in plan.all("limit"):
        name, _, number = limit.partition(":")
        value = int(number)
        if name == "NPROC" and not plan.get("uid"):
            value += own_tasks()  # the server's own count against the same user's limit
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    if plan.get("uid"):
        uid = plan.number("uid")
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def own_tasks() -> int:
    """Threads of all processes of this user."""
    count = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.geteuid():
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:  # it ended meanwhile
            continue
    return count


# -- bubblewrap ------------------------------------------------------------------------------


def become_bubblewrap(plan: Plan, status: int) -> None:
    listener = plan.number("listener")
    os.fchdir(plan.number("workspace"))
    os.close(plan.number("workspace"))
    own_namespaces(CLONE_NEWNS | (CLONE_NEWNET if listener >= 0 else 0))
    stage()
    protect_repository()
    if listener >= 0:
        hand_out_listener(listener)
    drop(plan)
    os.set_inheritable(status, True)
    arguments = plan.all("arg")
    os.execve(arguments[0], arguments, {})


def own_namespaces(flags: int) -> None:
    """Namespaces for what root may do, or for the same done by an ordinary user."""
    uid, gid = os.geteuid(), os.getegid()
    check(libc.unshare(flags | (CLONE_NEWUSER if uid else 0)), "make namespaces")
    if uid:
        put("/proc/self/setgroups", "deny")
        put("/proc/self/uid_map", f"{uid} {uid} 1")
        put("/proc/self/gid_map", f"{gid} {gid} 1")


def stage() -> None:
    """Gives the working folder a path that its owner may walk: folders of the server above it
    are shut. By ".", which came along into this mount namespace; a descriptor would not."""
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
    check(libc.mount(b".", STAGE.encode(), None, MS_BIND, None), "mount the workspace")
    os.chdir(STAGE)


def protect_repository() -> None:
    """Makes hooks and config of a git repository read-only, and .git a mount, so that it cannot
    be renamed. By descriptor: a command that runs already may put links in the way."""
    try:
        git = os.open(".git", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # none, or a link, or the file of a linked work tree
    for name in ("hooks", "config"):
        try:
            inner = opened(name, git)
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(os.fstat(inner).st_mode):
            continue  # it leads to where the command may write, or to nothing
        bind(inner)
        mounted = opened(name, git)
        if os.fstat(mounted).st_ino != os.fstat(inner).st_ino:
            raise OSError(FAILED, "the repository changed while the box was shut")
        attributes = struct.pack("=QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
        check(system(MOUNT_SETATTR, mounted, b"", AT_EMPTY_PATH, attributes, len(attributes)), "protect a repository")
    bind(git)


def bind(fd: int) -> None:
    """Mounts what is open on itself, with the mounts beneath."""
    path = f"/proc/self/fd/{fd}".encode()
    check(libc.mount(path, path, None, MS_BIND | MS_REC, None), "mount a part of the repository")


def hand_out_listener(channel: int) -> None:
    """Wakes the loopback of the box's network, and gives the server a listener on it."""
    with socket.socket() as listener, socket.socket(fileno=channel) as out:
        request = struct.pack("16sh22x", b"lo", IFF_UP)
        check(libc.ioctl(listener.fileno(), SIOCSIFFLAGS, request), "bring loopback up")
        listener.bind(("127.0.0.1", PROXY_PORT))
        listener.listen(64)
        socket.send_fds(out, [b"l"], [listener.fileno()])


# -- Landlock ----------------------------------------------------------------------------------


def watch_over(plan: Plan, status: int) -> None:
    """Starts the command in a box of its own and ends all of it with its first process."""
    check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become the reaper")
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0), "end with the server")
    scoped = bool(plan.get("scoped"))
    if scoped:
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        restrict(0, 0, scope=2, rules=[])  # signals: from here on this process reaches its own box alone
    signal.signal(signal.SIGTERM, lambda *_: leave(128 + signal.SIGKILL, scoped))
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        try:
            become_command(plan)
        except OSError as error:
            os.write(told, (error.strerror or "failed").encode())
        finally:
            os._exit(FAILED)
    os.close(told)
    os.write(status, b'{"child-pid": %d}' % child)
    if failure := os.read(ready, 1000):
        os.write(status, b"!" + failure)
    # The pipes are the command's alone: their end must not wait for this process.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(null, fd)
    while True:
        pid, code = os.waitpid(-1, 0)
        if pid == child:
            exit_code = os.waitstatus_to_exitcode(code)
            leave(exit_code if exit_code >= 0 else 128 - exit_code, scoped)


def leave(code: int, scoped: bool) -> None:
    """Ends every process of the box, and then this one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        for pid in [-1] if scoped else children():
            try:
                os.kill(pid, signal.SIGKILL)  # -1: all that it may reach, at once
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            os._exit(code)
        time.sleep(0.001)


def children() -> "list[int]":
    """Processes below this one; orphans of the box come here."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) == os.getpid():
                        found.append(int(name))
            except OSError:
                continue
    return found


def become_command(plan: Plan) -> None:
    os.setsid()
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "end with the watcher")
    workspace = plan.number("workspace")
    os.fchdir(workspace)
    if plan.get("stage") and libc.unshare(CLONE_NEWNS) == 0:
        stage()
    home = os.getcwd()
    beneath = [(workspace, int(plan.get("inside") or 0))]
    beneath += [(opened(path), rights) for path, rights in map(rule, plan.all("rule")) if os.path.exists(path)]
    drop(plan)
    if plan.get("handled"):
        restrict(plan.number("handled"), plan.number("network"), scope=3, rules=beneath)
    for fd, _ in beneath:
        os.close(fd)
    if plan.get("filter"):
        with open(plan.number("filter"), "rb") as file:
            install(file.read())
    os.makedirs(TEMPORARY, 0o700, exist_ok=True)
    os.chdir(plan.get("folder"))
    variables = {"HOME": home, "TMPDIR": f"{home}/{TEMPORARY}"}
    arguments = plan.all("arg")
    os.execve(arguments[0], arguments, variables | dict(item.split("=", 1) for item in plan.all("env")))


def rule(text: str) -> "tuple[str, int]":
    rights, _, path = text.partition(":")
    return path, int(rights)


def opened(path: str, folder: "int | None" = None) -> int:
    """``folder``: where the path begins, and then its end must be no link."""
    return os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if folder is None else os.O_NOFOLLOW), dir_fd=folder)


def system(number: int, *arguments: "int | bytes") -> int:
    """A system call without a function in libc; numbers as the kernel takes them, 64 bits wide."""
    return int(libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))


def restrict(handled: int, network: int, scope: int, rules: "list[tuple[int, int]]") -> None:
    attributes = struct.pack("=QQQ", handled, network, scope)
    ruleset = check(system(LANDLOCK_CREATE, attributes, len(attributes), 0), "make a Landlock ruleset")
    for fd, rights in rules:
        beneath = struct.pack("=Qi", rights, fd)
        check(system(LANDLOCK_ADD, ruleset, 1, beneath, 0), "add a Landlock rule")
    check(system(LANDLOCK_RESTRICT, ruleset, 0), "restrict by Landlock")
    os.close(ruleset)


def install(program: bytes) -> None:
    lines = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(lines))
    check(libc.prctl(PR_SET_SECCOMP, 2, header, 0, 0), "install the system call filter")


if __name__ == "__main__":
    main()
