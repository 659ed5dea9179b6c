"""What whoever builds a bridge may choose. All that is particular to one server is data here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from asteros.bridge.bodies import Compatibility
from asteros.bridge.comments import Comments

MAX_BODY = 1024 * 1024  # bytes of a body, or of one WebSocket message
KEEP_ALIVE = 15.0  # seconds without a write after which an SSE stream gets a comment

Metadata = Sequence[tuple[str, str | bytes]]
# id and name of a message, for SSE's `id:` and `event:`; "" leaves the line out
Hook = Callable[[Message], tuple[str, str]]


def _no_comments() -> Comments:
    return {}


def _no_metadata(_address: str) -> Metadata:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The defaults suit any server on this machine."""

    name: str = "bridge"
    prefix: str = "/api"  # stands for the literal /api of templates in the aster style
    error_domain: str = ""  # of ErrorInfo in the bridge's own refusals; "": no details
    connect: bool = False  # answer Connect and gRPC-Web too; needs the extra [connect]
    health: bool = True  # answer /health
    # -- how it describes itself
    api_version: str = "v1"
    comments: Callable[[], Comments] = _no_comments  # of the protos, read when first asked for
    # -- who calls
    auth: bool = False  # the server demands credentials: browsers get CORS `*`
    whoami: str = ""  # "/package.Service/Method" that fails without valid credentials; its request is empty
    cookie: str = ""  # name of the cookie that holds a key
    key_in_query: bool = True  # `?api_key=` counts
    trusted: Callable[[str], Metadata] = _no_metadata  # metadata for the client's address
    reserved: frozenset[str] = frozenset()  # metadata that no client can set
    # Name of metadata that tells the server what could not be read of a request: it answers that, or
    # something that matters more, such as that what the path names is not there. "": answered here.
    unreadable: str = ""
    # -- browsers
    cors: bool = True
    hosts: frozenset[str] = frozenset()  # names besides localhost and loopback addresses; "*": any
    any_address: bool = False  # an address of any network is a good Host too
    origins: frozenset[str] = frozenset()  # empty: any, for who has a key
    # -- messages
    hooks: Mapping[str, Hook] = field(default_factory=dict)  # by full name of a message
    compatibility: Mapping[str, Compatibility] = field(default_factory=dict)  # by "/package.Service/Method"
    max_body: int = MAX_BODY
    # -- streams
    keep_alive: float = KEEP_ALIVE
    resume_field: str = "cursor"  # of a request, set from Last-Event-ID
    drain_reasons: frozenset[str] = frozenset({"DRAINING"})  # UNAVAILABLE for these is a goaway
    sockets: Mapping[str, str] = field(default_factory=dict)  # path template -> "/package.Service/Method"
    close_codes: Mapping[str, int] = field(default_factory=dict)  # reason -> WebSocket code; others stay open
