"""Method -> scope. A method that is missing here is refused; a test compares the table
with the descriptors both ways (security, part 3).

``ANY``: any valid credential. ``PUBLIC``: nobody asks. A tuple of several scopes
demands all of them; what depends on the request is checked by the servicer too."""

ANY = ("*",)
PUBLIC: tuple[str, ...] = ()

READ, WRITE, RUN = ("agents:read",), ("agents:write",), ("runs:write",)
SESSIONS, DECIDE, ADMIN = ("sessions:read",), ("approvals:decide",), ("admin",)
PROGRESS, CONTROL, MONITOR = ("events:progress:read",), ("events:control:read",), ("events:monitor:read",)
EVENTS = (*PROGRESS, *CONTROL, *MONITOR)
CHANNEL_SCOPES = {1: PROGRESS[0], 2: CONTROL[0], 3: MONITOR[0]}
SCOPES = frozenset(
    {
        "agents:read", "agents:write", "runs:write", "sessions:read", "events:progress:read", "events:control:read",
        "events:monitor:read", "approvals:decide", "tools:admin", "providers:admin", "remote-agents:connect",
        "metrics:read", "admin",
    }
)  # fmt: skip

_SERVICES: dict[str, dict[str, tuple[str, ...]]] = {
    "aster.v1.ServerService": {"GetServerInfo": ANY},
    "aster.v1.AccessService": {
        "GetCaller": ANY,
        "CreateTicket": ANY,
        "CreateApiKey": ADMIN,
        "ListApiKeys": ADMIN,
        "RevokeApiKey": ADMIN,
    },
    "aster.v1.AgentService": {
        "GetAgent": READ,
        "ListAgents": READ,
        "GetStatus": READ,
        "CreateAgent": WRITE,
        "UpdateAgent": WRITE,
        "DeleteAgent": WRITE,
        "StartAgent": WRITE,
        "CloseAgent": WRITE,
        "SendSystemMessage": WRITE,
        "Chat": RUN,
        "Send": RUN,
        "Interrupt": RUN,
        "Stream": RUN,  # and the event scope of each channel asked for
        "GetTurn": ANY,  # sessions:read, or runs:write for the caller's own turns
        "ListTurns": ANY,
    },
    "aster.v1.EventService": {
        "Subscribe": ANY,  # the event scope of each channel asked for
        "ListEvents": ANY,
        "SubscribeProgress": PROGRESS,
        "SubscribeControl": CONTROL,
        "SubscribeMonitor": MONITOR,
    },
    "aster.v1.ControlService": {
        "ListPendingApprovals": CONTROL,
        "ApproveToolCall": DECIDE,  # and agents:write for scope ALWAYS
        "RespondToInputRequest": DECIDE,
        "RespondToIterationLimit": DECIDE,
        "RespondToWorkflowApproval": DECIDE,
        "ControlTool": RUN,
        "GetToolCall": SESSIONS,
    },
    "aster.v1.SessionService": {
        "GetSession": SESSIONS,
        "ListSessions": SESSIONS,
        "ListMessages": SESSIONS,
        "CreateSession": RUN,
        "ForkSession": (*RUN, *SESSIONS),
        "DeleteSession": WRITE,
    },
    "aster.v1.StarsService": {
        "GetStar": READ,
        "ListStars": READ,
        "ListStarMembers": READ,
        "ListStarMessages": SESSIONS,
        "CreateStar": WRITE,
        "DeleteStar": WRITE,
        "JoinStar": WRITE,
        "LeaveStar": WRITE,
        "RunStar": RUN,
        "SendStarMessage": RUN,
        "StreamStar": (*RUN, *EVENTS),
    },
    "aster.v1.WorkflowService": {
        "GetWorkflow": READ,
        "ListWorkflows": READ,
        "ListWorkflowSchedules": READ,
        "CreateWorkflow": WRITE,
        "DeleteWorkflow": WRITE,
        "GetWorkflowRun": SESSIONS,
        "ListWorkflowRuns": SESSIONS,
        "ExecuteWorkflow": RUN,
        "CancelWorkflowRun": RUN,
        "PauseWorkflowRun": RUN,
        "ResumeWorkflowRun": RUN,
        "CreateWorkflowSchedule": RUN,
        "DeleteWorkflowSchedule": RUN,
        "StreamWorkflowRun": EVENTS,
        "StreamWorkflow": (*RUN, *EVENTS),
    },
    "aster.v1.CosmosService": {
        "GetCosmos": READ,
        "ListResources": READ,
        "WatchResources": READ,
        "EvictAgent": WRITE,
        "ForEachAgent": WRITE,
    },
    "aster.v1.TemplateService": {"ListTemplates": READ, "GetTemplate": READ},
    "aster.v1.ToolService": {"ListTools": READ, "GetTool": READ},
    "aster.v1.DashboardService": {
        "GetOverview": MONITOR,
        "GetUsage": MONITOR,
        "GetPerformance": MONITOR,
        "ListTraces": MONITOR,
        "GetTrace": MONITOR,
        "ListInsights": MONITOR,
        "ListPrices": MONITOR,
        "SetPrice": ("providers:admin",),
    },
    "aster.v1.StudioService": {"ConnectAgents": ("remote-agents:connect",), "ListRemoteAgents": READ},
    "grpc.health.v1.Health": {"Check": PUBLIC, "Watch": PUBLIC, "List": PUBLIC},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": ADMIN},
    "grpc.reflection.v1.ServerReflection": {"ServerReflectionInfo": ADMIN},
}
TABLE = {f"/{service}/{name}": scopes for service, methods in _SERVICES.items() for name, scopes in methods.items()}
# Where the servicer decides by what is asked for: who has none of these scopes is refused
# before anything is looked up, and so does not learn what exists.
ONE_OF: dict[str, tuple[str, ...]] = {
    "/aster.v1.AgentService/GetTurn": (*SESSIONS, *RUN),
    "/aster.v1.AgentService/ListTurns": (*SESSIONS, *RUN),
    "/aster.v1.EventService/Subscribe": EVENTS,
    "/aster.v1.EventService/ListEvents": EVENTS,
}
